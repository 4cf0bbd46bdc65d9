//! The routes of plans and of subscriptions that are there.

use contracts::http::TicketIssued;
use contracts::requests::billing::UsageView;
use contracts::requests::subscription::{Plans, SubscriptionPage};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::book::{Offence, Promise};
use super::super::presence::expect;
use super::http::{Bought, route};
use super::{Answered, Visit, form};

const PLANS: &str = "GET /v1/plans";
const LIST: &str = "GET /v1/subscriptions";
const USAGE: &str = "GET /v1/subscriptions/{id}/usage";
const PLAN: &str = "POST /v1/subscriptions/{id}/plan";
const CANCEL: &str = "POST /v1/subscriptions/{id}/cancel";
const RESUME: &str = "POST /v1/subscriptions/{id}/resume";
const CHECKOUT: &str = "POST /v1/subscriptions/checkout";
const PORTAL: &str = "POST /v1/subscriptions/portal";
const TICKETS: &str = "POST /v1/tickets";
/// On nobody's list of return URLs (RFC 6761, section 6.4).
const ELSEWHERE: &str = "https://verify.invalid/";

const ROUTES: [&str; 9] = [PLANS, LIST, USAGE, PLAN, CANCEL, RESUME, CHECKOUT, PORTAL, TICKETS];

/// What needs no money.
pub(super) async fn check(visit: &Visit<'_>) {
    for (name, path, what, form) in [
        (PLANS, "/v1/plans", "what is on offer", form::<Plans>()),
        (LIST, "/v1/subscriptions?limit=5", "a page of subscriptions", form::<SubscriptionPage>()),
    ] {
        let answer = visit.call(Method::GET, path, |call| call).await;
        visit.book.judge(&route(name), what, answer.and_then(|answer| answer.good(&form, 200)));
    }
    let issued = visit.call(Method::POST, "/v1/tickets", |call| call).await;
    let issued = issued.and_then(|answer| answer.good(&form::<TicketIssued>(), 201));
    visit.book.judge(&route(TICKETS), "a ticket", issued);
    refused(visit).await;
}

async fn refused(visit: &Visit<'_>) {
    let nobodys = format!("/v1/subscriptions/{}", visit.unique("nobody"));
    let none = json!({"price_id": "price_verify_none"});
    let page = json!({"price_id": "price_verify_none", "success_url": ELSEWHERE, "cancel_url": ELSEWHERE});
    let (get, post) = (Method::GET, Method::POST);
    let (list, checkout) = ("/v1/subscriptions", "/v1/subscriptions/checkout".to_owned());
    let (unknown, invalid) = ((404, "not_found"), (400, "validation_failed"));
    for (name, what, method, path, body, (status, code)) in [
        (LIST, "a page of none: 400", &get, format!("{list}?limit=0"), None, invalid),
        (LIST, "an unknown parameter: 400", &get, format!("{list}?colour=red"), None, invalid),
        (USAGE, "an unknown subscription: 404", &get, format!("{nobodys}/usage"), None, unknown),
        (PLAN, "a price off the list: 422", &post, format!("{nobodys}/plan"), Some(none), (422, "unknown_price")),
        (CANCEL, "without a required field: 400", &post, format!("{nobodys}/cancel"), Some(json!({})), invalid),
        (CANCEL, "an unknown subscription: 404", &post, format!("{nobodys}/cancel"), Some(ending()), unknown),
        (RESUME, "an unknown subscription: 404", &post, format!("{nobodys}/resume"), None, unknown),
        (CHECKOUT, "a price off the list: 422", &post, checkout.clone(), Some(page.clone()), (422, "unknown_price")),
        (
            PORTAL,
            "an address off the list of return URLs: 400",
            &post,
            format!("{list}/portal"),
            Some(json!({"return_url": ELSEWHERE})),
            invalid,
        ),
    ] {
        let answer = send(visit, method, &path, body.as_ref(), true).await;
        let outcome = answer.and_then(|answer| answer.problem(&visit.forms, status, code));
        visit.book.judge(&route(name), what, outcome);
    }
    for (name, path, body) in [(PLAN, format!("{nobodys}/plan"), ending()), (CHECKOUT, checkout, page)] {
        let answer = send(visit, &post, &path, Some(&body), false).await;
        let outcome = answer.and_then(|answer| answer.problem(&visit.forms, 400, "idempotency_key_missing"));
        visit.book.judge(&route(name), "without an Idempotency-Key: 400", outcome);
    }
}

fn ending() -> Value {
    json!({"at_period_end": true})
}

async fn send(
    visit: &Visit<'_>,
    method: &Method,
    path: &str,
    body: Option<&Value>,
    with_key: bool,
) -> Result<Answered, Offence> {
    let key = visit.unique("key");
    let call = visit.call(method.clone(), path, |call| {
        let call = if with_key { call.header("Idempotency-Key", key) } else { call };
        match body {
            Some(body) => call.json(body),
            None => call,
        }
    });
    call.await
}

/// What may be asked of a subscription besides its end.
pub(super) async fn live(visit: &Visit<'_>, bought: &Bought, price: &str) {
    let path = format!("/v1/subscriptions/{}", bought.id);
    let used = send(visit, &Method::GET, &format!("{path}/usage"), None, false).await;
    let used = used.and_then(|answer| answer.good(&form::<UsageView>(), 200));
    visit.book.judge(&route(USAGE), "what was used of what is allowed", used);
    let price_id = json!({"price_id": price});
    for (name, what, action, body, field, expected) in [
        (PLAN, "the price it has already changes nothing", "plan", Some(price_id), "price_id", json!(price)),
        (CANCEL, "it ends with its period", "cancel", Some(ending()), "cancel_at_period_end", json!(true)),
        (RESUME, "its end is taken back", "resume", None, "cancel_at_period_end", json!(false)),
    ] {
        let answer = send(visit, &Method::POST, &format!("{path}/{action}"), body.as_ref(), true).await;
        let outcome = answer.and_then(|answer| {
            answer.good(&visit.forms.subscription, 200)?;
            expect(&answer.body, field, &expected)
        });
        visit.book.judge(&route(name), what, outcome);
    }
}

/// Their promises.
pub(super) fn promises() -> impl Iterator<Item = Promise> {
    ROUTES.into_iter().map(route)
}
