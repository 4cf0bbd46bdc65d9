//! Takes a body in that Stripe signed: durable first, then answered. Whatever it is, it is kept.

use std::hash::{BuildHasher, RandomState};

use bus::Trail;
use bytes::Bytes;
use contracts::{SubscriptionId, TenantId};
use outbox::Unit;
use store::{StoreError, StoreErrorKind};
use tokio::sync::{Mutex, MutexGuard};

use crate::Webhook;
use crate::event::Event;
use crate::judge::{Hint, Reason, State, Verdict, judge, same_content};
use crate::store::{Events, HEAD, Ledger, Record};

/// How often a fact's number is decided anew when another process keeps writing about the same subscription.
const MAX_DECISIONS: usize = 8;

/// What became of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is new, and stands so.
    Stored(State),
    /// It came before.
    Duplicate,
}

impl Outcome {
    /// A short stable word for metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stored(state) => state.name(),
            Self::Duplicate => "duplicate",
        }
    }
}

/// Takes a body in. When this returns without an error, it is durable.
pub(crate) async fn take_in(webhook: &Webhook, body: &Bytes, trail: &Trail) -> Result<Outcome, StoreError> {
    let record = Record::of_body(body, webhook.platform.clock.now_ms());
    let event = match Event::parse(body) {
        Ok(event) => event,
        Err(detail) => {
            tracing::warn!(%detail, bytes = body.len(), "Stripe signed a body that is no event; it is kept");
            return keep(webhook, record.set_aside(Reason::NotAnEvent, detail), body).await;
        }
    };
    let record = record.with_event(&event);
    notice_version(webhook, &event);
    match judge(&event, webhook.live) {
        Verdict::Publish(hint) => publish(webhook, record, body, *hint, trail).await,
        Verdict::Unassigned => keep(webhook, Record { state: State::Unassigned, ..record }, body).await,
        Verdict::Keep => keep(webhook, record, body).await,
        Verdict::Quarantine(reason, detail) => {
            tracing::warn!(event = event.id.as_str(), ?reason, %detail, "an event must not act; it is kept");
            keep(webhook, record.set_aside(reason, detail), body).await
        }
    }
}

/// Stores an event that nothing follows from.
async fn keep(webhook: &Webhook, record: Record, body: &Bytes) -> Result<Outcome, StoreError> {
    let mut unit = Unit::new();
    webhook.events.add(&mut unit, &record, body);
    match webhook.events.commit(unit).await {
        Ok(()) => Ok(Outcome::Stored(record.state)),
        Err(error) if error.conflict() == Some(HEAD) => repeated(webhook, record, body).await,
        Err(error) => Err(error),
    }
}

/// Stores an event together with the fact that follows from it.
async fn publish(
    webhook: &Webhook,
    record: Record,
    body: &Bytes,
    hint: Hint,
    trail: &Trail,
) -> Result<Outcome, StoreError> {
    let Hint { tenant, subscription_id, fact } = hint;
    let trail = Trail { causation_id: record.stripe_event_id.clone(), ..trail.clone() };
    let record = Record {
        state: State::Published,
        tenant: Some(tenant.clone()),
        subscription_id: Some(subscription_id.clone()),
        ..record
    };
    let _turn = webhook.turns.take(&tenant, &subscription_id).await;
    for _ in 0..MAX_DECISIONS {
        let before = webhook.events.ledger(&tenant, &subscription_id).await?;
        let now = Ledger { facts: before.ledger.facts + 1, ..before.ledger.clone() };
        let mut unit = Unit::new();
        webhook.events.add(&mut unit, &record, body);
        Events::write(&mut unit, &tenant, &subscription_id, &before, &now);
        unit.publish(&tenant, now.facts, &trail, &fact);
        match webhook.events.commit(unit).await {
            Ok(()) => return Ok(Outcome::Stored(State::Published)),
            Err(error) if error.conflict() == Some(HEAD) => return repeated(webhook, record, body).await,
            Err(error) if error.conflict().is_some() => {}
            Err(error) => return Err(error),
        }
    }
    let detail = format!("subscription {subscription_id} is being written by many at once");
    Err(StoreError::new(StoreErrorKind::Contended, detail))
}

/// An event whose id came before: the same once more, or another under its id.
async fn repeated(webhook: &Webhook, record: Record, body: &Bytes) -> Result<Outcome, StoreError> {
    let Some(id) = &record.stripe_event_id else { return Ok(Outcome::Duplicate) };
    if record.reason == Some(Reason::Conflict) {
        return Ok(Outcome::Duplicate);
    }
    let Some(first) = webhook.events.find(id).await? else {
        return Err(StoreError::new(StoreErrorKind::Contended, format!("event {id} expired while it came again")));
    };
    if first.sha256 == record.sha256 || same_content(&webhook.events.body(&first).await?, body) {
        return Ok(Outcome::Duplicate);
    }
    tracing::error!(event = %id, "another event came under the same id; it does not act and is kept");
    metrics::counter!("synapse_webhook_conflicts_total").increment(1);
    let detail = format!("stripe_event_id: another body came under {id} at {} (Unix ms)", first.received_ms);
    Box::pin(keep(webhook, record.set_aside(Reason::Conflict, detail), body)).await
}

fn notice_version(webhook: &Webhook, event: &Event<'_>) {
    let expected = webhook.config.expected_api_version.as_str();
    let version = event.api_version.as_ref().map(|version| version.as_str());
    // Thin events have none.
    if let Some(version) = version.filter(|version| !expected.is_empty() && *version != expected) {
        tracing::warn!(event = event.id.as_str(), version, expected, "an event has another API version");
        metrics::counter!("synapse_webhook_api_version_mismatches_total").increment(1);
    }
}

/// Lets the events of one subscription commit one after the other within this process: their facts are numbered, so of
/// those that commit at once only one could win.
pub(crate) struct Turns {
    hasher: RandomState,
    turns: [Mutex<()>; 64],
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::new(), turns: std::array::from_fn(|_| Mutex::default()) }
    }

    async fn take(&self, tenant: &TenantId, id: &SubscriptionId) -> MutexGuard<'_, ()> {
        let hash = self.hasher.hash_one((tenant, id));
        // Below 64, so it fits.
        let turn = usize::try_from(hash % self.turns.len() as u64).unwrap_or(0);
        self.turns[turn].lock().await
    }
}
