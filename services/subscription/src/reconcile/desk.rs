//! | partition | sort | what |
//! |---|---|---|
//! | `reconcile` | `run` | the [`Run`] that is under way or was the last: state, lease and fence in one |
//! | `reconcile` | `last` | a [`Last`]: when each mode ended, and how far Stripe's events were read |
//! | `drift#<run>` | Stripe's subscription, or ours | a [`Row`] of what a run found; expires after 30 days |
//! | `seen#<run>` | `<tenant>#<subscription>` | ours that a sweep met at Stripe; expires after a week |
//! | `tenants` | tenant | who may have subscriptions |

use std::sync::PoisonError;

use clock::Entropy;
use contracts::events::subscription::ReconcileMode;
use contracts::{SubscriptionId, TenantId};
use outbox::{Outbox, Unit};
use serde::{Deserialize, Serialize};
use store::{Condition, Cursor, Item, Key, Query, Range, StoreError, StoreErrorKind};

use super::Begun;
use super::page::Phase;
use crate::Subscriptions;
use crate::config::ReconcileConfig;

const PARTITION: &str = "reconcile";
const ROWS_KEPT_MS: u64 = 30 * 86_400_000;
const SEEN_KEPT_MS: u64 = 7 * 86_400_000;
/// A transaction takes 100 actions; some room for others.
const SEEN_AT_ONCE: usize = 90;
/// Names seen per page of ours: a page's range holds little else.
const SEEN_PAGE: u32 = 1_000;

/// One reconciliation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) mode: ReconcileMode,
    /// Only look and tell.
    pub(crate) dry_run: bool,
    pub(crate) phase: Phase,
    pub(crate) counts: Counts,
    /// Stripe's events since then, Unix seconds; for a backfill.
    pub(crate) since_s: u64,
    pub(crate) started_at_ms: u64,
    pub(crate) finished_at_ms: Option<u64>,
    /// Why it stopped the last time it did.
    pub(crate) trouble: Option<String>,
    owner: String,
    lease_until_ms: u64,
    /// The item's version: the fence.
    #[serde(skip)]
    version: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) checked: u64,
    pub(crate) missing: u64,
    pub(crate) stale: u64,
    pub(crate) extra: u64,
    pub(crate) repaired: u64,
    pub(crate) failed: u64,
}

/// What is wrong with a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// At Stripe and not known here.
    Missing,
    /// Known here with other content.
    Stale,
    /// On one side only, or twice: people must decide.
    Extra,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Stale => "stale",
            Self::Extra => "extra",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) tenant: String,
    pub(crate) subscription_id: String,
    pub(crate) stripe_subscription_id: String,
    /// What we had.
    pub(crate) ours: String,
    /// What Stripe says.
    pub(crate) stripes: String,
    pub(crate) done: Done,
    /// Why it was not repaired, or what people should do.
    pub(crate) note: Option<String>,
}

/// What was done about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Done {
    /// Begun; if a run ends with it, the process died in between and the next look found it in order.
    Repairing,
    Repaired,
    /// Looked only.
    WouldRepair,
    /// Not ours to repair.
    Left,
    Failed,
}

/// When each mode ended, and how far Stripe's events were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Last {
    pub(crate) sweep_ms: u64,
    pub(crate) backfill_ms: u64,
    /// Events until then were looked at, Unix seconds.
    pub(crate) events_until_s: u64,
    /// Counts the reports.
    pub(crate) reports: u64,
    #[serde(skip)]
    version: u64,
}

impl Run {
    pub(crate) fn mode_name(&self) -> &'static str {
        if self.mode == ReconcileMode::Backfill { "backfill" } else { "sweep" }
    }

    /// Whether somebody is at it.
    pub(crate) fn is_held(&self, now_ms: u64) -> bool {
        self.finished_at_ms.is_none() && now_ms < self.lease_until_ms
    }
}

/// Where runs are written down.
pub(crate) struct Desk {
    pub(crate) outbox: Outbox,
    owner: String,
    entropy: Entropy,
    lease_ms: u64,
    max_rows: u64,
}

impl Desk {
    pub(crate) fn new(outbox: Outbox, owner: String, entropy: Entropy, config: &ReconcileConfig) -> Self {
        Self { outbox, owner, entropy, lease_ms: config.lease_ms, max_rows: config.max_rows }
    }

    /// The run that is under way or was the last.
    pub(crate) async fn run(&self) -> Result<Option<Run>, StoreError> {
        let Some(item) = self.outbox.store().get(&Key::new(PARTITION, "run")).await? else { return Ok(None) };
        Ok(Some(Run { version: item.version, ..read(&item)? }))
    }

    /// Takes up a run that was cut off, if there is one.
    pub(crate) async fn abandoned(&self, now_ms: u64) -> Result<Option<Run>, StoreError> {
        match self.run().await? {
            Some(run) if run.finished_at_ms.is_none() && !run.is_held(now_ms) => self.take(run, now_ms).await,
            _ => Ok(None),
        }
    }

    /// Begins a run, or takes up one that was cut off.
    pub(crate) async fn begin(&self, mode: ReconcileMode, dry_run: bool, now_ms: u64) -> Result<Begun, StoreError> {
        for _ in 0..8 {
            let known = self.run().await?;
            let next = match known {
                Some(run) if run.is_held(now_ms) => return Ok(Begun::Busy(Box::new(run))),
                Some(run) if run.finished_at_ms.is_none() => run,
                known => Run {
                    id: self.entropy.uuid_v7(now_ms).to_string(),
                    mode,
                    dry_run,
                    phase: if mode == ReconcileMode::Backfill { Phase::EVENTS } else { Phase::STRIPES },
                    counts: Counts::default(),
                    since_s: self.last(now_ms).await?.events_until_s,
                    started_at_ms: now_ms,
                    finished_at_ms: None,
                    trouble: None,
                    owner: String::new(),
                    lease_until_ms: 0,
                    version: known.map_or(0, |run| run.version),
                },
            };
            if let Some(mine) = self.take(next, now_ms).await? {
                return Ok(Begun::Mine(Box::new(mine)));
            }
        }
        Err(StoreError::new(StoreErrorKind::Contended, "many want to reconcile at once; try again"))
    }

    async fn take(&self, run: Run, now_ms: u64) -> Result<Option<Run>, StoreError> {
        let mut run = Run { owner: self.owner.clone(), ..run };
        Ok(self.commit(Unit::new(), &mut run, now_ms).await?.then_some(run))
    }

    /// Writes the run with what `unit` holds, and renews its lease; false when another process has it.
    pub(crate) async fn commit(&self, mut unit: Unit, run: &mut Run, now_ms: u64) -> Result<bool, StoreError> {
        run.lease_until_ms = now_ms.saturating_add(self.lease_ms);
        let condition = if run.version == 0 { Condition::Absent } else { Condition::Version(run.version) };
        unit.put(Item::new(Key::new(PARTITION, "run"), run.version + 1, write(run)), condition);
        match self.outbox.commit(unit).await {
            Ok(()) => {
                run.version += 1;
                Ok(true)
            }
            Err(error) if error.conflict().is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets the next one have an unfinished run at once. Best effort: the lease ends by itself.
    pub(crate) async fn release(&self, run: &Run) {
        let free = Run { lease_until_ms: 0, ..run.clone() };
        let item = Item::new(Key::new(PARTITION, "run"), run.version + 1, write(&free));
        if let Err(error) = self.outbox.store().put(item, Condition::Version(run.version)).await {
            tracing::debug!(%error, "a reconciliation's lease was not released; it ends by itself");
        }
    }

    /// When each mode ended last. Where none ever did, from now on: history before this installation is not its own.
    pub(crate) async fn last(&self, now_ms: u64) -> Result<Last, StoreError> {
        let key = Key::new(PARTITION, "last");
        if let Some(item) = self.outbox.store().get(&key).await? {
            return Ok(Last { version: item.version, ..read(&item)? });
        }
        let first = Last { sweep_ms: now_ms, backfill_ms: now_ms, events_until_s: now_ms / 1_000, ..Last::default() };
        match self.outbox.store().put(Item::new(key, 1, write(&first)), Condition::Absent).await {
            Ok(()) => Ok(Last { version: 1, ..first }),
            // Another process of ours did; the next look reads what it wrote.
            Err(error) if error.conflict().is_some() => Ok(first),
            Err(error) => Err(error),
        }
    }

    /// Adds what `last` becomes to `unit`.
    pub(crate) fn put_last(unit: &mut Unit, last: &Last) {
        let item = Item::new(Key::new(PARTITION, "last"), last.version + 1, write(last));
        unit.put(item, if last.version == 0 { Condition::Absent } else { Condition::Version(last.version) });
    }

    /// The row of a subscription in a run, if there is one.
    pub(crate) async fn row(&self, run: &Run, name: &str) -> Result<Option<Row>, StoreError> {
        let item = self.outbox.store().get(&Key::new(format!("drift#{}", run.id), name)).await?;
        item.map(|item| read(&item)).transpose()
    }

    /// Adds a row to `unit`, while there is room for rows; the counts go on.
    pub(crate) fn put_row(&self, unit: &mut Unit, run: &Run, name: &str, row: &Row, now_ms: u64) {
        if run.counts.missing + run.counts.stale + run.counts.extra > self.max_rows {
            return;
        }
        let mut item = Item::new(Key::new(format!("drift#{}", run.id), name), 1, write(row));
        item.expires_at_ms = Some(now_ms.saturating_add(ROWS_KEPT_MS));
        unit.put(item, Condition::Any);
    }

    /// A page of a run's rows with their names.
    pub(crate) async fn rows(
        &self,
        run_id: &str,
        limit: u32,
        after: Option<Cursor>,
    ) -> Result<(Vec<(String, Row)>, Option<Cursor>), StoreError> {
        let query = Query { after, ..Query::all(format!("drift#{run_id}"), limit) };
        let page = self.outbox.store().query(&query).await?;
        let rows = page.items.iter().map(|item| Ok((item.key.sort.clone(), read(item)?)));
        Ok((rows.collect::<Result<_, StoreError>>()?, page.next))
    }

    /// Notes which of ours were met at Stripe, and their tenants.
    pub(crate) async fn saw(
        &self,
        run: &Run,
        met: &[(TenantId, SubscriptionId)],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        for chunk in met.chunks(SEEN_AT_ONCE) {
            let mut unit = Unit::new();
            let mut names: Vec<String> = chunk.iter().map(|(tenant, id)| format!("{tenant}#{id}")).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let mut item = Item::new(Key::new(format!("seen#{}", run.id), name), 1, "{}");
                item.expires_at_ms = Some(now_ms.saturating_add(SEEN_KEPT_MS));
                unit.put(item, Condition::Any);
            }
            self.outbox.commit(unit).await?;
        }
        Ok(())
    }

    /// Which of a tenant's from `first` to `last` were met at Stripe.
    pub(crate) async fn seen(
        &self,
        run: &Run,
        tenant: &TenantId,
        first: &str,
        last: &str,
    ) -> Result<Vec<String>, StoreError> {
        let range = Range::Between(format!("{tenant}#{first}"), format!("{tenant}#{last}"));
        let mut query = Query { range, ..Query::all(format!("seen#{}", run.id), SEEN_PAGE) };
        let mut found = Vec::new();
        loop {
            let page = self.outbox.store().query(&query).await?;
            let names = page.items.iter().filter_map(|item| item.key.sort.split_once('#'));
            found.extend(names.map(|(_, id)| id.to_owned()));
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(found),
            }
        }
    }
}

/// Most tenants that a process remembers to have noted.
const MAX_NOTED: usize = 10_000;

impl Subscriptions {
    /// Notes that a tenant may have subscriptions, once per process.
    pub(crate) async fn note_tenant(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let noted = || self.noted_tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if noted().contains(tenant) {
            return Ok(());
        }
        let item = Item::new(Key::new("tenants", tenant.as_str()), 1, "{}");
        self.platform.outbox.store().put(item, Condition::Any).await?;
        let mut noted = noted();
        if noted.len() >= MAX_NOTED {
            noted.clear();
        }
        noted.insert(tenant.clone());
        Ok(())
    }
}

/// A page of tenants.
pub(crate) async fn tenants(
    outbox: &Outbox,
    after: Option<Cursor>,
) -> Result<(Vec<TenantId>, Option<Cursor>), StoreError> {
    let page = outbox.store().query(&Query { after, ..Query::all("tenants", 100) }).await?;
    Ok((page.items.iter().filter_map(|item| item.key.sort.parse().ok()).collect(), page.next))
}

fn write(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("items are plain data")
}

fn read<T: serde::de::DeserializeOwned>(item: &Item) -> Result<T, StoreError> {
    serde_json::from_str(&item.body).map_err(|error| {
        StoreError::new(StoreErrorKind::Corrupt, format!("the item at {} can't be read", item.key)).with_source(error)
    })
}
