//! The subscription service: refusals always, a whole life of a subscription where Stripe's test mode may be used.

use std::time::Duration;

use serde_json::{Value, json};

use super::asking::{Answer, Asked, Run, event, request, signal};
use super::bodies;
use super::book::Offence;
use super::ear::Road;

const CREATE: &str = "subscription.create.v1";
const GET: &str = "subscription.get.v1";
pub(super) const VERIFY: &str = "subscription.verify.v1";
const KEYS: &str = "subscription.list_proof_keys.v1";
const CREATED: &str = "subscription.created.v1";
const CHANGED: &str = "subscription.status_changed.v2";
const CHANGED_OLD: &str = "subscription.status_changed.v1";
const REJECTED: &str = "subscription.transition_rejected.v1";
const REVOKED: &str = "subscription.proof_revoked.v1";
const HINT: &str = "webhook.stripe_subscription_changed.v1";
const LOST: &str = "gateway.entitlement_lost.v1";

/// Why a subscription's life was not lived.
pub(super) const WOULD_CHARGE: &str = "would charge: needs Stripe's test mode or its emulator; allow it with --stripe";

/// A subscription that entitles.
#[derive(Clone, Debug)]
pub(super) struct Bought {
    pub(super) id: String,
    stripe_id: String,
}

/// What can be asked without Stripe.
pub(super) async fn check(run: &Run<'_>) {
    let ask = |price: &str| json!({"user_id": "verify", "price_id": price, "idempotency_key": "verify-refused"});
    let promise = request(CREATE);
    let asked = run.ask(CREATE, &ask("price_verify_none")).await;
    let refused = run.book.judge(&promise, "a price off the list is refused, with the list", priced(&asked));
    if let Some(price) = refused {
        let mut broken = ask(&price);
        broken["metadata"] = json!({"bad[key]": "x"});
        let asked = run.ask(CREATE, &broken).await;
        run.book.judge(&promise, "metadata that Stripe refuses is refused", asked.refused("invalid_metadata"));
        let mut broken = ask(&price);
        broken["payment_method_id"] = json!("not a payment method");
        let asked = run.ask(CREATE, &broken).await;
        run.book.judge(&promise, "a payment method that is none is refused", asked.refused("invalid"));
    }
    let nobody = json!({"subscription_id": "verify-nobody"});
    let asked = run.ask(GET, &nobody).await;
    run.book.judge(&request(GET), "an unknown subscription is refused", asked.refused("not_found"));
    let proof = json!({"subscription_id": "verify-nobody", "peer_id": "verify-alice", "user_id": "verify"});
    let asked = run.ask(VERIFY, &proof).await;
    run.book.judge(&request(VERIFY), "an unknown subscription is refused", asked.refused("not_found"));
    let asked = run.ask(KEYS, &json!({})).await;
    run.book.judge(&request(KEYS), "there is a key to verify with", has_keys(&asked));
    bodies::check(run, CREATE, &ask("price_verify_none")).await;
    bodies::check(run, GET, &nobody).await;
    bodies::check(run, VERIFY, &proof).await;
    bodies::check(run, KEYS, &json!({})).await;
    if run.stripe.is_none() {
        let name = "a subscription's life";
        for kind in [CREATED, CHANGED, CHANGED_OLD, REJECTED, REVOKED, HINT] {
            run.book.untestable(&event(kind), name, WOULD_CHARGE);
        }
        run.book.untestable(&signal(LOST), name, WOULD_CHARGE);
    }
}

/// A price that may be asked for, from the refusal of another.
pub(super) fn priced(asked: &Asked) -> Result<String, Offence> {
    let refusal = asked.refused("unknown_price")?;
    let first = refusal["allowed"][0].as_str().map(str::to_owned);
    first.ok_or_else(|| Offence::new("at least one price in `allowed`", "none").with(&refusal))
}

fn has_keys(asked: &Asked) -> Result<(), Offence> {
    let reply = asked.ok()?;
    let some = reply["keys"].as_array().is_some_and(|keys| !keys.is_empty());
    if some { Ok(()) } else { Err(Offence::new("at least one key", "none").with(&reply)) }
}

/// Buys a subscription in test mode and waits until it entitles.
pub(super) async fn buy(run: &Run<'_>) -> Option<Bought> {
    let stripe = run.stripe?;
    let promise = request(CREATE);
    let key = format!("verify-{}", run.tenant);
    let order = json!({
        "user_id": "verify", "price_id": stripe.price, "payment_method_id": "pm_card_visa", "idempotency_key": key,
    });
    let traces = || run.traces.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    traces().order = Some(order.clone());
    let asked = run.ask(CREATE, &order).await;
    let view = run.book.judge(&promise, "a subscription is created", asked.ok())?;
    let id = view["subscription_id"].as_str()?.to_owned();
    let stripe_id = view["stripe_subscription_id"].as_str().unwrap_or_default().to_owned();
    traces().stripe.push(stripe_id.clone());
    traces().order = None;
    let of_it = |payload: &Value| payload["subscription_id"] == id.as_str();
    run.expect_event(CREATED, "it is told when a subscription is created", Some(&asked), of_it).await;
    let again = run.ask(CREATE, &order).await.ok().and_then(|view| same_id(&view, &id));
    run.book.judge(&promise, "the same idempotency key gives the same subscription", again);
    let mut other = order.clone();
    other["metadata"] = json!({"team": "another wish"});
    let asked = run.ask(CREATE, &other).await;
    run.book.judge(&promise, "the key with another wish is refused", asked.refused("idempotency_mismatch"));
    let asked = run.ask(VERIFY, &json!({"subscription_id": id, "peer_id": "verify-x", "user_id": "other"})).await;
    run.book.judge(&request(VERIFY), "another user's subscription is refused", asked.refused("not_owner"));
    run.expect_event(HINT, "it is told when Stripe says something", None, of_it).await;
    let active = becomes(run, &id, "active").await;
    run.book.judge(&request(GET), "it follows Stripe to active", active)?;
    Some(Bought { id, stripe_id })
}

/// The subscription at Stripe that an order made which the run was interrupted at: the same key gives the same one.
pub(super) async fn ordered(run: &Run<'_>, order: &Value) -> Option<String> {
    let view = run.ask(CREATE, order).await.ok().ok()?;
    view["stripe_subscription_id"].as_str().map(str::to_owned)
}

fn same_id(view: &Value, id: &str) -> Result<(), Offence> {
    if view["subscription_id"] == id {
        return Ok(());
    }
    Err(Offence::new(format!("subscription {id} once more"), "another one").with(view))
}

async fn becomes(run: &Run<'_>, id: &str, status: &str) -> Result<(), Offence> {
    let mut last = Value::Null;
    let waiting = async {
        loop {
            let asked = run.ask(GET, &json!({"subscription_id": id})).await;
            match asked.answer {
                Answer::Ok(view) if view["status"] == status => return Ok(()),
                Answer::Ok(view) => last = view["status"].clone(),
                Answer::Unasked(why) => return Err(Offence::unasked(format!("status {status:?}"), why)),
                _ => last = json!(asked.shape()),
            }
            run.clock.sleep(Duration::from_millis(100)).await;
        }
    };
    // Stripe's word takes its own time.
    let done = run.clock.timeout(run.limits.patience * 2, waiting).await;
    done.unwrap_or_else(|| Err(Offence::new(format!("status {status:?}"), format!("it stays {last}"))))
}

/// A proof for a peer.
pub(super) async fn prove(run: &Run<'_>, bought: &Bought, peer: &str) -> Option<String> {
    let ask = json!({"subscription_id": bought.id, "peer_id": peer, "user_id": "verify"});
    let asked = run.ask(VERIFY, &ask).await;
    let promise = request(VERIFY);
    let reply = run.book.judge(&promise, "an entitled peer gets a proof", asked.ok())?;
    let (refresh, expires) = (reply["refresh_at_ms"].as_u64()?, reply["expires_at_ms"].as_u64()?);
    let ordered = run.clock.now_ms() < refresh && refresh < expires;
    let outcome = if ordered {
        Ok(())
    } else {
        Err(Offence::new("now < refresh_at_ms < expires_at_ms", format!("{refresh} and {expires}")))
    };
    run.book.judge(&promise, "a proof is refreshed before it ends", outcome);
    reply["proof"].as_str().map(str::to_owned)
}

/// Cancels at Stripe, as the customer would, and sees everybody learn of it.
pub(super) async fn cancel(run: &Run<'_>, bought: &Bought) {
    let Some(stripe) = run.stripe else { return };
    // What came of the payment; how many of them there are is Stripe's choice.
    let of_it = |envelope: &bus::Envelope, payload: &Value| {
        [HINT, CHANGED, CHANGED_OLD].contains(&envelope.kind.as_str())
            && payload["subscription_id"] == bought.id.as_str()
    };
    run.ear.claim_all(Road::Event, of_it);
    if let Err(error) = stripe.cancel(&bought.stripe_id).await {
        for kind in [REVOKED, CHANGED, CHANGED_OLD, REJECTED] {
            run.book.untestable(&event(kind), "it comes", format!("Stripe did not cancel: {error:#}"));
        }
        return;
    }
    let traces = || run.traces.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    traces().stripe.retain(|id| *id != bought.stripe_id);
    let canceled = becomes(run, &bought.id, "canceled").await;
    if run.book.judge(&request(GET), "it follows Stripe to canceled", canceled).is_none() {
        return;
    }
    let ours = |payload: &Value| payload["subscription_id"] == bought.id.as_str();
    let to_canceled =
        |payload: &Value| ours(payload) && payload["current"] == "canceled" && payload["entitled"] == false;
    run.expect_event(CHANGED, "it is told when a status changes", None, to_canceled).await;
    let to_canceled = |payload: &Value| ours(payload) && payload["status"] == "canceled";
    run.expect_event(CHANGED_OLD, "it is told in the old form while that is read", None, to_canceled).await;
    run.expect_event(REVOKED, "proofs are revoked when the entitlement ends", None, ours).await;
    run.expect_signal(LOST, "every gateway is told when an entitlement ends", ours).await;
    let asked =
        run.ask(VERIFY, &json!({"subscription_id": bought.id, "peer_id": "verify-x", "user_id": "verify"})).await;
    run.book.judge(&request(VERIFY), "without an entitlement there is no proof", asked.refused("not_entitled"));
    reject(run, bought).await;
    run.ear.claim_all(Road::Event, of_it);
    // Stripe's own late news may be rejected as well.
    let late = |envelope: &bus::Envelope, payload: &Value| {
        envelope.kind == REJECTED && ours(payload) && payload["to"] != "trialing"
    };
    run.ear.claim_all(Road::Event, late);
    run.ear.claim_all(Road::Signal, |envelope, payload| envelope.kind == LOST && ours(payload));
}

/// Plays the broker: hands the subscription service a hint that is not true any more, twice. It must see through it
/// once, and know it the second time. No true hint says `trialing`: the price has no trial.
async fn reject(run: &Run<'_>, bought: &Bought) {
    if !run.ear.covers_events() {
        return;
    }
    let hint = json!({
        "subscription_id": bought.id, "stripe_subscription_id": bought.stripe_id,
        "stripe_event_id": format!("evt_{}", run.tenant), "stripe_event_type": "customer.subscription.updated",
        "livemode": false, "created_s": run.clock.now_ms() / 1_000, "hinted_status": "trialing",
    });
    let mut envelope = run.envelope(HINT, hint.to_string().into(), run.trail());
    envelope.key = format!("{}/subscription/{}", run.tenant, bought.id);
    envelope.sequence = 1_000_000;
    let asked = Asked::played(HINT, &envelope);
    let name = "a status that can't be reached from here is told as rejected";
    run.deliver(envelope.clone()).await;
    let fits = |payload: &Value| payload["subscription_id"] == bought.id.as_str() && payload["to"] == "trialing";
    if run.expect_event(REJECTED, name, Some(&asked), fits).await.is_some() {
        // The same once more: whoever has an inbox tells nothing new; the audit looks for a second fact.
        run.deliver(envelope).await;
        run.quiet().await;
    }
}
