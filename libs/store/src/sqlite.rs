//! The embedded backend: one SQLite file in WAL mode, one writer thread that commits many transactions at once, and a
//! few read connections on blocking threads.

mod open;
mod read;
mod rows;
mod write;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clock::Clock;

use crate::{Action, Backend, Item, Key, Page, Query, StoreError, StoreErrorKind};
use read::Readers;
use writer::Writer;

/// Where the SQLite file is and what it may use. [`SqliteOptions::at`] gives the defaults.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The file. SQLite keeps two more beside it (`-wal`, `-shm`). Its folder is made where it is missing.
    pub path: PathBuf,
    /// Transactions in one durable commit, at most; 1 to 100,000. Default 1,000.
    pub group_commit_max: usize,
    /// Bytes in one durable commit, at most (a single transaction may exceed it). Default 8 MiB.
    pub group_commit_bytes_max: usize,
    /// Transactions waiting for the writer, at most; further callers wait their turn. Default 10,000.
    pub queue_max: usize,
    /// Bytes of transactions waiting for the writer, at most; at least 4 MiB. Default 64 MiB.
    pub queue_bytes_max: usize,
    /// Read connections, 1 to 64. Default 4.
    pub readers: usize,
    /// How long to wait for another process that holds the file. Default 5,000 ms.
    pub busy_ms: u64,
    /// How long a call may take before it ends as `Unavailable`. Default 30,000 ms.
    pub timeout_ms: u64,
    /// Page cache of each connection. Default 8,192 KiB.
    pub cache_kib: u32,
    /// Bound on the database file; a write that would pass it ends as `Full`. `None`: what the device has. The
    /// write-ahead log beside it comes on top (`wal_pages`).
    pub max_bytes: Option<u64>,
    /// Pages of 4 KiB in the write-ahead log before they are moved to the file. Default 4,000 (16 MiB).
    pub wal_pages: u32,
    /// How often the writer looks for expired items; 0 means never. Default 1,000 ms.
    pub sweep_every_ms: u64,
    /// Expired items removed at one look, at most. Default 500.
    pub sweep_max: u32,
}

impl SqliteOptions {
    /// The defaults for a file at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            group_commit_max: 1_000,
            group_commit_bytes_max: 8 * 1024 * 1024,
            queue_max: 10_000,
            queue_bytes_max: 64 * 1024 * 1024,
            readers: 4,
            busy_ms: 5_000,
            timeout_ms: 30_000,
            cache_kib: 8_192,
            max_bytes: None,
            wal_pages: 4_000,
            sweep_every_ms: 1_000,
            sweep_max: 500,
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        let in_range = |field: &str, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                return Ok(());
            }
            let detail = format!("{field}: {value}; it takes {min} to {max}");
            Err(StoreError::new(StoreErrorKind::Invalid, detail))
        };
        in_range("group_commit_max", self.group_commit_max as u64, 1, 100_000)?;
        in_range("queue_max", self.queue_max as u64, 1, 1_000_000)?;
        in_range("queue_bytes_max", self.queue_bytes_max as u64, 4 << 20, 1 << 40)?;
        in_range("readers", self.readers as u64, 1, 64)?;
        in_range("busy_ms", self.busy_ms, 0, 600_000)?;
        in_range("timeout_ms", self.timeout_ms, 1, 600_000)?;
        in_range("cache_kib", u64::from(self.cache_kib), 64, 1 << 24)?;
        in_range("max_bytes", self.max_bytes.unwrap_or(1 << 20), 64 << 10, 1 << 46)?;
        in_range("wal_pages", u64::from(self.wal_pages), 10, 1_000_000)?;
        in_range("sweep_max", u64::from(self.sweep_max), 1, 100_000)
    }
}

pub(crate) struct Sqlite {
    writer: Writer,
    readers: Arc<Readers>,
    clock: Clock,
    timeout: Duration,
}

impl Sqlite {
    pub(crate) fn open(options: SqliteOptions, clock: Clock) -> Result<Self, StoreError> {
        options.check()?;
        let timeout = Duration::from_millis(options.timeout_ms);
        let connection = open::writer(&options)?;
        let readers = Arc::new(Readers::open(&options)?);
        Ok(Self { writer: Writer::start(connection, options, clock.clone())?, readers, clock, timeout })
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(|_| {
            let detail =
                format!("no answer within {} ms; the disk or the writer is overloaded", self.timeout.as_millis());
            Err(StoreError::new(StoreErrorKind::Unavailable, detail))
        })
    }
}

#[async_trait::async_trait]
impl Backend for Sqlite {
    fn system(&self) -> &'static str {
        "sqlite"
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let (key, now_ms) = (key.clone(), self.clock.now_ms());
        self.within(self.readers.run(move |connection| read::get(connection, &key, now_ms))).await
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        let (query, place, now_ms) = (query.clone(), query.place(false)?, self.clock.now_ms());
        self.within(self.readers.run(move |connection| read::query(connection, &query, place, now_ms))).await
    }

    async fn query_index(&self, query: &Query) -> Result<Page, StoreError> {
        let (query, place, now_ms) = (query.clone(), query.place(true)?, self.clock.now_ms());
        self.within(self.readers.run(move |connection| read::query_index(connection, &query, place, now_ms))).await
    }

    async fn transact(&self, actions: Vec<Action>) -> Result<(), StoreError> {
        self.within(self.writer.transact(actions, true)).await
    }

    async fn transact_unsynced(&self, actions: Vec<Action>) -> Result<(), StoreError> {
        self.within(self.writer.transact(actions, false)).await
    }

    async fn sweep_expired(&self, limit: u32) -> Result<u64, StoreError> {
        self.within(self.writer.sweep(limit)).await
    }
}
