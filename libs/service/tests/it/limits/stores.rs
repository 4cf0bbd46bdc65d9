//! The two stores, each behind one that fails and hangs on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use clock::{Clock, ManualClock};
use store::{Action, Backend, DynamoOptions, Item, Key, Page, Query, SqliteOptions, Store, StoreError, StoreErrorKind};
use testkit::servers::Dynoxide;

use super::{Bench, START_MS};

/// A store that can be away, or not answer at all.
pub(crate) struct Flaky {
    behind: Store,
    away: AtomicBool,
    hangs: AtomicBool,
    reads: AtomicUsize,
    writes: AtomicUsize,
}

impl Flaky {
    pub(crate) fn away(&self, is_away: bool) {
        self.away.store(is_away, Ordering::Relaxed);
    }

    pub(crate) fn hang(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::Relaxed);
    }

    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    async fn asked(&self, counter: &AtomicUsize) -> Result<(), StoreError> {
        counter.fetch_add(1, Ordering::Relaxed);
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.away.load(Ordering::Relaxed) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "away"));
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Backend for Flaky {
    fn system(&self) -> &'static str {
        "flaky"
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.asked(&self.reads).await?;
        self.behind.get(key).await
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.asked(&self.reads).await?;
        self.behind.query(query).await
    }

    async fn query_index(&self, query: &Query) -> Result<Page, StoreError> {
        self.asked(&self.reads).await?;
        self.behind.query_index(query).await
    }

    async fn transact(&self, actions: Vec<Action>) -> Result<(), StoreError> {
        self.asked(&self.writes).await?;
        self.behind.transact(actions).await
    }

    async fn transact_unsynced(&self, actions: Vec<Action>) -> Result<(), StoreError> {
        self.asked(&self.writes).await?;
        self.behind.transact_unsynced(actions).await
    }
}

fn bench(behind: Store, clock: Clock, hand: ManualClock, holds: Box<dyn std::any::Any>) -> Bench {
    let [away, hangs] = [AtomicBool::new(false), AtomicBool::new(false)];
    let [reads, writes] = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let flaky = Arc::new(Flaky { behind, away, hangs, reads, writes });
    let store = Store::on(flaky.clone(), "flaky", clock.clone());
    Bench { store, clock, hand, flaky, _holds: holds }
}

pub(crate) fn sqlite() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hand) = Clock::manual(START_MS);
    let behind = Store::sqlite(SqliteOptions::at(folder.path().join("limits.db")), clock.clone()).unwrap();
    bench(behind, clock, hand, Box::new(folder))
}

pub(crate) async fn dynamo() -> Bench {
    let server = Dynoxide::start();
    // A year ahead of the machine's, so that no server removes by its own clock what a test has not yet let expire.
    let (clock, hand) = Clock::manual(Clock::system().now_ms() + 365 * 24 * 3_600_000);
    let behind = Store::dynamo(DynamoOptions::emulator(server.url(), "limits"), clock.clone()).await.unwrap();
    bench(behind, clock, hand, Box::new(server))
}
