use std::sync::Arc;

use bus::Asked;
use contracts::SubscriptionId;
use contracts::requests::subscription::{CreateRefusal, CreateV1, SubscriptionView};
use outbox::Unit;
use service::Rejection;
use sha2::{Digest, Sha256};

use super::{MAX_DECISIONS, fulfil};
use crate::Subscriptions;
use crate::metadata;
use crate::store::{Operation, Record, Records, Stored};
use crate::stripe::{hex, is_id};
use crate::subscription::Reservation;

/// Longest e-mail address Stripe takes, characters.
const MAX_EMAIL_CHARS: usize = 512;

/// Creates a subscription at Stripe, once per Idempotency-Key: what is to be made is reserved in our store first, under
/// an id that Stripe's own idempotency keys follow from. Whoever comes again, even after a crash, takes it up there.
pub(crate) async fn create(
    service: Arc<Subscriptions>,
    asked: Asked,
    ask: CreateV1,
) -> Result<SubscriptionView, Rejection<CreateRefusal>> {
    check(&service, &asked, &ask)?;
    service.note_tenant(&asked.tenant).await?;
    let key_hash = hex(&Sha256::digest(ask.idempotency_key.as_bytes()));
    let _turn = service.turns.take(format!("{}#{}#{key_hash}", asked.tenant, ask.user_id)).await;
    for _ in 0..MAX_DECISIONS {
        let Some((id, stored, is_new)) = reserve(&service, &asked, &ask, &key_hash).await? else { continue };
        let reservation = match stored.record.clone() {
            Record::Live(subscription) => return Ok(subscription.view()),
            Record::Refused { message } => {
                return Err(Rejection::Refused(CreateRefusal::PaymentFailed { message }));
            }
            Record::Reserved(reservation) => reservation,
        };
        if let Some(subscription) = fulfil::fulfil(&service, &asked, &id, stored, reservation, is_new).await? {
            return Ok(subscription.view());
        }
    }
    Err(Rejection::busy("the subscription is being created by many at once; try again with the same key"))
}

fn check(service: &Subscriptions, asked: &Asked, ask: &CreateV1) -> Result<(), Rejection<CreateRefusal>> {
    if service.catalogue.plan_of_price(&asked.tenant, &ask.price_id).is_none() {
        let allowed = service.catalogue.price_ids(&asked.tenant);
        return Err(Rejection::Refused(CreateRefusal::UnknownPrice { allowed }));
    }
    let violations = metadata::violations(&ask.metadata);
    if !violations.is_empty() {
        return Err(Rejection::Refused(CreateRefusal::InvalidMetadata { violations }));
    }
    if ask.payment_method_id.as_deref().is_some_and(|id| !is_id(id, &["pm_", "card_", "src_", "ba_"])) {
        let message = "payment_method_id: it is not an id of Stripe's; send the pm_… that Stripe.js gave you";
        return Err(Rejection::Refused(CreateRefusal::PaymentFailed { message: message.to_owned() }));
    }
    if ask.email.as_deref().is_some_and(|email| email.is_empty() || email.chars().count() > MAX_EMAIL_CHARS) {
        return Err(Rejection::broken(format!("email: it is empty or over {MAX_EMAIL_CHARS} characters; correct it")));
    }
    if !(1..=255).contains(&ask.idempotency_key.chars().count()) {
        return Err(Rejection::broken("idempotency_key: use 1 to 255 characters, a new one for each subscription"));
    }
    Ok(())
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
        if known.hash != hash {
            return Err(Rejection::Refused(CreateRefusal::IdempotencyMismatch));
        }
        let stored = service.records.find(tenant, &known.subscription_id).await?;
        // A refusal expires with its key, but maybe a moment earlier.
        let stored = stored.ok_or_else(|| Rejection::busy("the key is just expiring; try again with a new one"))?;
        return Ok(Some((known.subscription_id, stored, false)));
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
    };
    let operation = Operation { hash, subscription_id: subscription_id.clone() };
    let mut unit = Unit::new();
    let expires_at_ms = now_ms.saturating_add(service.config.operation_memory_ms());
    Records::reserve(&mut unit, tenant, key_hash, &operation, reservation, expires_at_ms);
    if !service.records.commit(unit).await? {
        return Ok(None);
    }
    let stored = service.records.find(tenant, &subscription_id).await?;
    Ok(stored.map(|stored| (subscription_id, stored, true)))
}

/// Hash of everything that is asked for.
fn hash_of(ask: &CreateV1) -> String {
    // The key is not part of it, and maps are sorted: the same wish has the same hash.
    let wish = CreateV1 { idempotency_key: String::new(), ..ask.clone() };
    hex(&Sha256::digest(serde_json::to_vec(&wish).expect("a request is plain data")))
}

#[cfg(test)]
mod tests {
    use contracts::Contract;

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
    }
}
