//! From a reservation to a subscription at Stripe.

use std::collections::BTreeMap;

use bus::Asked;
use contracts::requests::subscription::CreateRefusal;
use contracts::{SubscriptionId, TenantId, UserId};
use outbox::Unit;
use service::Rejection;

use super::{refresh, rejection};
use crate::Subscriptions;
use crate::metadata::{self, TENANT, USER};
use crate::store::{Record, Records, Stored};
use crate::stripe::{Class, NewSubscription, StripeFailure, SubscriptionObject, derived_key};
use crate::subscription::{Reservation, Subscription};

/// Stripe keeps idempotency keys for at least 24 hours. Older reservations are looked for before they are made.
const KEYS_ARE_FRESH_MS: u64 = 20 * 60 * 60 * 1_000;

/// Most keys one reservation uses up; each but the first follows a failure that Stripe keeps replaying.
const MAX_ATTEMPTS: u32 = 5;

/// Makes the reserved subscription, or finds what an earlier try made. `None` when the record was changed meanwhile.
pub(super) async fn fulfil(
    service: &Subscriptions,
    asked: &Asked,
    id: &SubscriptionId,
    stored: Stored,
    reservation: Reservation,
    is_new: bool,
) -> Result<Option<Subscription>, Rejection<CreateRefusal>> {
    let tenant = &asked.tenant;
    let customer = match customer(service, tenant, &reservation).await {
        Ok(customer) => customer,
        Err(Trouble::Stripe(failure)) if is_stuck(&failure) => {
            return next_key(service, tenant, id, &stored, reservation, &failure).await;
        }
        Err(Trouble::Stripe(failure)) => return refuse(service, tenant, id, &stored, failure).await,
        Err(Trouble::Rejected(rejection)) => return Err(rejection),
    };
    let now_ms = service.platform.clock.now_ms();
    let is_old = now_ms.saturating_sub(reservation.reserved_at_ms) > KEYS_ARE_FRESH_MS;
    if !is_new && is_old {
        let found = service.stripe.find_subscription(&customer, id).await.map_err(|failure| rejection(&failure))?;
        if let Some(object) = found {
            return commit(service, asked, &stored, reservation, &object).await;
        }
    }
    match make(service, tenant, id, &reservation, &customer).await {
        Ok(object) => commit(service, asked, &stored, reservation, &object).await,
        Err(failure) if is_stuck(&failure) => {
            // Whether or not Stripe made it, this key would say the same for a day: look for it first.
            tracing::warn!(subscription = %id, %failure, "Stripe keeps a failure under its key; looking what it made");
            let found = service.stripe.find_subscription(&customer, id).await.map_err(|failure| rejection(&failure))?;
            match found {
                Some(object) => commit(service, asked, &stored, reservation, &object).await,
                None => next_key(service, tenant, id, &stored, reservation, &failure).await,
            }
        }
        Err(failure) => refuse(service, tenant, id, &stored, failure).await,
    }
}

/// Whether asking again under the same key can't help: Stripe replays its own trouble for 24 hours, or knows the key with
/// other parameters.
fn is_stuck(failure: &StripeFailure) -> bool {
    failure.class == Class::Mismatch || failure.is_replay && failure.class == Class::Server
}

/// Frees the way for another key; the caller then decides anew.
async fn next_key(
    service: &Subscriptions,
    tenant: &TenantId,
    id: &SubscriptionId,
    stored: &Stored,
    reservation: Reservation,
    failure: &StripeFailure,
) -> Result<Option<Subscription>, Rejection<CreateRefusal>> {
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
) -> Result<Option<Subscription>, Rejection<CreateRefusal>> {
    let change = reservation.fulfil(object, service.platform.clock.now_ms());
    let mut unit = Unit::new();
    let subscription = refresh::publish(&mut unit, &asked.tenant, &asked.trail, stored, change);
    Ok(service.records.commit(unit).await?.then_some(subscription))
}

/// A card that was refused is remembered, so that the same key gets the same answer; all else may be tried again.
async fn refuse(
    service: &Subscriptions,
    tenant: &TenantId,
    id: &SubscriptionId,
    stored: &Stored,
    failure: StripeFailure,
) -> Result<Option<Subscription>, Rejection<CreateRefusal>> {
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

enum Trouble {
    Stripe(StripeFailure),
    Rejected(Rejection<CreateRefusal>),
}

/// The user's customer at Stripe; made once, then reused.
async fn customer(service: &Subscriptions, tenant: &TenantId, reservation: &Reservation) -> Result<String, Trouble> {
    let user = &reservation.user_id;
    let known = async || service.records.customer(tenant, user).await.map_err(|error| Trouble::Rejected(error.into()));
    if let Some(customer) = known().await? {
        return Ok(customer);
    }
    let email = reservation.email.as_deref();
    // The address is part of the key: Stripe refuses one key with two addresses.
    let attempt = reservation.attempt.to_string();
    let key = derived_key("customer", &[tenant.as_str(), user.as_str(), email.unwrap_or_default(), &attempt]);
    let customer = service.stripe.create_customer(email, owner(tenant, user), key).await.map_err(Trouble::Stripe)?;
    let remembered = service.records.remember_customer(tenant, user, &customer).await;
    if remembered.map_err(|error| Trouble::Rejected(error.into()))? {
        return Ok(customer);
    }
    // Another create of this user was faster; its customer counts.
    known().await.map(|known| known.unwrap_or(customer))
}

fn owner(tenant: &TenantId, user: &UserId) -> BTreeMap<String, String> {
    BTreeMap::from([(TENANT.to_owned(), tenant.to_string()), (USER.to_owned(), user.to_string())])
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
    };
    service.stripe.create_subscription(new, key("subscription")).await
}
