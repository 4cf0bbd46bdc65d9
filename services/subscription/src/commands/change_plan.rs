use std::sync::Arc;

use bus::Asked;
use contracts::Contract;
use contracts::requests::subscription::{ChangePlanRefusal, ChangePlanV1, SubscriptionView};
use service::Rejection;

use super::change::{Asker, Key, No, change};
use super::{key_hash, violations, wish_hash};
use crate::Subscriptions;
use crate::store::Operation;
use crate::wish::Wish;

/// Bills a subscription by another price, once per Idempotency-Key. A key that was used says how things stand now: it
/// never takes a later change back.
pub(crate) async fn change_plan(
    service: Arc<Subscriptions>,
    asked: Asked,
    ask: ChangePlanV1,
) -> Result<SubscriptionView, Rejection<ChangePlanRefusal>> {
    if let Some(violation) = violations(&ask.idempotency_key, None).pop() {
        return Err(Rejection::broken(violation));
    }
    let hash = key_hash(&ask.idempotency_key);
    let wish = ChangePlanV1 { idempotency_key: String::new(), ..ask.clone() };
    let operation = Operation {
        hash: wish_hash(ChangePlanV1::KIND, &wish),
        subscription_id: ask.subscription_id.clone(),
        checkout: None,
    };
    let _turn = service.turns.take(format!("{}#{}#{hash}", asked.tenant, ask.user_id)).await;
    if let Some(known) = service.records.operation(&asked.tenant, &ask.user_id, &hash).await? {
        if known.operation.hash != operation.hash {
            return Err(Rejection::Refused(ChangePlanRefusal::IdempotencyMismatch));
        }
        let found = service.records.find_live(&asked.tenant, &ask.subscription_id).await?;
        return found
            .map(|(subscription, _)| subscription.view())
            .ok_or(Rejection::Refused(ChangePlanRefusal::NotFound));
    }
    if service.catalogue.plan_of_price(&asked.tenant, &ask.price_id).is_none() {
        let allowed = service.catalogue.price_ids(&asked.tenant);
        return Err(Rejection::Refused(ChangePlanRefusal::UnknownPrice { allowed }));
    }
    let asker = Asker { user: &ask.user_id, is_admin: ask.is_admin, subscription: &ask.subscription_id };
    let wish = Wish::ChangePlan { price_id: ask.price_id.clone() };
    let changed = change(&service, &asked, asker, &wish, Some(&Key { hash, operation })).await;
    changed.map_err(|rejection| {
        rejection.map_refusal(|no| match no {
            No::NotFound => ChangePlanRefusal::NotFound,
            No::NotOwner => ChangePlanRefusal::NotOwner,
            No::Illegal(from) => ChangePlanRefusal::IllegalTransition { from },
            No::Payment(message) => ChangePlanRefusal::PaymentFailed { message },
        })
    })
}
