use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clock::Clock;
use serde::Serialize;
use store::{Action, Condition, Item, Key, Query, Range, Store, StoreError};

/// One bucket of statistics, milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// How long they are kept, milliseconds.
const KEEP_MS: u64 = 30 * 24 * HOUR_MS;
/// How often they are written, milliseconds: so much is lost with a process that is killed.
const FLUSH: Duration = Duration::from_secs(10);
/// Hours × policies that wait for a store that is away; the oldest go.
const MAX_WAITING: usize = 512;
/// Rows a page, and deletes a transaction.
const PAGE: u32 = 100;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Allowed,
    Blocked,
    /// The store was not there to decide.
    Error,
}

/// What became of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Passed.
    pub allowed: u64,
    /// Refused with 429.
    pub blocked: u64,
    /// Not counted, because the store was away.
    pub errors: u64,
}

/// One hour of one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HourOfPolicy {
    /// When it began, Unix milliseconds.
    pub from_ms: u64,
    /// What became of its calls.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Counts per policy and hour, of all processes together, for 30 days. Written every ten seconds; a store's answer that
/// was lost may count ten seconds twice.
pub struct Statistics {
    store: Store,
    clock: Clock,
    waiting: Mutex<BTreeMap<(u64, &'static str), Counts>>,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.allowed += other.allowed;
        self.blocked += other.blocked;
        self.errors += other.errors;
    }

    fn each(self) -> [(&'static str, u64); 3] {
        [("allowed", self.allowed), ("blocked", self.blocked), ("errors", self.errors)]
    }
}

impl Statistics {
    pub(super) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, waiting: Mutex::default() }
    }

    pub(super) fn record(&self, policy: &'static str, outcome: Outcome) {
        let mut counts = Counts::default();
        let (count, label) = match outcome {
            Outcome::Allowed => (&mut counts.allowed, "allowed"),
            Outcome::Blocked => (&mut counts.blocked, "blocked"),
            Outcome::Error => (&mut counts.errors, "error"),
        };
        *count = 1;
        metrics::counter!("rate_limit_decisions_total", "policy" => policy, "outcome" => label).increment(1);
        let hour = self.clock.now_ms() / HOUR_MS * HOUR_MS;
        self.keep(hour, policy, counts);
    }

    fn keep(&self, hour: u64, policy: &'static str, counts: Counts) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry((hour, policy)).or_default().add(counts);
        while waiting.len() > MAX_WAITING {
            waiting.pop_first();
        }
    }

    /// Writes what was counted, every ten seconds, for ever.
    pub async fn run(&self) {
        loop {
            self.clock.sleep(FLUSH).await;
            if let Err(error) = self.flush().await {
                tracing::warn!(%error, "statistics of rate limits wait for the store");
            }
        }
    }

    /// Writes what was counted. What could not be written waits for the next time.
    ///
    /// # Errors
    /// The store's.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let taken = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut outcome = Ok(());
        for ((hour, policy), counts) in taken {
            let written = if outcome.is_ok() { self.write(hour, policy, counts).await } else { Ok(false) };
            match written {
                Ok(true) => {}
                Ok(false) => self.keep(hour, policy, counts),
                Err(error) => {
                    self.keep(hour, policy, counts);
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    async fn write(&self, hour: u64, policy: &str, counts: Counts) -> Result<bool, StoreError> {
        let key = |what: &str| Key::new(partition(policy), format!("{hour:013}#{what}"));
        let adds = || -> Vec<Action> {
            let counted = counts.each().into_iter().filter(|(_, count)| *count > 0);
            let add = |(what, count): (&str, u64)| Action::Add {
                key: key(what),
                delta: i64::try_from(count).unwrap_or(i64::MAX),
                condition: Condition::Exists,
            };
            counted.map(add).collect()
        };
        match self.store.transact_unsynced(adds()).await {
            Err(error) if error.conflict().is_some() => {}
            written => return written.map(|()| true),
        }
        // The first of this hour: an add alone would make rows without an end.
        for (what, _) in counts.each() {
            let row = Item { expires_at_ms: Some(hour + HOUR_MS + KEEP_MS), ..Item::new(key(what), 0, "{}") };
            match self.store.put(row, Condition::Absent).await {
                Err(error) if error.conflict().is_none() => return Err(error),
                _ => {}
            }
        }
        self.store.transact_unsynced(adds()).await.map(|()| true)
    }

    /// The hours of a policy from `from_ms` on, oldest first; those in which nothing was asked are left out.
    ///
    /// # Errors
    /// The store's.
    pub async fn hours(&self, policy: &str, from_ms: u64) -> Result<Vec<HourOfPolicy>, StoreError> {
        let mut hours: BTreeMap<u64, Counts> = BTreeMap::new();
        // Digits end below "~".
        let range = Range::Between(format!("{from_ms:013}"), "~".to_owned());
        let mut query = Query { range, ..Query::all(partition(policy), PAGE) };
        loop {
            let page = self.store.query(&query).await?;
            for item in page.items {
                let Some((hour, what)) = item.key.sort.split_once('#') else { continue };
                let Ok(from_ms) = hour.parse() else { continue };
                let counts = hours.entry(from_ms).or_default();
                let count = u64::try_from(item.counter).unwrap_or(0);
                match what {
                    "allowed" => counts.allowed += count,
                    "blocked" => counts.blocked += count,
                    _ => counts.errors += count,
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        let nonzero = hours.into_iter().filter(|(_, counts)| *counts != Counts::default());
        Ok(nonzero.map(|(from_ms, counts)| HourOfPolicy { from_ms, counts }).collect())
    }

    /// Forgets what was counted of a policy; says how many rows went.
    ///
    /// # Errors
    /// The store's.
    pub async fn reset(&self, policy: &str) -> Result<usize, StoreError> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).retain(|(_, name), _| *name != policy);
        let (mut removed, mut query) = (0, Query::all(partition(policy), PAGE));
        loop {
            let page = self.store.query(&query).await?;
            removed += page.items.len();
            let gone = |item: Item| Action::Delete { key: item.key, condition: Condition::Any };
            let actions: Vec<Action> = page.items.into_iter().map(gone).collect();
            if !actions.is_empty() {
                self.store.transact(actions).await?;
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(removed),
            }
        }
    }
}

fn partition(policy: &str) -> String {
    format!("limit-statistics#{policy}")
}
