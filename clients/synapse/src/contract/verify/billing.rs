//! What else the subscription service is asked: lists, plans, pages, changes, usage; and the quotas of what was used.

use std::time::Duration;

use serde_json::{Value, json};

use super::asking::{Asked, Run, event, request};
use super::bodies;
use super::book::{Offence, Promise, Sort};
use super::presence::expect;
use super::subscriptions::{Bought, WOULD_CHARGE, priced};

const LIST: &str = "subscription.list.v1";
const SNAPSHOT: &str = "subscription.proof_snapshot.v1";
const PLANS: &str = "subscription.list_plans.v1";
const CHECK_PLANS: &str = "subscription.check_plans.v1";
const CHANGE: &str = "subscription.change_plan.v1";
const CANCEL: &str = "subscription.cancel.v1";
const RESUME: &str = "subscription.resume.v1";
const CHECKOUT: &str = "subscription.create_checkout.v1";
const PORTAL: &str = "subscription.create_portal.v1";
const USAGE: &str = "subscription.usage.v1";
const EXCEEDED: &str = "subscription.quota_exceeded.v1";
/// Who measures, and what: kind, meter.
const MEASURED: [(&str, &str); 2] =
    [("gateway.usage_recorded.v1", "relay_bytes"), ("tunnel.usage_recorded.v1", "tunnel_bytes")];
/// On nobody's list of return URLs (RFC 6761, section 6.4).
const ELSEWHERE: &str = "https://verify.invalid/";

/// Contracts that nothing in a run causes, and why.
const UNCAUSED: [(Sort, &str, &str); 12] = [
    (Sort::Event, "subscription.proof_key_published.v1", "only told when keys are rotated, by default once a day"),
    (Sort::Event, "subscription.proof_key_withdrawn.v1", "told when an operator withdraws a key; a run withdraws none"),
    (Sort::Event, "subscription.quota_restored.v1", "told when the quota's window ends, or its plan grows"),
    (Sort::Event, "subscription.reconciled.v1", "told when an operator or the clock compares everything with Stripe"),
    (
        Sort::Event,
        "webhook.stripe_catalogue_changed.v1",
        "told of the installation's prices and products; a run changes none",
    ),
    (Sort::Event, "webhook.stripe_checkout_changed.v1", "told when a customer is done with a page; a run opens none"),
    (Sort::Event, "webhook.stripe_entitlements_changed.v1", "told when Stripe's features change; a run changes none"),
    (Sort::Signal, "gateway.broadcast.v1", BETWEEN_GATEWAYS),
    (Sort::Signal, "gateway.call.v1", BETWEEN_GATEWAYS),
    (Sort::Signal, "gateway.reply.v1", BETWEEN_GATEWAYS),
    (Sort::Signal, "signaling.receipt.v1", "told of signals that were kept for a peer; every signal of a run is taken"),
    (Sort::Signal, "signaling.taken.v1", "gateways say it to signaling; a run says it in a gateway's place"),
];
const BETWEEN_GATEWAYS: &str = "gateways say it to each other, in their customers' tenants only";
/// What only buying causes.
const PAID: [&str; 5] =
    ["webhook.stripe_customer_changed.v1", "webhook.stripe_invoice_changed.v1", EXCEEDED, MEASURED[0].0, MEASURED[1].0];

/// Says of what was not seen why it could not be.
pub(super) fn unseen(run: &Run<'_>) {
    for (sort, name, why) in UNCAUSED {
        let promise = Promise::new(sort, name);
        if run.book.is_blank(&promise) {
            run.book.untestable(&promise, "it comes", why);
        }
    }
    for kind in PAID.into_iter().filter(|kind| run.stripe.is_none() && run.book.is_blank(&event(kind))) {
        run.book.untestable(&event(kind), "it comes", WOULD_CHARGE);
    }
}

/// What can be asked without Stripe.
pub(super) async fn check(run: &Run<'_>) {
    tells(run).await;
    changes_nothing(run).await;
    opens_nothing(run).await;
}

async fn tells(run: &Run<'_>) {
    let asked = run.ask(LIST, &json!({"user_id": "verify-nobody", "limit": 10})).await;
    let none = asked.ok().and_then(|page| expect(&page, "subscriptions", &json!([])));
    run.book.judge(&request(LIST), "who bought nothing has none", none);
    for (name, body) in [
        ("a page of none is refused", json!({"limit": 0})),
        ("a page of too many is refused", json!({"limit": 101})),
        ("a page token of nobody is refused", json!({"limit": 1, "after": "!"})),
    ] {
        let asked = run.ask(LIST, &body).await;
        run.book.judge(&request(LIST), name, asked.refused("invalid_page"));
    }
    bodies::check(run, LIST, &json!({"limit": 1})).await;
    let asked = run.ask(SNAPSHOT, &json!({"limit": 500})).await;
    let has_keys = asked.ok().and_then(|told| match told["keys"].as_array() {
        Some(keys) if !keys.is_empty() => Ok(()),
        _ => Err(Offence::new("at least one key", "none").with(&told)),
    });
    run.book.judge(&request(SNAPSHOT), "it has the keys to verify with", has_keys);
    let asked = run.ask(SNAPSHOT, &json!({"limit": 0})).await;
    run.book.judge(&request(SNAPSHOT), "a page of none fails for good", asked.failed());
    bodies::check(run, SNAPSHOT, &json!({"limit": 1})).await;
    let asked = run.ask(PLANS, &json!({})).await;
    run.book.judge(&request(PLANS), "it tells what is on offer", asked.ok().map(drop));
    bodies::check(run, PLANS, &json!({})).await;
    let nobodys = json!({"subscription_id": "verify-nobody"});
    let asked = run.ask(USAGE, &nobodys).await;
    run.book.judge(&request(USAGE), "an unknown subscription is refused", asked.refused("not_found"));
    bodies::check(run, USAGE, &nobodys).await;
}

async fn changes_nothing(run: &Run<'_>) {
    let nobodys = json!({"subscription_id": "verify-nobody", "user_id": "verify"});
    let with = |more: Value| merged(&nobodys, &more);
    let refused = "an unknown subscription is refused";
    let change = |price: &str| with(json!({"price_id": price, "idempotency_key": "verify-refused"}));
    let asked = run.ask(CHANGE, &change("price_verify_none")).await;
    let priced = run.book.judge(&request(CHANGE), "a price off the list is refused, with the list", priced(&asked));
    if let Some(price) = priced {
        let asked = run.ask(CHANGE, &change(&price)).await;
        run.book.judge(&request(CHANGE), refused, asked.refused("not_found"));
    }
    bodies::check(run, CHANGE, &change("price_verify_none")).await;
    for (kind, body) in [(CANCEL, with(json!({"at_period_end": true}))), (RESUME, nobodys.clone())] {
        let asked = run.ask(kind, &body).await;
        run.book.judge(&request(kind), refused, asked.refused("not_found"));
        bodies::check(run, kind, &body).await;
    }
}

async fn opens_nothing(run: &Run<'_>) {
    let page = |price: &str| {
        json!({"user_id": "verify", "price_id": price, "success_url": ELSEWHERE, "cancel_url": ELSEWHERE,
            "idempotency_key": "verify-refused"})
    };
    let asked = run.ask(CHECKOUT, &page("price_verify_none")).await;
    let priced = run.book.judge(&request(CHECKOUT), "a price off the list is refused, with the list", priced(&asked));
    let refused = "an address off the list of return URLs is refused";
    if let Some(price) = priced {
        let asked = run.ask(CHECKOUT, &page(&price)).await;
        run.book.judge(&request(CHECKOUT), refused, asked.refused("invalid"));
    }
    bodies::check(run, CHECKOUT, &page("price_verify_none")).await;
    let portal = json!({"user_id": "verify", "return_url": ELSEWHERE});
    let asked = run.ask(PORTAL, &portal).await;
    run.book.judge(&request(PORTAL), refused, asked.refused("invalid"));
    bodies::check(run, PORTAL, &portal).await;
}

/// The life of what was bought, besides its end.
pub(super) async fn live(run: &Run<'_>, bought: &Bought, price: &str) {
    let asked = run.ask(CHECK_PLANS, &json!({})).await;
    let known = asked.ok().and_then(|report| {
        let prices = report["prices"].as_array().into_iter().flatten();
        let known = prices.clone().any(|line| line["price_id"] == price);
        if known { Ok(()) } else { Err(Offence::new(format!("a line about {price}"), "none").with(&report)) }
    });
    run.book.judge(&request(CHECK_PLANS), "it says what Stripe thinks of each price", known);
    bodies::check(run, CHECK_PLANS, &json!({})).await;
    let asked = run.ask(LIST, &json!({"user_id": "verify", "limit": 100})).await;
    let listed = asked.ok().and_then(|page| expect(&page["subscriptions"][0], "subscription_id", &json!(bought.id)));
    run.book.judge(&request(LIST), "what was bought is listed", listed);
    changes(run, bought, price).await;
    measured(run, bought).await;
}

async fn changes(run: &Run<'_>, bought: &Bought, price: &str) {
    let of = |user: &str, more: Value| merged(&json!({"subscription_id": bought.id, "user_id": user}), &more);
    let change = |user: &str, price: &str| {
        of(user, json!({"price_id": price, "idempotency_key": format!("verify-change-{user}")}))
    };
    for name in ["the price it has already changes nothing", "the same idempotency key changes it once"] {
        let asked = run.ask(CHANGE, &change("verify", price)).await;
        run.book.judge(&request(CHANGE), name, asked.ok().and_then(|view| expect(&view, "price_id", &json!(price))));
    }
    let asked = run.ask(CHANGE, &change("verify", "price_verify_none")).await;
    run.book.judge(&request(CHANGE), "the key with another wish is refused", asked.refused("idempotency_mismatch"));
    for (kind, body, name, ends) in [
        (CANCEL, json!({"at_period_end": true}), "it ends with its period", true),
        (CANCEL, json!({"at_period_end": true}), "the same again changes nothing", true),
        (RESUME, json!({}), "its end is taken back", false),
        (RESUME, json!({}), "the same again changes nothing", false),
    ] {
        let asked = run.ask(kind, &of("verify", body)).await;
        let ending = asked.ok().and_then(|view| expect(&view, "cancel_at_period_end", &json!(ends)));
        run.book.judge(&request(kind), name, ending);
    }
    for (kind, body) in [
        (CHANGE, change("verify-mallory", price)),
        (CANCEL, of("verify-mallory", json!({"at_period_end": false}))),
        (RESUME, of("verify-mallory", json!({}))),
    ] {
        let asked = run.ask(kind, &body).await;
        run.book.judge(&request(kind), "another user's subscription is refused", asked.refused("not_owner"));
    }
}

/// Plays the broker: hands the subscription service reports of use, each twice. It counts each once, and tells when the
/// plan's quota is used up.
async fn measured(run: &Run<'_>, bought: &Bought) {
    let asked = run.ask(USAGE, &json!({"subscription_id": bought.id})).await;
    let told = asked.ok().and_then(|view| expect(&view, "user_id", &json!("verify")));
    if run.book.judge(&request(USAGE), "it tells what was used", told).is_none() || !run.ear.covers_events() {
        return;
    }
    let (month, twice) = ("month", "told twice, it counts once");
    let mut allowed = None;
    for (kind, meter) in MEASURED {
        let report = report(run, bought, kind, meter, 1, 1);
        run.deliver(report.clone()).await;
        if used(run, bought, meter, month, 1).await.is_ok() {
            run.deliver(report).await;
            run.quiet().await;
        }
        let counted = used(run, bought, meter, month, 1).await;
        let Some(line) = run.book.judge(&event(kind), twice, counted) else { return };
        run.book.untestable(&event(kind), "it comes", "told of customers' traffic; a run makes none that is metered");
        if let Some(limit) = line["allowed"].as_u64() {
            allowed = allowed.or(Some((kind, meter, limit)));
        }
    }
    let Some((kind, meter, limit)) = allowed else {
        run.book.untestable(&event(EXCEEDED), "it comes", "the plan that was bought limits no month's use");
        return;
    };
    let report = report(run, bought, kind, meter, limit, 2);
    let asked = Asked::played(kind, &report);
    run.deliver(report).await;
    let fits = |payload: &Value| {
        payload["subscription_id"] == bought.id.as_str() && payload["limit"] == format!("{meter}_{month}").as_str()
    };
    run.expect_event(EXCEEDED, "it is told when a quota is used up", Some(&asked), fits).await;
    // Shorter windows of the same meter may be used up by it as well.
    run.ear.claim_all(super::ear::Road::Event, |envelope, payload| {
        envelope.kind == EXCEEDED && payload["subscription_id"] == bought.id.as_str()
    });
}

fn report(run: &Run<'_>, bought: &Bought, kind: &str, meter: &str, amount: u64, number: u64) -> bus::Envelope {
    let now_ms = run.clock.now_ms();
    let usage = json!({
        "subscription_id": bought.id, "node_id": run.node, "from_ms": now_ms.saturating_sub(1_000), "to_ms": now_ms,
        "amounts": {meter: amount},
    });
    let mut envelope = run.envelope(kind, json!({"usage": usage}).to_string().into(), run.trail());
    envelope.key = format!("{}/usage/{}/{}", run.tenant, run.node, bought.id);
    envelope.sequence = number;
    envelope
}

/// The line of a meter's window, once it says what was used.
async fn used(run: &Run<'_>, bought: &Bought, meter: &str, window: &str, amount: u64) -> Result<Value, Offence> {
    let mut last = Value::Null;
    let waiting = async {
        loop {
            match run.ask(USAGE, &json!({"subscription_id": bought.id})).await.ok() {
                Ok(view) => {
                    let mut lines = view["windows"].as_array().into_iter().flatten();
                    let line = lines.find(|line| line["meter"] == meter && line["window"] == window);
                    last = line.cloned().unwrap_or_default();
                }
                Err(offence) if offence.is_unasked => return Err(offence),
                Err(_) => {}
            }
            if last["used"] == amount {
                return Ok(last.clone());
            }
            run.clock.sleep(Duration::from_millis(50)).await;
        }
    };
    let found = run.clock.timeout(run.limits.patience, waiting).await;
    found.unwrap_or_else(|| Err(Offence::new(format!("{amount} of {meter} used this {window}"), format!("{last}"))))
}

fn merged(one: &Value, other: &Value) -> Value {
    let fields = [one, other].into_iter().filter_map(Value::as_object).flatten();
    Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
}
