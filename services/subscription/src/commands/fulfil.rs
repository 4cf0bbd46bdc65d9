//! From a reservation to a subscription at Stripe.

use bus::Asked;
use contracts::requests::subscription::{CreateRefusal, PaymentStep};
use contracts::{SubscriptionId, TenantId};
use outbox::Unit;
use service::Rejection;

use super::customer::{self, customer};
use super::{Trouble, refresh, rejection};
use crate::Subscriptions;
use crate::metadata;
use crate::store::{Record, Records, Stored};
use crate::stripe::{Class, NewSubscription, StripeFailure, SubscriptionObject, derived_key};
use crate::subscription::{Reservation, Subscription};

/// Stripe keeps idempotency keys for at least 24 hours. Older reservations are looked for before they are made.
const KEYS_ARE_FRESH_MS: u64 = 20 * 60 * 60 * 1_000;

/// Most keys one reservation uses up; each but the first follows a failure that Stripe keeps replaying.
const MAX_ATTEMPTS: u32 = 5;

/// What came of it: the subscription, and what is to be done where its payment waits.
pub(super) type Made = (Subscription, Option<PaymentStep>);

/// Makes the reserved subscription, or finds what an earlier try made. `None` when the record was changed meanwhile.
pub(super) async fn fulfil(
    service: &Subscriptions,
    asked: &Asked,
    id: &SubscriptionId,
    stored: Stored,
    reservation: Reservation,
    is_new: bool,
) -> Result<Option<Made>, Rejection<CreateRefusal>> {
    let tenant = &asked.tenant;
    let customer = match customer(service, tenant, &reservation.user_id, reservation.email.as_deref()).await {
        Ok(customer) => customer,
        Err(Trouble::Stripe(failure)) => return refuse(service, tenant, id, &stored, failure).await,
        Err(trouble) => return Err(trouble.into()),
    };
    let now_ms = service.platform.clock.now_ms();
    let is_old = now_ms.saturating_sub(reservation.reserved_at_ms) > KEYS_ARE_FRESH_MS;
    if !is_new && is_old {
        let found =
            service.stripe.find_subscription(&customer, tenant, id).await.map_err(|failure| rejection(&failure))?;
        if let Some(object) = found {
            return commit(service, asked, &stored, reservation, &object).await;
        }
    }
    match make(service, tenant, id, &reservation, &customer).await {
        Ok(object) => commit(service, asked, &stored, reservation, &object).await,
        Err(failure) if failure.is_stuck() => {
            // Whether or not Stripe made it, this key would say the same for a day: look for it first.
            tracing::warn!(subscription = %id, %failure, "Stripe keeps a failure under its key; looking what it made");
            let found =
                service.stripe.find_subscription(&customer, tenant, id).await.map_err(|failure| rejection(&failure))?;
            match found {
                Some(object) => commit(service, asked, &stored, reservation, &object).await,
                None => next_key(service, tenant, id, &stored, reservation, &failure).await,
            }
        }
        Err(failure) => refuse(service, tenant, id, &stored, failure).await,
    }
}

/// Frees the way for another key; the caller then decides anew.
async fn next_key(
    service: &Subscriptions,
    tenant: &TenantId,
    id: &SubscriptionId,
    stored: &Stored,
    reservation: Reservation,
    failure: &StripeFailure,
) -> Result<Option<Made>, Rejection<CreateRefusal>> {
    if reservation.attempt >= MAX_ATTEMPTS {
        return Err(rejection(failure));
    }
    let next = Record::Reserved(Reservation { attempt: reservation.attempt + 1, ..reservation });
    let mut unit = Unit::new();
    Records::update(&mut unit, tenant, id, stored, &next, None);
    service.records.commit(unit).await?;
    Ok(None)
}

async fn commit(
    service: &Subscriptions,
    asked: &Asked,
    stored: &Stored,
    reservation: Reservation,
    object: &SubscriptionObject,
) -> Result<Option<Made>, Rejection<CreateRefusal>> {
    let rules = refresh::rules(service, &asked.tenant);
    let change = reservation.fulfil(object, service.platform.clock.now_ms(), rules);
    let mut unit = Unit::new();
    let subscription = refresh::publish(&mut unit, &asked.tenant, &asked.trail, stored, change);
    Ok(service.records.commit(unit).await?.then(|| (subscription, object.payment.clone())))
}

/// A card that was refused is remembered, so that the same key gets the same answer; all else may be tried again.
async fn refuse(
    service: &Subscriptions,
    tenant: &TenantId,
    id: &SubscriptionId,
    stored: &Stored,
    failure: StripeFailure,
) -> Result<Option<Made>, Rejection<CreateRefusal>> {
    if let Some(violation) = violation(&failure) {
        return Err(Rejection::Refused(CreateRefusal::Invalid { violations: vec![violation] }));
    }
    if failure.class != Class::Card {
        return Err(rejection(&failure));
    }
    let code = failure.code.as_deref().unwrap_or("card_error");
    let message = format!("{} ({code}); use another payment method with a new Idempotency-Key", failure.message);
    let mut unit = Unit::new();
    let expires_at_ms = service.platform.clock.now_ms().saturating_add(service.config.operation_memory_ms());
    let refused = Record::Refused { message: message.clone() };
    Records::update(&mut unit, tenant, id, stored, &refused, Some(expires_at_ms));
    if !service.records.commit(unit).await? {
        return Ok(None);
    }
    Err(Rejection::Refused(CreateRefusal::PaymentFailed { message }))
}

/// What Stripe refuses about the caller's own words, `field: rule`.
fn violation(failure: &StripeFailure) -> Option<String> {
    let is_about_card = matches!(failure.class, Class::Invalid | Class::NotFound)
        && failure.code.as_deref() == Some("resource_missing")
        && failure.message.to_ascii_lowercase().contains("paymentmethod");
    if is_about_card {
        return Some(format!("payment_method_id: {}", failure.message));
    }
    customer::violation(failure)
}

async fn make(
    service: &Subscriptions,
    tenant: &TenantId,
    id: &SubscriptionId,
    reservation: &Reservation,
    customer: &str,
) -> Result<SubscriptionObject, StripeFailure> {
    let attempt = reservation.attempt.to_string();
    let key = |name: &str| derived_key(name, &[tenant.as_str(), id.as_str(), &attempt]);
    let payment_method = match &reservation.payment_method_id {
        Some(payment_method) => {
            Some(service.stripe.attach_payment_method(payment_method, customer, key("attach")).await?)
        }
        None => None,
    };
    let new = NewSubscription {
        customer,
        price_id: &reservation.price_id,
        payment_method: payment_method.as_deref(),
        metadata: metadata::at_stripe(tenant, id, &reservation.user_id, &reservation.plan, &reservation.metadata),
        may_wait: false,
    };
    match service.stripe.create_subscription(new.clone(), key("subscription")).await {
        // Nothing was made. Now one that waits for the payer is wanted: a refused card would have left one behind too.
        Err(failure) if failure.wants_action() => {
            let new = NewSubscription { may_wait: true, ..new };
            service.stripe.create_subscription(new, key("subscription-waiting")).await
        }
        made => made,
    }
}
