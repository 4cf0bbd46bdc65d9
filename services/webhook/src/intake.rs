//! Takes a body in that Stripe signed: durable first, then answered. Whatever it is, it is kept.
//!
//! Claim and completion are one commit: the event, what it means and the facts that follow from it become durable
//! together or not at all. So an event that is known is done, and a crash leaves either nothing (Stripe sends it again) or
//! all of it (the relay publishes what waits).

use std::hash::{BuildHasher, RandomState};

use bus::Trail;
use bytes::Bytes;
use contracts::events::webhook::WebhookEvent;
use contracts::{Fact, TenantId};
use outbox::Unit;
use store::{StoreError, StoreErrorKind};
use tokio::sync::{Mutex, MutexGuard};

use crate::Webhook;
use crate::endpoint::Endpoint;
use crate::event::Event;
use crate::judge::{Reason, State, Verdict, Whose, aggregate, facts, judge, named, same_content};
use crate::object::News;
use crate::record::{Published, Record, fact_id};
use crate::store::{Events, HEAD, Ledger, Links, Owner, StoredLedger};

/// How often a fact's number is decided anew when another process keeps writing about the same subscription.
pub(crate) const MAX_DECISIONS: usize = 8;

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

/// What is to be published from an event.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    pub(crate) whose: Whose,
    /// What its facts are numbered by.
    pub(crate) aggregate: String,
    pub(crate) facts: Vec<WebhookEvent>,
    pub(crate) links: Links,
}

/// Takes a body in. When this returns without an error, it is durable.
pub(crate) async fn take_in(
    webhook: &Webhook,
    endpoint: &Endpoint,
    body: &Bytes,
    trail: &Trail,
) -> Result<Outcome, StoreError> {
    let record = Record::of_body(body, &endpoint.name, webhook.platform.clock.now_ms());
    let (record, announcement) = assess(webhook, endpoint, record, body).await?;
    let unexpected = record.unexpected_version;
    let outcome = match announcement {
        Some(announcement) => publish(webhook, record, body, announcement, trail).await?,
        None => keep(webhook, record, body).await?,
    };
    if unexpected && outcome != Outcome::Duplicate {
        metrics::counter!("synapse_webhook_api_version_mismatches_total").increment(1);
    }
    Ok(outcome)
}

/// What a body is, and what is to be published from it.
pub(crate) async fn assess(
    webhook: &Webhook,
    endpoint: &Endpoint,
    record: Record,
    body: &[u8],
) -> Result<(Record, Option<Announcement>), StoreError> {
    let event = match Event::parse(body) {
        Ok(event) => event,
        Err(detail) => {
            tracing::warn!(%detail, bytes = body.len(), "Stripe signed a body that is no event; it is kept");
            return Ok((record.set_aside(Reason::NotAnEvent, detail), None));
        }
    };
    let mut record = record.with_event(&event);
    if let Some((version, expected)) = endpoint.other_version(&event) {
        tracing::warn!(event = event.id.as_str(), version, expected, "an event has another API version");
        record.unexpected_version = true;
    }
    match judge(&event, endpoint) {
        Verdict::Tell(news) => {
            record.customer = news.stripe_customer_id.clone().or(record.customer);
            record.stripe_subscription_id = news.stripe_subscription_id.clone().or(record.stripe_subscription_id);
            let announcement = announce(webhook, &event, &news).await?;
            let state = if announcement.is_some() { State::Published } else { State::Unassigned };
            Ok((Record { state, ..record }, announcement))
        }
        Verdict::Keep => Ok((record, None)),
        Verdict::Quarantine(reason, detail) => {
            tracing::warn!(event = event.id.as_str(), ?reason, %detail, "an event must not act; it is kept");
            Ok((record.set_aside(reason, detail), None))
        }
    }
}

/// Whom news is for, by the object's own metadata or else by what earlier events told of it.
async fn announce(webhook: &Webhook, event: &Event<'_>, news: &News) -> Result<Option<Announcement>, StoreError> {
    let whose = match named(news, &webhook.installation) {
        Some(whose) => Some(whose),
        None => owner(&webhook.events, news).await?,
    };
    let Some(whose) = whose else { return Ok(None) };
    let facts = facts(event, news, &whose);
    let Some(aggregate) = aggregate(&facts) else { return Ok(None) };
    let links = Links { subscription: news.stripe_subscription_id.clone(), customer: news.stripe_customer_id.clone() };
    Ok(Some(Announcement { whose, aggregate, facts, links }))
}

async fn owner(events: &Events, news: &News) -> Result<Option<Whose>, StoreError> {
    if let Some(id) = &news.stripe_subscription_id {
        let owner = events.owner(id).await?;
        return Ok(owner.and_then(|owner| Some(Whose::Subscription(owner.tenant, owner.subscription_id?))));
    }
    let Some(id) = &news.stripe_customer_id else { return Ok(None) };
    Ok(events.owner(id).await?.map(|owner| Whose::Customer(owner.tenant)))
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

/// Stores an event together with the facts that follow from it.
async fn publish(
    webhook: &Webhook,
    record: Record,
    body: &Bytes,
    announcement: Announcement,
    trail: &Trail,
) -> Result<Outcome, StoreError> {
    let trail = Trail { causation_id: record.stripe_event_id.clone(), ..trail.clone() };
    let turn = webhook.turns.take(announcement.whose.tenant(), &announcement.aggregate).await;
    for _ in 0..MAX_DECISIONS {
        let numbered = match Numbered::decide(&webhook.events, &announcement, &record, "").await? {
            Ok(numbered) => numbered,
            Err(detail) => {
                drop(turn);
                let event = record.stripe_event_id.as_deref();
                tracing::error!(event, %detail, "an event names another owner than before; it does not act and is kept");
                return keep(webhook, record.set_aside(Reason::OwnerChanged, detail), body).await;
            }
        };
        let record = record.clone().publish(&announcement.whose, numbered.published.clone());
        let mut unit = Unit::new();
        webhook.events.add(&mut unit, &record, body);
        numbered.write(&mut unit, &announcement, &trail);
        match webhook.events.commit(unit).await {
            Ok(()) => return Ok(Outcome::Stored(State::Published)),
            Err(error) if error.conflict() == Some(HEAD) => return repeated(webhook, record, body).await,
            Err(error) if error.conflict().is_some() => {}
            Err(error) => return Err(error),
        }
    }
    Err(contended(&announcement))
}

pub(crate) fn contended(announcement: &Announcement) -> StoreError {
    let detail = format!("{} is being written by many at once", announcement.aggregate);
    StoreError::new(StoreErrorKind::Contended, detail)
}

/// Facts with their numbers, and what has to be written with them.
pub(crate) struct Numbered {
    before: StoredLedger,
    now: Ledger,
    /// Stripe objects whose owner was not known.
    new_links: Vec<String>,
    pub(crate) published: Vec<Published>,
}

impl Numbered {
    /// Numbers the facts of an announcement. The inner error says why they must not be published: the objects belonged
    /// to somebody else before.
    pub(crate) async fn decide(
        events: &Events,
        announcement: &Announcement,
        record: &Record,
        replay: &str,
    ) -> Result<Result<Self, String>, StoreError> {
        let (whose, tenant) = (&announcement.whose, announcement.whose.tenant());
        let before = events.ledger(tenant, &announcement.aggregate).await?;
        let mut new_links = Vec::new();
        for stripe_id in before.ledger.links.new_in(&announcement.links) {
            match events.owner(&stripe_id).await? {
                None => new_links.push(stripe_id),
                Some(owner) if owner == Owner::of(whose, &stripe_id) => {}
                Some(owner) => {
                    let detail = format!("{stripe_id}: it belonged to tenant {} before, not to {tenant}", owner.tenant);
                    return Ok(Err(match owner.subscription_id {
                        Some(id) if owner.tenant == *tenant => format!("{stripe_id}: it belonged to {id} before"),
                        _ => detail,
                    }));
                }
            }
        }
        let id = record.stripe_event_id.as_deref().unwrap_or(&record.sha256);
        let numbers = before.ledger.facts + 1..;
        let published = announcement.facts.iter().zip(numbers);
        let published: Vec<_> = published
            .map(|(fact, number)| Published::new(fact_id(id, fact.kind(), replay), tenant, number, fact))
            .collect();
        let links = before.ledger.links.clone().with(&announcement.links);
        let facts = before.ledger.facts + published.len() as u64;
        let now = Ledger { facts, links, ..before.ledger.clone() };
        Ok(Ok(Self { before, now, new_links, published }))
    }

    /// Adds ledger, owners and facts to a unit.
    pub(crate) fn write(&self, unit: &mut Unit, announcement: &Announcement, trail: &Trail) {
        let tenant = announcement.whose.tenant();
        Events::write(unit, tenant, &announcement.aggregate, &self.before, &self.now);
        for stripe_id in &self.new_links {
            Events::own(unit, stripe_id, &Owner::of(&announcement.whose, stripe_id));
        }
        for (fact, published) in announcement.facts.iter().zip(&self.published) {
            unit.publish_as(published.event_id.clone(), tenant, published.sequence, trail, fact);
        }
    }
}

/// An event whose id came before: the same once more, or another under its id.
async fn repeated(webhook: &Webhook, record: Record, body: &Bytes) -> Result<Outcome, StoreError> {
    let first = webhook.events.head(record.partition()).await?;
    let Some(first) = first else {
        let detail = format!("event {} expired while it came again", record.name());
        return Err(StoreError::new(StoreErrorKind::Contended, detail));
    };
    let same = first.record.sha256 == record.sha256 || same_content(&webhook.events.body(&first.record).await?, body);
    if same {
        // How often it came is for operators; the event itself is durable, so Stripe is told so in any case.
        if let Err(error) = webhook.events.note_repeat(&first.record).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a repeated delivery was not counted");
        }
        return Ok(Outcome::Duplicate);
    }
    let id = record.name().to_owned();
    tracing::error!(event = %id, "another event came under the same id; it does not act and is kept");
    let detail = format!("id: another body came under {id} at {} (Unix ms)", first.record.received_ms);
    let outcome =
        Box::pin(keep(webhook, Record { published: Vec::new(), ..record }.set_aside(Reason::Conflict, detail), body))
            .await?;
    if outcome == Outcome::Stored(State::Conflict) {
        metrics::counter!("synapse_webhook_conflicts_total").increment(1);
    }
    Ok(outcome)
}

/// Lets the events of one aggregate commit one after the other within this process: their facts are numbered, so of
/// those that commit at once only one could win.
pub(crate) struct Turns {
    hasher: RandomState,
    turns: [Mutex<()>; 256],
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::new(), turns: std::array::from_fn(|_| Mutex::default()) }
    }

    pub(crate) async fn take(&self, tenant: &TenantId, aggregate: &str) -> MutexGuard<'_, ()> {
        let hash = self.hasher.hash_one((tenant, aggregate));
        // Below their number, so it fits.
        let turn = usize::try_from(hash % self.turns.len() as u64).unwrap_or(0);
        self.turns[turn].lock().await
    }
}
