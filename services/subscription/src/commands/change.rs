//! How a wish about a subscription comes true: Stripe is read, the status machine judges what is true now, Stripe is
//! asked, and what it says is written.

use bus::Asked;
use contracts::events::subscription::Status;
use contracts::requests::subscription::SubscriptionView;
use contracts::{SubscriptionId, UserId};
use outbox::Unit;
use service::Rejection;

use super::{MAX_DECISIONS, refresh, rejection};
use crate::Subscriptions;
use crate::store::{Operation, Records};
use crate::stripe::{Class, StripeFailure, SubscriptionObject, derived_key};
use crate::subscription::{Change, Subscription};
use crate::wish::{Ask, Verdict, Wish};

/// Who wishes, and for which subscription.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub(super) user: &'a UserId,
    pub(super) is_admin: bool,
    pub(super) subscription: &'a SubscriptionId,
}

/// The Idempotency-Key that the wish came with.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) hash: String,
    pub(super) operation: Operation,
}

/// Why a wish does not come true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum No {
    NotFound,
    NotOwner,
    Illegal(Status),
    Payment(String),
}

/// Makes a wish come true. Illegal ones are audited.
pub(super) async fn change(
    service: &Subscriptions,
    asked: &Asked,
    asker: Asker<'_>,
    wish: &Wish,
    key: Option<&Key>,
) -> Result<SubscriptionView, Rejection<No>> {
    let (tenant, id) = (&asked.tenant, asker.subscription);
    let _turn = service.turns.take(format!("{tenant}#{id}")).await;
    let mut was_refused = false;
    for attempt in 0..MAX_DECISIONS {
        let Some((subscription, stored)) = service.records.find_live(tenant, id).await? else {
            return Err(Rejection::Refused(No::NotFound));
        };
        if !asker.is_admin && subscription.user_id != *asker.user {
            return Err(Rejection::Refused(No::NotOwner));
        }
        let fetched = service.stripe.fetch_subscription(&subscription.stripe_subscription_id).await;
        let object = fetched.map_err(|failure| rejection(&failure))?;
        let seen = refresh::seen(service, tenant, subscription, &object);
        let (change, refusal) = match wish.judge(&seen.subscription) {
            Verdict::Done => (seen, None),
            Verdict::Illegal(to) => {
                let from = seen.subscription.status.kind();
                let rejected = seen.subscription.clone().reject_wish(wish.name(), to, asker.user);
                (then(seen, rejected), Some(No::Illegal(from)))
            }
            Verdict::Ask(ask) => {
                match ask_stripe(service, asked, wish, ask, &seen.subscription, &object, key, attempt).await {
                    Ok(Some(object)) => {
                        let changed = refresh::seen(service, tenant, seen.subscription.clone(), &object);
                        (then(seen, changed), None)
                    }
                    // An old answer, or one that is no use: look what is true now.
                    Ok(None) => continue,
                    Err(failure) if failure.class == Class::Card => return Err(Rejection::Refused(payment(&failure))),
                    Err(failure) if failure.is_stuck() => continue,
                    // Stripe's state may have moved under us: look once more.
                    Err(failure) if matches!(failure.class, Class::Invalid | Class::NotFound) && !was_refused => {
                        was_refused = true;
                        continue;
                    }
                    Err(failure) => return Err(rejection(&failure)),
                }
            }
        };
        let mut unit = Unit::new();
        if let Some(key) = key.filter(|_| refusal.is_none()) {
            let expires_at_ms = service.platform.clock.now_ms().saturating_add(service.config.operation_memory_ms());
            Records::use_key(&mut unit, tenant, asker.user, &key.hash, &key.operation, expires_at_ms);
        }
        let subscription = refresh::publish(&mut unit, tenant, &asked.trail, &stored, change);
        if service.records.commit(unit).await? {
            audit(asked, asker, wish, refusal.as_ref());
            return refusal.map_or_else(|| Ok(subscription.view()), |no| Err(Rejection::Refused(no)));
        }
    }
    Err(Rejection::busy("the subscription is being changed by many at once; try again"))
}

/// Two changes as one.
fn then(first: Change, second: Change) -> Change {
    Change { facts: [first.facts, second.facts].concat(), ..second }
}

fn payment(failure: &StripeFailure) -> No {
    No::Payment(if failure.wants_action() {
        "the bank wants the customer to confirm the payment; open the customer portal for it and change the plan there"
            .to_owned()
    } else {
        let code = failure.code.as_deref().unwrap_or("card_error");
        format!("{} ({code}); change the payment method on the customer portal, then try again", failure.message)
    })
}

/// What Stripe made of it; `None` when its answer is an old one.
#[allow(clippy::too_many_arguments)] // one call site; a struct for it would only rename them
async fn ask_stripe(
    service: &Subscriptions,
    asked: &Asked,
    wish: &Wish,
    ask: Ask,
    subscription: &Subscription,
    object: &SubscriptionObject,
    key: Option<&Key>,
    attempt: usize,
) -> Result<Option<SubscriptionObject>, StripeFailure> {
    let (stripe, id) = (&service.stripe, subscription.stripe_subscription_id.as_str());
    // Setting the same twice does no harm: a key of its own for each, for Stripe's own retries.
    let fresh = || {
        let once = service.platform.entropy.uuid_v7(service.platform.clock.now_ms());
        derived_key(wish.name(), &[&once.to_string()])
    };
    match ask {
        Ask::Cancel => stripe.cancel(id).await.map(Some),
        Ask::EndWithPeriod(ends) => stripe.end_with_period(id, ends, fresh()).await.map(Some),
        Ask::WakeUp => stripe.resume(id, fresh()).await.map(Some),
        Ask::ChangePrice => {
            let Wish::ChangePlan { price_id } = wish else { return Ok(None) };
            let missing = || StripeFailure::new(Class::Unreadable, "Stripe's subscription has no item");
            let item = object.item_id.as_deref().ok_or_else(missing)?;
            let (hash, attempt) = (key.map_or("", |key| key.hash.as_str()), attempt.to_string());
            let user = subscription.user_id.as_str();
            let once = derived_key(
                wish.name(),
                &[asked.tenant.as_str(), subscription.subscription_id.as_str(), user, hash, &attempt],
            );
            let (object, is_replay) = stripe.change_price(id, item, price_id, once).await?;
            Ok((!is_replay).then_some(object))
        }
    }
}

fn audit(asked: &Asked, asker: Asker<'_>, wish: &Wish, refusal: Option<&No>) {
    let outcome = if refusal.is_some() { "rejected" } else { "done" };
    metrics::counter!("subscription_changes_total", "asked" => wish.name(), "outcome" => outcome).increment(1);
    tracing::info!(target: "audit", tenant = %asked.tenant, user = %asker.user, admin = asker.is_admin,
        subscription = %asker.subscription, asked = wish.name(), outcome, ?refusal,
        correlation_id = asked.trail.correlation_id, "subscription change");
}
