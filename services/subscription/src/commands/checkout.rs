use std::sync::Arc;

use bus::Asked;
use contracts::requests::subscription::{Checkout, CheckoutRefusal, CreateCheckoutV1};
use contracts::{Contract, SubscriptionId};
use outbox::Unit;
use service::Rejection;

use super::customer::{self, customer};
use super::{MAX_DECISIONS, Trouble, key_hash, rejection, violations, wish_hash};
use crate::store::{Operation, Records};
use crate::stripe::{NewCheckout, Session, StripeFailure, derived_key};
use crate::subscription::Reservation;
use crate::{Subscriptions, metadata, return_urls};

/// Most keys one page uses up; each but the first follows a failure that Stripe keeps replaying.
const MAX_ATTEMPTS: u32 = 5;

/// Opens a checkout page, once per Idempotency-Key. The subscription is reserved before; Stripe's news of what the
/// customer did there completes it.
pub(crate) async fn create_checkout(
    service: Arc<Subscriptions>,
    asked: Asked,
    ask: CreateCheckoutV1,
) -> Result<Checkout, Rejection<CheckoutRefusal>> {
    check(&service, &asked, &ask)?;
    let (tenant, user, hash) = (&asked.tenant, &ask.user_id, key_hash(&ask.idempotency_key));
    let wish = CreateCheckoutV1 { idempotency_key: String::new(), ..ask.clone() };
    let wish_hash = wish_hash(CreateCheckoutV1::KIND, &wish);
    let _turn = service.turns.take(format!("{tenant}#{user}#{hash}")).await;
    for _ in 0..MAX_DECISIONS {
        let Some(stored) = service.records.operation(tenant, user, &hash).await? else {
            reserve(&service, &asked, &ask, &hash, &wish_hash).await?;
            continue;
        };
        if stored.operation.hash != wish_hash {
            return Err(Rejection::Refused(CheckoutRefusal::IdempotencyMismatch));
        }
        if let Some(checkout) = stored.operation.checkout {
            return Ok(checkout);
        }
        let subscription_id = stored.operation.subscription_id.clone();
        let session = open(&service, &asked, &ask, &subscription_id).await?;
        let checkout = Checkout {
            subscription_id,
            stripe_checkout_session_id: session.id,
            url: session.url,
            expires_at_ms: session.expires_at_ms,
        };
        let operation = Operation { checkout: Some(checkout.clone()), ..stored.operation.clone() };
        let mut unit = Unit::new();
        Records::settle_key(&mut unit, tenant, user, &hash, &stored, &operation);
        if service.records.commit(unit).await? {
            tracing::info!(target: "audit", %tenant, %user, subscription = %checkout.subscription_id,
                session = checkout.stripe_checkout_session_id, correlation_id = asked.trail.correlation_id,
                "checkout opened");
            return Ok(checkout);
        }
    }
    Err(Rejection::busy("the page is being opened by many at once; try again with the same key"))
}

fn check(service: &Subscriptions, asked: &Asked, ask: &CreateCheckoutV1) -> Result<(), Rejection<CheckoutRefusal>> {
    if service.catalogue.plan_of_price(&asked.tenant, &ask.price_id).is_none() {
        let allowed = service.catalogue.price_ids(&asked.tenant);
        return Err(Rejection::Refused(CheckoutRefusal::UnknownPrice { allowed }));
    }
    let mut found = violations(&ask.idempotency_key, ask.email.as_deref());
    found.extend(metadata::violations(&ask.metadata));
    for (field, url) in [("success_url", &ask.success_url), ("cancel_url", &ask.cancel_url)] {
        found.extend(return_urls::violation(field, url, &service.config.return_urls));
    }
    if found.is_empty() { Ok(()) } else { Err(Rejection::Refused(CheckoutRefusal::Invalid { violations: found })) }
}

/// Writes down what is to be made. Somebody else may be faster: look again.
async fn reserve(
    service: &Subscriptions,
    asked: &Asked,
    ask: &CreateCheckoutV1,
    key_hash: &str,
    wish_hash: &str,
) -> Result<(), Rejection<CheckoutRefusal>> {
    let now_ms = service.platform.clock.now_ms();
    let id = service.platform.entropy.uuid_v7(now_ms).to_string();
    let subscription_id: SubscriptionId = id.parse().expect("a UUID is a valid id");
    let Some(plan) = service.catalogue.plan_of_price(&asked.tenant, &ask.price_id) else { return Ok(()) };
    let reservation = Reservation {
        subscription_id: subscription_id.clone(),
        user_id: ask.user_id.clone(),
        plan: plan.name.clone(),
        price_id: ask.price_id.clone(),
        payment_method_id: None,
        email: ask.email.clone(),
        metadata: ask.metadata.clone(),
        reserved_at_ms: now_ms,
        attempt: 1,
        by_checkout: true,
    };
    let operation = Operation { hash: wish_hash.to_owned(), subscription_id, checkout: None };
    let mut unit = Unit::new();
    let expires_at_ms = now_ms.saturating_add(service.config.operation_memory_ms());
    Records::reserve(&mut unit, &asked.tenant, key_hash, &operation, reservation, expires_at_ms);
    service.records.commit(unit).await?;
    Ok(())
}

async fn open(
    service: &Subscriptions,
    asked: &Asked,
    ask: &CreateCheckoutV1,
    id: &SubscriptionId,
) -> Result<Session, Rejection<CheckoutRefusal>> {
    let (tenant, user) = (&asked.tenant, &ask.user_id);
    let customer = customer(service, tenant, user, ask.email.as_deref()).await.map_err(|trouble| match trouble {
        Trouble::Stripe(failure) => refused(&failure),
        trouble => trouble.into(),
    })?;
    let plan = service.catalogue.plan_of_price(tenant, &ask.price_id).map_or("", |plan| plan.name.as_str());
    let new = NewCheckout {
        customer: &customer,
        price_id: &ask.price_id,
        success_url: &ask.success_url,
        cancel_url: &ask.cancel_url,
        reference: id.as_str(),
        metadata: metadata::at_stripe(tenant, id, user, plan, &ask.metadata),
    };
    for attempt in 1..=MAX_ATTEMPTS {
        let key = derived_key("checkout", &[tenant.as_str(), id.as_str(), &attempt.to_string()]);
        match service.stripe.create_checkout(&new, key).await {
            Ok(session) => return Ok(session),
            // A page that nobody was shown does no harm: another key.
            Err(failure) if failure.is_stuck() && attempt < MAX_ATTEMPTS => {}
            Err(failure) => return Err(rejection(&failure)),
        }
    }
    Err(Rejection::busy("the payment provider keeps failing; try again with the same key"))
}

fn refused(failure: &StripeFailure) -> Rejection<CheckoutRefusal> {
    match customer::violation(failure) {
        Some(violation) => Rejection::Refused(CheckoutRefusal::Invalid { violations: vec![violation] }),
        None => rejection(failure),
    }
}
