//! The identity map: a user of a tenant has one customer at Stripe, and a customer one user.

use std::collections::BTreeMap;

use contracts::events::webhook::StripeCustomerChangedV1;
use contracts::{TenantId, UserId};
use outbox::Failure;

use super::{MAX_DECISIONS, Trouble, refresh};
use crate::Subscriptions;
use crate::metadata::{TENANT, USER};
use crate::store::{Customer, Owner, StoredCustomer};
use crate::stripe::{Class, StripeFailure, derived_key};

/// Stripe keeps idempotency keys for at least 24 hours. After that a customer is looked for before it is made.
const KEYS_ARE_FRESH_MS: u64 = 20 * 60 * 60 * 1_000;

/// The user's customer at Stripe; made once, then reused. What is to be made is written down first, so that whoever
/// races for it, or comes after a crash, asks Stripe for the same under the same key.
pub(super) async fn customer(
    service: &Subscriptions,
    tenant: &TenantId,
    user: &UserId,
    email: Option<&str>,
) -> Result<String, Trouble> {
    let owner = Owner { tenant: tenant.clone(), user: user.clone() };
    for _ in 0..MAX_DECISIONS {
        let Some(stored) = service.records.customer(tenant, user).await? else {
            let since_ms = service.platform.clock.now_ms();
            let making = Customer::Making { email: email.map(str::to_owned), attempt: 1, since_ms };
            service.records.put_customer(&owner, None, &making).await?;
            continue;
        };
        let next = match &stored.customer {
            Customer::Known { stripe_customer_id } => return Ok(stripe_customer_id.clone()),
            Customer::Making { email, attempt, since_ms } => {
                make(service, &owner, &stored, email.as_deref(), *attempt, *since_ms).await?
            }
        };
        service.records.put_customer(&owner, Some(&stored), &next).await?;
    }
    Err(Trouble::Contended)
}

/// What is known of the customer after Stripe was asked.
async fn make(
    service: &Subscriptions,
    owner: &Owner,
    stored: &StoredCustomer,
    email: Option<&str>,
    attempt: u32,
    since_ms: u64,
) -> Result<Customer, Trouble> {
    let (tenant, user) = (&owner.tenant, &owner.user);
    let known = |id: String| Customer::Known { stripe_customer_id: id };
    if service.platform.clock.now_ms().saturating_sub(since_ms) > KEYS_ARE_FRESH_MS
        && let Some(found) = service.stripe.find_customer(tenant, user, email).await?
    {
        return Ok(known(found));
    }
    let pairs = [(TENANT, tenant.to_string()), (USER, user.to_string())];
    let metadata: BTreeMap<_, _> = pairs.map(|(key, value)| (key.to_owned(), value)).into();
    let key = derived_key("customer", &[tenant.as_str(), user.as_str(), &attempt.to_string(), &since_ms.to_string()]);
    match service.stripe.create_customer(email, metadata, key).await {
        Ok(id) => Ok(known(id)),
        Err(failure) if failure.is_stuck() => {
            // Whether or not Stripe made it, this key would say the same for a day: look for it first.
            let email = email.map(str::to_owned);
            let found = service.stripe.find_customer(tenant, user, email.as_deref()).await?;
            Ok(found.map_or(Customer::Making { email, attempt: attempt + 1, since_ms }, known))
        }
        Err(failure) => {
            if failure.class == Class::Invalid {
                // A bad address must not stay in the way of a better one.
                service.records.forget_customer(owner, stored).await?;
            }
            Err(failure.into())
        }
    }
}

/// What Stripe refuses about the customer's own words, `field: rule`.
pub(super) fn violation(failure: &StripeFailure) -> Option<String> {
    let is_about_email = failure.class == Class::Invalid && failure.message.starts_with("email: ");
    is_about_email.then(|| failure.message.clone())
}

/// Stripe announced that a customer was deleted: the next purchase makes a new one. Its subscriptions are announced
/// by themselves.
pub(crate) async fn on_hint(service: &Subscriptions, hint: &StripeCustomerChangedV1) -> Result<(), Failure> {
    if !hint.deleted {
        return Ok(());
    }
    let store = |error: store::StoreError| Failure::from(error);
    let Some(owner) = service.records.owner(&hint.stripe_customer_id).await.map_err(store)? else { return Ok(()) };
    let Some(stored) = service.records.customer(&owner.tenant, &owner.user).await.map_err(store)? else {
        return Ok(());
    };
    let gone = service.stripe.is_customer_gone(&hint.stripe_customer_id).await;
    if gone.map_err(|failure| refresh::later(&failure))? {
        let is_it = matches!(&stored.customer,
            Customer::Known { stripe_customer_id } if *stripe_customer_id == hint.stripe_customer_id);
        if is_it && service.records.forget_customer(&owner, &stored).await.map_err(store)? {
            tracing::info!(target: "audit", tenant = %owner.tenant, user = %owner.user,
                customer = hint.stripe_customer_id, "the customer was deleted at Stripe and is forgotten");
        }
    }
    Ok(())
}
