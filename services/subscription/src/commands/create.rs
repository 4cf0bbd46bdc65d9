use std::sync::Arc;

use bus::Asked;
use contracts::events::subscription::Status;
use contracts::requests::subscription::{CreateRefusal, CreateV1, PaymentStep, SubscriptionView};
use contracts::{Contract, SubscriptionId};
use outbox::Unit;
use service::Rejection;

use super::{MAX_DECISIONS, fulfil, key_hash, refresh, rejection, violations, wish_hash};
use crate::Subscriptions;
use crate::metadata;
use crate::store::{Operation, Record, Records, Stored};
use crate::stripe::is_id;
use crate::subscription::{Reservation, Subscription};

/// Creates a subscription at Stripe, once per Idempotency-Key: what is to be made is reserved in our store first, under
/// an id that Stripe's own idempotency keys follow from. Whoever comes again, even after a crash, takes it up there.
pub(crate) async fn create(
    service: Arc<Subscriptions>,
    asked: Asked,
    ask: CreateV1,
) -> Result<SubscriptionView, Rejection<CreateRefusal>> {
    check(&service, &asked, &ask)?;
    service.note_tenant(&asked.tenant).await?;
    let key_hash = key_hash(&ask.idempotency_key);
    let _turn = service.turns.take(format!("{}#{}#{key_hash}", asked.tenant, ask.user_id)).await;
    for _ in 0..MAX_DECISIONS {
        let Some((id, stored, is_new)) = reserve(&service, &asked, &ask, &key_hash).await? else { continue };
        let reservation = match stored.record.clone() {
            Record::Live(subscription) if subscription.status.kind() == Status::Incomplete => {
                return resume(&service, &asked, &ask, &stored, subscription).await;
            }
            Record::Live(subscription) => return Ok(subscription.view()),
            Record::Refused { message } => {
                return Err(Rejection::Refused(CreateRefusal::PaymentFailed { message }));
            }
            Record::Reserved(reservation) => reservation,
        };
        let made = fulfil::fulfil(&service, &asked, &id, stored, reservation, is_new).await?;
        if let Some((subscription, payment)) = made {
            tracing::info!(target: "audit", tenant = %asked.tenant, user = %ask.user_id, subscription = %id,
                status = subscription.status.as_str(), correlation_id = asked.trail.correlation_id,
                "subscription created");
            return told(&ask, &subscription, payment);
        }
    }
    Err(Rejection::busy("the subscription is being created by many at once; try again with the same key"))
}

/// The same key again while the first payment waits: what is to be done is asked of Stripe anew, and maybe it is done.
async fn resume(
    service: &Subscriptions,
    asked: &Asked,
    ask: &CreateV1,
    stored: &Stored,
    subscription: Subscription,
) -> Result<SubscriptionView, Rejection<CreateRefusal>> {
    let fetched = service.stripe.fetch_payment(&subscription.stripe_subscription_id).await;
    let object = fetched.map_err(|failure| rejection(&failure))?;
    let mut unit = Unit::new();
    let fresh = refresh::apply(service, &mut unit, &asked.tenant, &asked.trail, stored, subscription, &object);
    // Somebody else's look is as good.
    service.records.commit(unit).await?;
    told(ask, &fresh, object.payment)
}

fn told(
    ask: &CreateV1,
    subscription: &Subscription,
    payment: Option<PaymentStep>,
) -> Result<SubscriptionView, Rejection<CreateRefusal>> {
    if subscription.status.kind() != Status::Incomplete {
        return Ok(subscription.view());
    }
    if ask.payment_method_id.is_none() {
        // As it was asked for: it waits for its first payment.
        return Ok(SubscriptionView { payment, ..subscription.view() });
    }
    let subscription_id = subscription.subscription_id.clone();
    let payment = payment.unwrap_or_default();
    Err(Rejection::Refused(CreateRefusal::PaymentActionRequired { subscription_id, payment }))
}

fn check(service: &Subscriptions, asked: &Asked, ask: &CreateV1) -> Result<(), Rejection<CreateRefusal>> {
    if service.catalogue.plan_of_price(&asked.tenant, &ask.price_id).is_none() {
        let allowed = service.catalogue.price_ids(&asked.tenant);
        return Err(Rejection::Refused(CreateRefusal::UnknownPrice { allowed }));
    }
    let found = metadata::violations(&ask.metadata);
    if !found.is_empty() {
        return Err(Rejection::Refused(CreateRefusal::InvalidMetadata { violations: found }));
    }
    let mut found = violations(&ask.idempotency_key, ask.email.as_deref());
    if ask.payment_method_id.as_deref().is_some_and(|id| !is_id(id, &["pm_", "card_", "src_", "ba_"])) {
        let rule = "payment_method_id: it is not an id of Stripe's; send the pm_… that Stripe.js gave you";
        found.push(rule.to_owned());
    }
    if found.is_empty() { Ok(()) } else { Err(Rejection::Refused(CreateRefusal::Invalid { violations: found })) }
}

/// What stands under this Idempotency-Key, reserved now if nothing did; `None` when somebody else was faster.
async fn reserve(
    service: &Subscriptions,
    asked: &Asked,
    ask: &CreateV1,
    key_hash: &str,
) -> Result<Option<(SubscriptionId, Stored, bool)>, Rejection<CreateRefusal>> {
    let (tenant, hash) = (&asked.tenant, hash_of(ask));
    if let Some(known) = service.records.operation(tenant, &ask.user_id, key_hash).await? {
        if known.operation.hash != hash {
            return Err(Rejection::Refused(CreateRefusal::IdempotencyMismatch));
        }
        let stored = service.records.find(tenant, &known.operation.subscription_id).await?;
        // A refusal expires with its key, but maybe a moment earlier.
        let stored = stored.ok_or_else(|| Rejection::busy("the key is just expiring; try again with a new one"))?;
        return Ok(Some((known.operation.subscription_id, stored, false)));
    }
    let platform = &service.platform;
    let now_ms = platform.clock.now_ms();
    let subscription_id: SubscriptionId =
        platform.entropy.uuid_v7(now_ms).to_string().parse().expect("a UUID is a valid id");
    let Some(plan) = service.catalogue.plan_of_price(tenant, &ask.price_id) else { return Ok(None) };
    let reservation = Reservation {
        subscription_id: subscription_id.clone(),
        user_id: ask.user_id.clone(),
        plan: plan.name.clone(),
        price_id: ask.price_id.clone(),
        payment_method_id: ask.payment_method_id.clone(),
        email: ask.email.clone(),
        metadata: ask.metadata.clone(),
        reserved_at_ms: now_ms,
        attempt: 1,
        by_checkout: false,
    };
    let operation = Operation { hash, subscription_id: subscription_id.clone(), checkout: None };
    let mut unit = Unit::new();
    let expires_at_ms = now_ms.saturating_add(service.config.operation_memory_ms());
    Records::reserve(&mut unit, tenant, key_hash, &operation, reservation, expires_at_ms);
    if !service.records.commit(unit).await? {
        return Ok(None);
    }
    let stored = service.records.find(tenant, &subscription_id).await?;
    Ok(stored.map(|stored| (subscription_id, stored, true)))
}

fn hash_of(ask: &CreateV1) -> String {
    wish_hash(CreateV1::KIND, &CreateV1 { idempotency_key: String::new(), ..ask.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_wish_has_the_same_hash_under_any_key() {
        let ask = CreateV1::samples().remove(0);
        let same = CreateV1 { idempotency_key: "other".into(), ..ask.clone() };
        assert_eq!(hash_of(&ask), hash_of(&same));
        for other in [
            CreateV1 { price_id: "price_2".into(), ..ask.clone() },
            CreateV1 { payment_method_id: None, ..ask.clone() },
            CreateV1 { email: None, ..ask.clone() },
            CreateV1 { metadata: Default::default(), ..ask.clone() },
        ] {
            assert_ne!(hash_of(&ask), hash_of(&other));
        }
        let bare = CreateV1 { idempotency_key: String::new(), ..ask.clone() };
        assert_ne!(hash_of(&ask), wish_hash("subscription.change_plan.v1", &bare), "kinds don't mix");
    }
}
