//! Metering: what subscriptions used, told by whoever measures, against what their plans allow.
//!
//! | partition | sort | index | what |
//! |---|---|---|---|
//! | `usage#<tenant>` | subscription | `quotas-exceeded` / tenant, subscription; only while one is | a [`Book`] |
//!
//! A fact that comes twice counts once: the inbox, and the book's version in the same transaction. So a quota is found
//! exceeded exactly once per limit and window.

mod book;
mod window;

use std::sync::Arc;

use bus::{Asked, Trail};
use contracts::events::subscription::SubscriptionEvent;
use contracts::events::usage::Usage;
use contracts::requests::billing::{UsageV1, UsageView, UsageWindow};
use contracts::requests::subscription::GetRefusal;
use contracts::{SubscriptionId, TenantId};
use outbox::{Failure, Unit};
use service::Rejection;
use store::{Condition, Cursor, Item, Key, Query, StoreError, StoreErrorKind};

pub(crate) use book::Book;
pub(crate) use window::Window;

use crate::subscription::Subscription;
use crate::{Subscriptions, features};

const EXCEEDED: &str = "quotas-exceeded";
/// Books with exceeded quotas that one sweep looks at; the next sweep goes on behind them.
const SWEEP_PAGE: u32 = 200;

/// Counts what somebody measured and adds it to `unit`.
pub(crate) async fn record(
    service: &Subscriptions,
    tenant: &TenantId,
    usage: &Usage,
    trail: &Trail,
    unit: &mut Unit,
) -> Result<(), Failure> {
    book::check(usage).map_err(Failure::Permanent)?;
    let id = &usage.subscription_id;
    let Some((subscription, _)) = service.records.find_live(tenant, id).await? else {
        // Nobody to bill: dropping it is right, dropping it silently is not.
        metrics::counter!("synapse_subscription_usage_total", "outcome" => "unknown_subscription").increment(1);
        tracing::warn!(subscription = %id, node = %usage.node_id, "usage of a subscription that is not here");
        return Ok(());
    };
    let (mut book, version) = find(service, tenant, id).await?;
    let now_ms = service.platform.clock.now_ms();
    book.count(usage, now_ms);
    let facts = book.judge(id, &limits(service, tenant, &subscription), now_ms);
    metrics::counter!("synapse_subscription_usage_total", "outcome" => "counted").increment(1);
    write(unit, tenant, id, &book, version, &facts, trail);
    Ok(())
}

/// Tells what a subscription used and may use.
pub(crate) async fn usage(
    service: Arc<Subscriptions>,
    asked: Asked,
    ask: UsageV1,
) -> Result<UsageView, Rejection<GetRefusal>> {
    view(&service, &asked.tenant, &ask.subscription_id).await?.ok_or(Rejection::Refused(GetRefusal::NotFound))
}

/// The same for operators.
pub(crate) async fn view(
    service: &Subscriptions,
    tenant: &TenantId,
    id: &SubscriptionId,
) -> Result<Option<UsageView>, StoreError> {
    let Some((subscription, _)) = service.records.find_live(tenant, id).await? else { return Ok(None) };
    let (book, _) = find(service, tenant, id).await?;
    let plan = service.catalogue.plan(tenant, &subscription.plan);
    let features = match plan {
        Some(plan) => {
            let store = service.platform.outbox.store();
            features::of(store, tenant, &subscription.stripe_customer_id, plan).await?
        }
        None => Vec::new(),
    };
    let now_ms = service.platform.clock.now_ms();
    let limits = limits(service, tenant, &subscription);
    let windows = book.windows(&limits, now_ms).map(|(meter, window, used)| {
        let span = window.around(now_ms);
        UsageWindow {
            allowed: limits.get(&window.limit(&meter)).copied(),
            meter,
            window: window.name().to_owned(),
            used,
            from_ms: span.start,
            resets_at_ms: span.end,
        }
    });
    let windows = windows.collect();
    let Subscription { subscription_id, user_id, plan, .. } = subscription;
    Ok(Some(UsageView { subscription_id, user_id, plan, features, windows }))
}

/// Looks again at the quotas that are exceeded: a window may have ended or the plan may allow more. Returns how many
/// were restored, and where the next sweep goes on.
pub(crate) async fn sweep(
    service: &Subscriptions,
    after: Option<Cursor>,
) -> Result<(usize, Option<Cursor>), StoreError> {
    let store = service.platform.outbox.store();
    let page = store.query_index(&Query { after, ..Query::all(EXCEEDED, SWEEP_PAGE) }).await?;
    let mut restored = 0;
    for item in &page.items {
        let Some(tenant) = item.key.partition.strip_prefix("usage#").and_then(|tenant| tenant.parse().ok()) else {
            continue;
        };
        let Ok(id) = item.key.sort.parse() else { continue };
        restored += restore(service, &tenant, &id).await?;
    }
    Ok((restored, page.next))
}

async fn restore(service: &Subscriptions, tenant: &TenantId, id: &SubscriptionId) -> Result<usize, StoreError> {
    let limits = match service.records.find_live(tenant, id).await? {
        Some((subscription, _)) => limits(service, tenant, &subscription),
        None => Limits::new(),
    };
    let (mut book, version) = find(service, tenant, id).await?;
    let facts = book.judge(id, &limits, service.platform.clock.now_ms());
    if facts.is_empty() {
        return Ok(0);
    }
    let platform = &service.platform;
    let mut unit = Unit::new();
    write(&mut unit, tenant, id, &book, version, &facts, &Trail::fresh(&platform.clock, &platform.entropy));
    match platform.outbox.commit(unit).await {
        Ok(()) => Ok(facts.len()),
        // Somebody counted meanwhile, and judged.
        Err(error) if error.conflict().is_some() => Ok(0),
        Err(error) => Err(error),
    }
}

pub(crate) type Limits = std::collections::BTreeMap<String, u64>;

fn limits(service: &Subscriptions, tenant: &TenantId, subscription: &Subscription) -> Limits {
    service.catalogue.plan(tenant, &subscription.plan).map(|plan| plan.limits.clone()).unwrap_or_default()
}

async fn find(service: &Subscriptions, tenant: &TenantId, id: &SubscriptionId) -> Result<(Book, u64), StoreError> {
    let Some(item) = service.platform.outbox.store().get(&key(tenant, id)).await? else {
        return Ok((Book::default(), 0));
    };
    let book = serde_json::from_str(&item.body).map_err(|error| {
        StoreError::new(StoreErrorKind::Corrupt, format!("the item at {} can't be read", item.key)).with_source(error)
    })?;
    Ok((book, item.version))
}

fn write(
    unit: &mut Unit,
    tenant: &TenantId,
    id: &SubscriptionId,
    book: &Book,
    version: u64,
    facts: &[(u64, SubscriptionEvent)],
    trail: &Trail,
) {
    let body = serde_json::to_string(book).expect("a book is plain data");
    let mut item = Item::new(key(tenant, id), version + 1, body);
    item.index = book.is_exceeded().then(|| Key::new(EXCEEDED, format!("{tenant}#{id}")));
    unit.put(item, if version == 0 { Condition::Absent } else { Condition::Version(version) });
    for (sequence, fact) in facts {
        let what = if matches!(fact, SubscriptionEvent::QuotaExceeded(_)) { "exceeded" } else { "restored" };
        metrics::counter!("synapse_subscription_quotas_total", "what" => what).increment(1);
        unit.publish(tenant, *sequence, trail, fact);
    }
}

fn key(tenant: &TenantId, id: &SubscriptionId) -> Key {
    Key::new(format!("usage#{tenant}"), id.as_str())
}
