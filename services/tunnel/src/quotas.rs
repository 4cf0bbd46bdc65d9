//! Which subscriptions used up what their plans allow for tunnels. The subscription service says so; it stands in the
//! store, so that it survives a restart and reaches every process, and in memory, where requests are refused by it.
//!
//! | partition | sort | what |
//! |---|---|---|
//! | `quota` | tenant `/` subscription `/` limit | what was told last: used up until when, or restored |
//!
//! An item's version is the number of the fact, so an older fact that comes late changes nothing; for that a restored
//! quota's item stays for a day.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock};

use bus::Envelope;
use contracts::events::subscription::{QuotaExceededV1, QuotaRestoredV1};
use contracts::plans::limit;
use contracts::{Contract, SubscriptionId, TenantId};
use http::{HeaderName, HeaderValue};
use outbox::{Effects, Failure, Order, Outbox, RetryPolicy, Subscription, Unit};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::http::{Code, ProblemResponse};
use store::{Condition, Item, Key, Query, StoreError, StoreErrorKind};

use crate::NAME;
use crate::metering::Payer;

const PARTITION: &str = "quota";
/// Items read per page.
const PAGE: u32 = 500;
/// How long a restored quota's item is kept, milliseconds: longer than any fact is on its way.
const RESTORED_KEPT_MS: u64 = 86_400_000;

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Limits that bind tunnels; what else is used up is others' business.
const LIMITS: [&str; 3] = [limit::TUNNEL_REQUESTS_MINUTE, limit::TUNNEL_BYTES_DAY, limit::TUNNEL_BYTES_MONTH];

/// The facts that [`Quotas::learn`] takes in.
pub(crate) const READ: [Subscription; 2] = [read(QuotaExceededV1::KIND), read(QuotaRestoredV1::KIND)];

/// Facts of one subscription are about several limits, so the newest does not make the others stale.
const fn read(kind: &'static str) -> Subscription {
    Subscription { kind, retry: RetryPolicy::DEFAULT, order: Order::Every, effects: Effects::Local }
}

/// What is needed of [`QuotaExceededV1`].
#[derive(Debug, Deserialize)]
struct Exceeded {
    subscription_id: SubscriptionId,
    limit: String,
    allowed: u64,
    window_from_ms: u64,
    resets_at_ms: u64,
}

/// What is needed of [`QuotaRestoredV1`].
#[derive(Debug, Deserialize)]
struct Restored {
    subscription_id: SubscriptionId,
    limit: String,
}

/// What was told last about one limit of one subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    tenant: TenantId,
    subscription_id: SubscriptionId,
    limit: String,
    /// `None`: it may be used again.
    used_up: Option<UsedUp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct UsedUp {
    allowed: u64,
    window_from_ms: u64,
    resets_at_ms: u64,
}

/// What is in memory of an item.
#[derive(Debug)]
struct Standing {
    sequence: u64,
    until_ms: u64,
    used_up: Option<UsedUp>,
}

/// Quotas that are used up.
pub(crate) struct Quotas {
    outbox: Outbox,
    /// Most subscriptions in memory.
    max: usize,
    standing: RwLock<HashMap<Payer, BTreeMap<String, Standing>>>,
}

impl Quotas {
    /// What the store knows.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn load(outbox: Outbox, max: usize, now_ms: u64) -> Result<Self, StoreError> {
        let quotas = Self { outbox, max, standing: RwLock::default() };
        quotas.reload(now_ms).await?;
        Ok(quotas)
    }

    /// Reads what other processes were told, and forgets what is over.
    pub(crate) async fn reload(&self, now_ms: u64) -> Result<(), StoreError> {
        let (mut dropped, mut query) = (0, Query::all(PARTITION, PAGE));
        loop {
            let page = self.outbox.store().query(&query).await?;
            for item in &page.items {
                let told = read_item(item)?;
                let until_ms = item.expires_at_ms.unwrap_or_else(|| told.until_ms(now_ms));
                dropped += usize::from(!self.note(item.version, told, until_ms));
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        metrics::gauge!("tunnel_quotas_forgotten").set(f64::from(u32::try_from(dropped).unwrap_or(u32::MAX)));
        if dropped > 0 {
            tracing::error!(
                dropped,
                max = self.max,
                "more quotas are used up than max_used_up, and not all are enforced"
            );
        }
        let mut standing = self.standing.write().unwrap_or_else(PoisonError::into_inner);
        standing.retain(|_, limits| {
            limits.retain(|_, standing| standing.until_ms > now_ms);
            !limits.is_empty()
        });
        Ok(())
    }

    /// Takes in one of the facts of [`READ`]: in memory at once, in the store with `unit`. False when it is another.
    ///
    /// # Errors
    /// A poisonous payload, or the store's.
    pub(crate) async fn learn(&self, event: &Envelope, unit: &mut Unit, now_ms: u64) -> Result<bool, Failure> {
        let (subscription_id, limit, used_up) = match event.kind.as_str() {
            QuotaExceededV1::KIND => {
                let Exceeded { subscription_id, limit, allowed, window_from_ms, resets_at_ms } =
                    outbox::read(NAME, event)?;
                (subscription_id, limit, Some(UsedUp { allowed, window_from_ms, resets_at_ms }))
            }
            QuotaRestoredV1::KIND => {
                let Restored { subscription_id, limit } = outbox::read(NAME, event)?;
                (subscription_id, limit, None)
            }
            _ => return Ok(false),
        };
        if !LIMITS.contains(&limit.as_str()) {
            return Ok(true);
        }
        let told = Told { tenant: event.tenant.clone(), subscription_id, limit, used_up };
        let key = Key::new(PARTITION, format!("{}/{}/{}", told.tenant, told.subscription_id, told.limit));
        let found = self.outbox.store().get(&key).await?;
        if found.as_ref().is_some_and(|found| found.version >= event.sequence) {
            return Ok(true);
        }
        let mut item =
            Item::new(key, event.sequence, serde_json::to_string(&told).expect("ids and numbers are plain data"));
        let until_ms = told.until_ms(now_ms);
        item.expires_at_ms = Some(until_ms);
        unit.put(item, found.map_or(Condition::Absent, |found| Condition::Version(found.version)));
        tracing::info!(
            tenant = %told.tenant, subscription_id = %told.subscription_id, limit = told.limit,
            used_up = told.used_up.is_some(), "a quota of tunnels changed"
        );
        if !self.note(event.sequence, told, until_ms) {
            tracing::error!(max = self.max, "more quotas are used up than max_used_up, and this one is not enforced");
        }
        Ok(true)
    }

    /// False when there is no room.
    fn note(&self, sequence: u64, told: Told, until_ms: u64) -> bool {
        let Told { tenant, subscription_id, limit, used_up } = told;
        let payer = (tenant, subscription_id);
        let mut standing = self.standing.write().unwrap_or_else(PoisonError::into_inner);
        if standing.len() >= self.max && !standing.contains_key(&payer) {
            return false;
        }
        let limits = standing.entry(payer).or_default();
        if limits.get(&limit).is_none_or(|known| known.sequence < sequence) {
            limits.insert(limit, Standing { sequence, until_ms, used_up });
        }
        true
    }

    /// Why the payer's tunnels carry nothing for now, if so: the quota that lasts longest.
    pub(crate) fn refusal(&self, payer: &Payer, now_ms: u64) -> Option<ProblemResponse> {
        let standing = self.standing.read().unwrap_or_else(PoisonError::into_inner);
        let limits = standing.get(payer)?.iter();
        let used_up = limits.filter_map(|(limit, standing)| Some((limit, standing.used_up.as_ref()?)));
        let lasting = used_up.filter(|(_, used_up)| used_up.resets_at_ms > now_ms);
        lasting.max_by_key(|(_, used_up)| used_up.resets_at_ms).map(|(limit, used_up)| problem(limit, used_up, now_ms))
    }
}

impl Told {
    fn until_ms(&self, now_ms: u64) -> u64 {
        self.used_up.as_ref().map_or(now_ms + RESTORED_KEPT_MS, |used_up| used_up.resets_at_ms)
    }
}

/// The refusal, with the fields of draft-ietf-httpapi-ratelimit-headers.
fn problem(limit: &str, used_up: &UsedUp, now_ms: u64) -> ProblemResponse {
    let UsedUp { allowed, window_from_ms, resets_at_ms } = *used_up;
    let wait_s = (resets_at_ms - now_ms).div_ceil(1_000);
    let window_s = resets_at_ms.saturating_sub(window_from_ms).div_ceil(1_000);
    let detail = format!(
        "this tunnel's plan allows {allowed} of {limit}, and they are used up; its owner may change to a larger plan, \
         else it goes on in {wait_s} s"
    );
    let problem = ProblemResponse::new(Code::QuotaExceeded).detail(detail).retry_after_s(wait_s);
    let problem = problem.member("limit", json!(limit)).member("allowed", json!(allowed));
    let policy = (RATE_LIMIT_POLICY, format!("{limit:?};q={allowed};w={window_s}"));
    let state = (RATE_LIMIT, format!("{limit:?};r=0;t={wait_s}"));
    [policy, state].into_iter().fold(problem, |problem, (name, value)| match HeaderValue::try_from(value) {
        Ok(value) => problem.header(name, value),
        Err(_) => problem,
    })
}

fn read_item(item: &Item) -> Result<Told, StoreError> {
    serde_json::from_str(&item.body).map_err(|error| {
        StoreError::new(StoreErrorKind::Corrupt, format!("{} can't be read", item.key)).with_source(error)
    })
}
