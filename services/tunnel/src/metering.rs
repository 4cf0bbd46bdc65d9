//! What subscriptions' tunnels carried: counted here as it passes, told every `usage_interval_ms` and at the end.
//!
//! Each use stands in exactly one fact: counters are moved into a report, and a report that could not be stored goes out
//! later, unchanged, under the same event id. What a process had counted and not yet told when it was killed is lost: at
//! most an interval's use, and it is lost in the customer's favour.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::Trail;
use contracts::events::tunnel::{TunnelEvent, UsageRecordedV1};
use contracts::events::usage::Usage;
use contracts::{EventId, SubscriptionId, TenantId};
use futures::{StreamExt, stream};
use outbox::Unit;
use service::Platform;
use store::StoreError;

/// Names of what is counted; plans limit it as `tunnel_requests_minute` and the like.
pub(crate) const REQUESTS: &str = "tunnel_requests";
pub(crate) const BYTES: &str = "tunnel_bytes";

/// Reports that are stored at once.
const STORED_AT_ONCE: usize = 16;

/// Whose use it is.
pub(crate) type Payer = (TenantId, SubscriptionId);

/// Counts what a subscription's tunnels carry. Cheap to clone; counts nothing where nobody pays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Option<Arc<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Meter {
    /// A request goes to the agent.
    pub(crate) fn request(&self) {
        self.add(|counts| &counts.requests, 1);
    }

    /// Something of a body, or of a switched connection, passed in either direction.
    pub(crate) fn bytes(&self, bytes: usize) {
        self.add(|counts| &counts.bytes, bytes as u64);
    }

    fn add(&self, of: fn(&Counts) -> &AtomicU64, amount: u64) {
        if let Some(counts) = &self.0 {
            of(counts).fetch_add(amount, Ordering::Relaxed);
        }
    }
}

/// What this process has counted.
pub(crate) struct Metering {
    platform: Platform,
    accounts: Mutex<HashMap<Payer, Account>>,
    /// One flush at a time.
    flushing: tokio::sync::Mutex<()>,
}

struct Account {
    counts: Arc<Counts>,
    /// Begin of what the counters hold, Unix milliseconds.
    from_ms: u64,
    /// Number of the next fact. It begins with the time, so that it rises although idle accounts are forgotten.
    sequence: u64,
    /// What was taken from the counters and is not known to be stored.
    report: Option<Report>,
}

#[derive(Clone)]
struct Report {
    id: EventId,
    sequence: u64,
    trail: Trail,
    fact: TunnelEvent,
}

impl Metering {
    pub(crate) fn new(platform: Platform) -> Self {
        Self { platform, accounts: Mutex::default(), flushing: tokio::sync::Mutex::default() }
    }

    /// The payer's meter. Agents hold it, so there are no more accounts than agents were here since the last flush.
    pub(crate) fn of(&self, payer: &Payer) -> Meter {
        let now_ms = self.platform.clock.now_ms();
        let mut accounts = self.lock();
        let account = match accounts.entry(payer.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                free.insert(Account { counts: Arc::default(), from_ms: now_ms, sequence: now_ms, report: None })
            }
        };
        Meter(Some(Arc::clone(&account.counts)))
    }

    /// Tells what was counted, at intervals until the process stops. [`Metering::flush`] once more after the last use.
    pub(crate) async fn flush_until_stopped(&self, interval: Duration) {
        let stop = self.platform.lifecycle.token();
        while stop.run_until_cancelled(self.platform.clock.sleep(interval)).await.is_some() {
            self.flush().await;
        }
    }

    /// Stores one fact for each payer with use. What can't be stored stays and is tried again with the next flush.
    pub(crate) async fn flush(&self) {
        let _one = self.flushing.lock().await;
        let reports = self.take();
        let stored = stream::iter(reports).map(|(payer, report)| async move {
            let outcome = self.store(&payer, report).await;
            (payer, outcome)
        });
        let mut stored = std::pin::pin!(stored.buffer_unordered(STORED_AT_ONCE));
        while let Some((payer, outcome)) = stored.next().await {
            let label = if outcome.is_ok() { "told" } else { "kept" };
            metrics::counter!("tunnel_usage_reports_total", "outcome" => label).increment(1);
            match outcome {
                Ok(()) => {
                    if let Some(account) = self.lock().get_mut(&payer) {
                        account.report = None;
                    }
                }
                Err(error) => {
                    let (tenant, subscription_id) = payer;
                    tracing::warn!(%tenant, %subscription_id, %error, "use could not be stored; it is tried again");
                }
            }
        }
    }

    async fn store(&self, (tenant, _): &Payer, report: Report) -> Result<(), StoreError> {
        let mut unit = Unit::new();
        unit.publish_as(report.id, tenant, report.sequence, &report.trail, &report.fact);
        match self.platform.outbox.commit(unit).await {
            // An earlier try came through, and its fact waits in the outbox: nobody else makes facts of this key.
            Err(error) if error.conflict().is_some() => Ok(()),
            outcome => outcome,
        }
    }

    /// Moves what was counted into reports, and gives all of those. Accounts that nobody uses are forgotten.
    fn take(&self) -> Vec<(Payer, Report)> {
        let now_ms = self.platform.clock.now_ms();
        let mut accounts = self.lock();
        accounts.retain(|payer, account| {
            if account.report.is_none() {
                account.report = self.report(payer, account, now_ms);
            }
            account.report.is_some() || Arc::strong_count(&account.counts) > 1
        });
        let standing = accounts.iter().filter_map(|(payer, account)| Some((payer.clone(), account.report.clone()?)));
        standing.collect()
    }

    fn report(&self, (_, subscription): &Payer, account: &mut Account, now_ms: u64) -> Option<Report> {
        let counts = [(REQUESTS, &account.counts.requests), (BYTES, &account.counts.bytes)];
        let taken = counts.map(|(meter, count)| (meter.to_owned(), count.swap(0, Ordering::Relaxed)));
        let from_ms = std::mem::replace(&mut account.from_ms, now_ms);
        let amounts: std::collections::BTreeMap<_, _> = taken.into_iter().filter(|(_, used)| *used > 0).collect();
        if amounts.is_empty() {
            return None;
        }
        let platform = &self.platform;
        let id = platform.entropy.uuid_v7(now_ms).to_string().parse().expect("a UUID is a valid id");
        let sequence = account.sequence;
        account.sequence += 1;
        let (subscription_id, node_id) = (subscription.clone(), platform.node_id.clone());
        // The clock may have been set back.
        let usage = Usage { subscription_id, node_id, from_ms: from_ms.min(now_ms), to_ms: now_ms, amounts };
        let trail = Trail::fresh(&platform.clock, &platform.entropy);
        Some(Report { id, sequence, trail, fact: UsageRecordedV1 { usage }.into() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Payer, Account>> {
        // Whole after every statement.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "metering_tests.rs"]
mod tests;
