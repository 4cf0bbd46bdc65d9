use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use clock::Clock;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::rows::failed;
use super::{SqliteOptions, write};
use crate::{Action, StoreError, StoreErrorKind, limits};

const KIB: usize = 1024;

/// The way to the one thread that writes. Dropping it lets the thread finish what is queued and end.
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    places: Arc<Semaphore>,
    kibs: Arc<Semaphore>,
}

struct Job {
    work: Work,
    bytes: usize,
    room: Room,
}

/// A place and bytes in the bounded queue, given back when the job has been answered.
type Room = (OwnedSemaphorePermit, OwnedSemaphorePermit);

enum Work {
    Transact { actions: Vec<Action>, synced: bool, answer: oneshot::Sender<Result<(), StoreError>> },
    Sweep { limit: u32, answer: oneshot::Sender<Result<u64, StoreError>> },
}

impl Writer {
    pub(super) fn start(connection: Connection, options: SqliteOptions, clock: Clock) -> Result<Self, StoreError> {
        let (jobs, waiting) = mpsc::channel();
        let places = Arc::new(Semaphore::new(options.queue_max));
        let kibs = Arc::new(Semaphore::new((options.queue_bytes_max / KIB).min(Semaphore::MAX_PERMITS)));
        let last_sweep = clock.monotonic();
        let writing = Writing { connection, options, clock, last_sweep, syncs: true };
        std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || writing.run(&waiting)).map_err(
            |error| StoreError::new(StoreErrorKind::Unavailable, "the writer thread can't start").with_source(error),
        )?;
        Ok(Self { jobs, places, kibs })
    }

    /// `synced`: answered when it is on the disk.
    pub(super) async fn transact(&self, actions: Vec<Action>, synced: bool) -> Result<(), StoreError> {
        let bytes = actions.iter().map(limits::action_bytes).sum();
        let (answer, answered) = oneshot::channel();
        self.send(Work::Transact { actions, synced, answer }, bytes).await?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    pub(super) async fn sweep(&self, limit: u32) -> Result<u64, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Work::Sweep { limit, answer }, 0).await?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn send(&self, work: Work, bytes: usize) -> Result<(), StoreError> {
        let kibs = u32::try_from(bytes / KIB).unwrap_or(u32::MAX);
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| gone())?;
        let kibs = Arc::clone(&self.kibs).acquire_many_owned(kibs).await.map_err(|_| gone())?;
        self.jobs.send(Job { work, bytes, room: (place, kibs) }).map_err(|_| gone())
    }
}

fn gone() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the writer thread ended; restart the process")
}

struct Writing {
    connection: Connection,
    options: SqliteOptions,
    clock: Clock,
    last_sweep: Duration,
    /// Whether the connection syncs with each commit (`synchronous=FULL`, as it is opened).
    syncs: bool,
}

/// One transaction of a group and who waits for it.
type Waiting = (Vec<Action>, oneshot::Sender<Result<(), StoreError>>, Room);

impl Writing {
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut next = None;
        loop {
            let job = match next.take() {
                Some(job) => job,
                None => match self.wait(jobs) {
                    Ok(Some(job)) => job,
                    Ok(None) => continue,
                    Err(()) => break,
                },
            };
            next = self.work(job, jobs);
            self.sweep_when_due();
        }
    }

    /// The next job; none when it was time to sweep instead; an error when nobody can send one any more.
    fn wait(&mut self, jobs: &Receiver<Job>) -> Result<Option<Job>, ()> {
        if self.options.sweep_every_ms == 0 {
            return jobs.recv().map(Some).map_err(|_| ());
        }
        match jobs.recv_timeout(Duration::from_millis(self.options.sweep_every_ms)) {
            Ok(job) => Ok(Some(job)),
            Err(RecvTimeoutError::Timeout) => {
                self.sweep_now();
                Ok(None)
            }
            Err(RecvTimeoutError::Disconnected) => Err(()),
        }
    }

    /// Does `first` and what waits behind it; returns a job that did not fit the group.
    fn work(&mut self, first: Job, jobs: &Receiver<Job>) -> Option<Job> {
        let mut group = Vec::new();
        let (mut bytes, mut synced) = (0, false);
        let mut job = first;
        loop {
            bytes += job.bytes;
            match job.work {
                Work::Transact { actions, synced: this, answer } => {
                    synced |= this;
                    group.push((actions, answer, job.room));
                }
                Work::Sweep { limit, answer } => {
                    self.commit(group, synced);
                    let _ = answer.send(self.sweep(limit));
                    return None;
                }
            }
            if group.len() >= self.options.group_commit_max {
                break;
            }
            job = match jobs.try_recv() {
                Ok(job) if bytes + job.bytes > self.options.group_commit_bytes_max => {
                    self.commit(group, synced);
                    return Some(job);
                }
                Ok(job) => job,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            };
        }
        self.commit(group, synced);
        None
    }

    /// Commits the group at once and answers everybody, when it is durable if anybody asked for that. Should a write of
    /// one fail, each gets a commit of its own, so that one that does not fit the disk takes no other with it.
    fn commit(&mut self, group: Vec<Waiting>, synced: bool) {
        if group.is_empty() {
            return;
        }
        if let Err(error) = self.sync(synced) {
            return answer_all(group, &error);
        }
        let now_ms = self.clock.now_ms();
        match self.together(group.iter().map(|(actions, ..)| actions.as_slice()), now_ms) {
            Ok(results) => {
                for ((_, answer, _room), result) in group.into_iter().zip(results) {
                    // A caller that stopped waiting needs no answer.
                    let _ = answer.send(result);
                }
            }
            Err(Broken::Begin(error)) => answer_all(group, &error),
            Err(Broken::Write(error)) if group.len() == 1 => answer_all(group, &error),
            Err(Broken::Write(_)) => self.one_by_one(group, now_ms),
        }
    }

    fn one_by_one(&mut self, group: Vec<Waiting>, now_ms: u64) {
        let mut group = group.into_iter();
        while let Some((actions, answer, _room)) = group.next() {
            let result = match self.together(std::iter::once(actions.as_slice()), now_ms) {
                Ok(mut results) => results.pop().unwrap_or_else(|| Err(gone())),
                Err(Broken::Begin(error) | Broken::Write(error)) => Err(error),
            };
            // A device that fails would make every other wait just as long.
            let stop = result.as_ref().err().filter(|error| error.kind() == StoreErrorKind::Unavailable);
            let stop = stop.map(StoreError::again);
            let _ = answer.send(result);
            if let Some(error) = stop {
                return answer_all(group.collect(), &error);
            }
        }
    }

    /// All of `transactions` in one commit: what each came to, or why none of them happened.
    fn together<'a>(
        &mut self,
        transactions: impl Iterator<Item = &'a [Action]>,
        now_ms: u64,
    ) -> Result<Vec<Result<(), StoreError>>, Broken> {
        self.begin().map_err(Broken::Begin)?;
        let mut results = Vec::new();
        for actions in transactions {
            let result = write::apply(&self.connection, actions, now_ms);
            match result {
                Err(error) if !is_answer(&error) => {
                    self.roll_back();
                    return Err(Broken::Write(error));
                }
                result => results.push(result),
            }
        }
        self.end().map_err(Broken::Write)?;
        Ok(results)
    }

    fn sweep_when_due(&mut self) {
        let every = Duration::from_millis(self.options.sweep_every_ms);
        if !every.is_zero() && self.clock.monotonic().saturating_sub(self.last_sweep) >= every {
            self.sweep_now();
        }
    }

    fn sweep_now(&mut self) {
        self.last_sweep = self.clock.monotonic();
        let swept = match write::has_expired(&self.connection, self.clock.now_ms()) {
            Ok(true) => self.sweep(self.options.sweep_max).map(|_| ()),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = swept {
            tracing::warn!(%error, "expired items could not be removed; tried again later");
        }
    }

    fn sweep(&mut self, limit: u32) -> Result<u64, StoreError> {
        self.begin()?;
        match write::sweep(&self.connection, limit, self.clock.now_ms()) {
            Ok(gone) => self.end().map(|()| gone),
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    /// Whether the next commits wait for the disk. One that does makes those before it durable as well: all are in the
    /// same log.
    fn sync(&mut self, wanted: bool) -> Result<(), StoreError> {
        if self.syncs != wanted {
            let mode = if wanted { "FULL" } else { "NORMAL" };
            let changed = self.connection.pragma_update(None, "synchronous", mode);
            changed.map_err(|error| failed("changing how commits reach the disk", error))?;
            self.syncs = wanted;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.run_sql("BEGIN IMMEDIATE").map_err(|error| failed("beginning a commit", error))
    }

    fn end(&mut self) -> Result<(), StoreError> {
        self.run_sql("COMMIT").map_err(|error| {
            self.roll_back();
            failed("committing", error)
        })
    }

    fn run_sql(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    fn roll_back(&mut self) {
        // SQLite rolls back by itself after some failures.
        if !self.connection.is_autocommit()
            && let Err(error) = self.run_sql("ROLLBACK")
        {
            tracing::error!(%error, "a rollback failed");
        }
    }
}

/// Why a group did not happen.
enum Broken {
    /// Nothing was tried.
    Begin(StoreError),
    Write(StoreError),
}

/// What one transaction's caller is told while the others of its group go on.
fn is_answer(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Conflict { .. } | StoreErrorKind::Invalid)
}

fn answer_all(group: Vec<Waiting>, error: &StoreError) {
    for (_, answer, _room) in group {
        let _ = answer.send(Err(error.again()));
    }
}
