use bus::Trail;
use contracts::{SubscriptionId, TenantId};
use outbox::{Failure, Unit};

use super::{MAX_DECISIONS, RETRY_AFTER, Trouble};
use crate::status::StripeStatus;
use crate::store::{Record, Records, Stored};
use crate::stripe::{Class, StripeFailure, SubscriptionObject};
use crate::subscription::{Change, Reservation, Rules, Subscription};
use crate::{Subscriptions, revocations};

/// Brings a live subscription up to date; `None` when it is not live.
pub(crate) async fn refresh(
    service: &Subscriptions,
    tenant: &TenantId,
    id: &SubscriptionId,
    trail: &Trail,
) -> Result<Option<Subscription>, Trouble> {
    for _ in 0..MAX_DECISIONS {
        let Some((subscription, stored)) = service.records.find_live(tenant, id).await? else { return Ok(None) };
        let object = service.stripe.fetch_subscription(&subscription.stripe_subscription_id).await?;
        let mut unit = Unit::new();
        let fresh = apply(service, &mut unit, tenant, trail, &stored, subscription, &object);
        if service.records.commit(unit).await? {
            return Ok(Some(fresh));
        }
    }
    Err(Trouble::Contended)
}

/// What Stripe announced of a subscription, in whichever event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hint<'a> {
    pub(crate) subscription_id: &'a SubscriptionId,
    pub(crate) stripe_subscription_id: &'a str,
    pub(crate) stripe_event_id: &'a str,
    /// The status that the announcement carried.
    pub(crate) status: Option<&'a str>,
}

/// Stripe announced a change: reads what is true now and adds it to `unit`. The announcement itself decides nothing.
pub(crate) async fn on_hint(
    service: &Subscriptions,
    tenant: &TenantId,
    hint: Hint<'_>,
    trail: &Trail,
    unit: &mut Unit,
) -> Result<(), Failure> {
    // Loaded before Stripe is asked: a slower look then meets a newer version and is thrown away.
    let Some(stored) = service.records.find(tenant, hint.subscription_id).await? else {
        tracing::warn!(subscription = %hint.subscription_id, event = hint.stripe_event_id, "a hint about nothing of ours");
        return Ok(());
    };
    match stored.record.clone() {
        Record::Live(subscription) => {
            let object = fetch(service, &subscription.stripe_subscription_id).await?;
            let subscription = audit(subscription, hint.status, &object, unit, tenant, trail);
            apply(service, unit, tenant, trail, &stored, subscription, &object);
        }
        Record::Reserved(reservation) => {
            let object = fetch(service, hint.stripe_subscription_id).await?;
            adopt(service, tenant, &stored, reservation, &object, trail, unit)?;
        }
        Record::Refused { .. } => {
            tracing::error!(subscription = %hint.subscription_id, stripe = hint.stripe_subscription_id,
                "Stripe has a subscription that was refused here; cancel it there");
        }
    }
    Ok(())
}

async fn fetch(service: &Subscriptions, id: &str) -> Result<SubscriptionObject, Failure> {
    service.stripe.fetch_subscription(id).await.map_err(|failure| later(&failure))
}

/// What a consumer does about a failure at Stripe.
pub(crate) fn later(failure: &StripeFailure) -> Failure {
    match failure.class {
        Class::NotSent | Class::RateLimited => {
            Failure::Throttled(failure.retry_after.unwrap_or(RETRY_AFTER), failure.to_string())
        }
        // A wrong key is mended by the operator: the hint waits.
        class if class.is_retryable() || class == Class::Unauthorized => Failure::Transient(failure.to_string()),
        _ => Failure::Permanent(failure.to_string()),
    }
}

/// A hint that the machine does not lead to, and that is not true either, is told.
fn audit(
    subscription: Subscription,
    hinted: Option<&str>,
    object: &SubscriptionObject,
    unit: &mut Unit,
    tenant: &TenantId,
    trail: &Trail,
) -> Subscription {
    let hinted = hinted.map(StripeStatus::new).filter(|hinted| *hinted != object.status);
    let rejected = hinted.and_then(|hinted| subscription.clone().reject_hint(&hinted));
    let Some(Change { subscription, facts, .. }) = rejected else { return subscription };
    for (sequence, fact) in &facts {
        unit.publish(tenant, *sequence, trail, fact);
    }
    subscription
}

/// What the configuration says to what Stripe said.
pub(super) fn rules<'a>(service: &'a Subscriptions, tenant: &'a TenantId) -> Rules<'a> {
    Rules { catalogue: &service.catalogue, tenant, proof_ttl_ms: service.config.proofs.ttl_ms }
}

/// What a fetched object makes of a subscription.
pub(super) fn seen(
    service: &Subscriptions,
    tenant: &TenantId,
    subscription: Subscription,
    object: &SubscriptionObject,
) -> Change {
    let change = subscription.apply_fetched(object, service.platform.clock.now_ms(), rules(service, tenant));
    if let Some((from, to)) = &change.surprise {
        tracing::info!(subscription = %change.subscription.subscription_id, from = from.as_str(), to = to.as_str(),
            "Stripe went a way the status machine does not have; Stripe's word counts");
    }
    change
}

/// Adds what a fetched object makes of a subscription to `unit`. It is written even when nothing changed (`store.rs`).
pub(crate) fn apply(
    service: &Subscriptions,
    unit: &mut Unit,
    tenant: &TenantId,
    trail: &Trail,
    stored: &Stored,
    subscription: Subscription,
    object: &SubscriptionObject,
) -> Subscription {
    let change = seen(service, tenant, subscription, object);
    publish(unit, tenant, trail, stored, change)
}

/// The creation was cut off between Stripe and our commit, and Stripe's news is faster than the caller's next try.
pub(crate) fn adopt(
    service: &Subscriptions,
    tenant: &TenantId,
    stored: &Stored,
    reservation: Reservation,
    object: &SubscriptionObject,
    trail: &Trail,
    unit: &mut Unit,
) -> Result<(), Failure> {
    if !object.is_ours(tenant, &reservation.subscription_id) {
        return Err(Failure::Permanent(format!("{} at Stripe is not {}", object.id, reservation.subscription_id)));
    }
    if object.livemode != service.catalogue.is_live() {
        return Err(Failure::Permanent(format!("{} is of Stripe's other mode", object.id)));
    }
    let change = reservation.fulfil(object, service.platform.clock.now_ms(), rules(service, tenant));
    publish(unit, tenant, trail, stored, change);
    Ok(())
}

/// Adds a change's state and facts to `unit`.
pub(super) fn publish(
    unit: &mut Unit,
    tenant: &TenantId,
    trail: &Trail,
    stored: &Stored,
    change: Change,
) -> Subscription {
    let Change { subscription, facts, .. } = change;
    let record = Record::Live(subscription.clone());
    Records::update(unit, tenant, &subscription.subscription_id, stored, &record, None);
    for (sequence, fact) in &facts {
        revocations::note(unit, fact);
        unit.publish(tenant, *sequence, trail, fact);
    }
    subscription
}
