//! The routes.

use std::sync::PoisonError;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::super::book::{Offence, Promise, Sort};
use super::{Answered, Visit};

/// A route's promise.
pub(super) fn route(name: &str) -> Promise {
    Promise::new(Sort::Http, name)
}

const PEERS: &str = "GET /v1/peers";
const PEER: &str = "GET /v1/peers/{id}";
const CREATE: &str = "POST /v1/subscriptions";
const GET: &str = "GET /v1/subscriptions/{id}";
const VERIFY: &str = "POST /v1/subscriptions/{id}/verify";

/// A subscription bought through the API.
pub(super) struct Bought {
    pub(super) id: String,
    stripe_id: String,
}

/// What needs no money.
pub(super) async fn check(visit: &Visit<'_>) {
    problems(visit).await;
    peers(visit).await;
    subscriptions(visit).await;
}

/// Who may not pass is told so, in the one form of problems.
async fn problems(visit: &Visit<'_>) {
    let (promise, forms) = (route("problem"), &visit.forms);
    let nobody = visit.send(visit.public.request(Method::GET, "/v1/peers")).await;
    let outcome = nobody.and_then(|answer| {
        answer.problem(forms, 401, "authentication_missing")?;
        let challenge = answer.header("www-authenticate").to_owned();
        if challenge.starts_with("Bearer") { Ok(()) } else { Err(Offence::new("WWW-Authenticate: Bearer", challenge)) }
    });
    visit.book.judge(&promise, "without a token: 401 with a challenge", outcome);
    let forged = visit.public.request(Method::GET, "/v1/peers").bearer_auth("not.a.token");
    let outcome = visit.send(forged).await.and_then(|answer| answer.problem(forms, 401, "authentication_invalid"));
    visit.book.judge(&promise, "with a bad token: 401", outcome);
    let id = visit.unique("correlation");
    let answer = visit.call(Method::GET, "/v1/peers?limit=0", |call| call.header("X-Correlation-ID", &id)).await;
    let outcome = answer.and_then(|answer| ids(&answer, &id));
    visit.book.judge(&promise, "a caller's correlation id comes back, in the header and in the problem", outcome);
    let answer = visit.call(Method::GET, "/v1/nowhere", |call| call).await;
    let outcome = answer.and_then(|answer| answer.problem(forms, 404, "not_found"));
    visit.book.judge(&promise, "an unknown path: 404", outcome);
    let answer = visit.call(Method::DELETE, "/v1/peers", |call| call).await;
    let outcome = answer.and_then(|answer| answer.problem(forms, 405, "method_not_allowed"));
    visit.book.judge(&promise, "a method that the path has not: 405", outcome);
}

fn ids(answer: &Answered, id: &str) -> Result<(), Offence> {
    for (place, found) in [
        ("X-Correlation-ID", answer.header("x-correlation-id")),
        ("correlation_id", answer.body["correlation_id"].as_str().unwrap_or_default()),
    ] {
        if found != id {
            return Err(Offence::new(format!("{place} {id:?}"), format!("{found:?}")));
        }
    }
    let request = answer.header("x-request-id");
    if request.is_empty() { Err(Offence::new("an X-Request-ID", "none")) } else { Ok(()) }
}

async fn peers(visit: &Visit<'_>) {
    let forms = &visit.forms;
    let answer = visit.call(Method::GET, "/v1/peers?limit=5", |call| call).await;
    visit.book.judge(&route(PEERS), "a page of peers", answer.and_then(|answer| answer.good(&forms.page, 200)));
    for (name, path) in [
        ("a page of no peers: 400", "/v1/peers?limit=0"),
        ("an unknown parameter: 400", "/v1/peers?colour=red"),
        ("a page token of nobody: 400", "/v1/peers?after=!"),
    ] {
        let answer = visit.call(Method::GET, path, |call| call).await;
        let outcome = answer.and_then(|answer| answer.problem(forms, 400, "validation_failed"));
        visit.book.judge(&route(PEERS), name, outcome);
    }
    let nobody = format!("/v1/peers/{}", visit.unique("nobody"));
    let answer = visit.call(Method::GET, &nobody, |call| call).await;
    let outcome = answer.and_then(|answer| answer.problem(forms, 404, "peer_unknown"));
    visit.book.judge(&route(PEER), "an unknown peer: 404", outcome);
    let answer = visit.call(Method::GET, "/v1/peers/not%20an%20id", |call| call).await;
    let outcome = answer.and_then(|answer| answer.problem(forms, 400, "validation_failed"));
    visit.book.judge(&route(PEER), "an id that is none: 400", outcome);
}

async fn subscriptions(visit: &Visit<'_>) {
    let forms = &visit.forms;
    let good = json!({"price_id": "price_verify_none"});
    let post = async |key: Option<String>, kind: &str, body: String| {
        visit
            .call(Method::POST, "/v1/subscriptions", |call| {
                let call = call.header("Content-Type", kind).body(body);
                match key {
                    Some(key) => call.header("Idempotency-Key", key),
                    None => call,
                }
            })
            .await
    };
    let key = || Some(visit.unique("key"));
    let json_type = "application/json";
    let mut more = good.clone();
    more["x_unknown"] = json!(1);
    for (name, key, kind, body, status, code) in [
        ("without an Idempotency-Key: 400", None, json_type, good.to_string(), 400, "idempotency_key_missing"),
        ("a price off the list: 422", key(), json_type, good.to_string(), 422, "unknown_price"),
        ("a body that is no JSON: 400", key(), json_type, "{".to_owned(), 400, "malformed_request"),
        ("a field that nobody knows: 400", key(), json_type, more.to_string(), 400, "validation_failed"),
        ("without a required field: 400", key(), json_type, "{}".to_owned(), 400, "validation_failed"),
        ("another media type: 415", key(), "text/plain", good.to_string(), 415, "unsupported_media_type"),
    ] {
        let outcome = post(key, kind, body).await.and_then(|answer| answer.problem(forms, status, code));
        visit.book.judge(&route(CREATE), name, outcome);
    }
    let nobody = visit.unique("nobody");
    let answer = visit.call(Method::GET, &format!("/v1/subscriptions/{nobody}"), |call| call).await;
    let outcome = answer.and_then(|answer| answer.problem(forms, 404, "not_found"));
    visit.book.judge(&route(GET), "an unknown subscription: 404", outcome);
    let body = json!({"peer_id": "verify"});
    let path = format!("/v1/subscriptions/{nobody}/verify");
    let answer = visit.call(Method::POST, &path, |call| call.json(&body)).await;
    let outcome = answer.and_then(|answer| answer.problem(forms, 404, "not_found"));
    visit.book.judge(&route(VERIFY), "an unknown subscription: 404", outcome);
    let plain = visit.call(Method::GET, "/v1/ws", |call| call.header("Sec-WebSocket-Protocol", "synapse.v9")).await;
    let outcome = plain.and_then(|answer| answer.problem(forms, 400, "unsupported_protocol"));
    visit.book.judge(&route("GET /v1/ws"), "a protocol that is not spoken: 400", outcome);
}

/// Buys in test mode; gives what entitles.
pub(super) async fn buy(visit: &Visit<'_>) -> Option<Bought> {
    let stripe = visit.stripe?;
    let (forms, key) = (&visit.forms, visit.unique("buy"));
    let order = json!({"price_id": stripe.price, "payment_method_id": "pm_card_visa"});
    let post = async |order: &Value| {
        let call =
            visit.call(Method::POST, "/v1/subscriptions", |call| call.header("Idempotency-Key", &key).json(order));
        call.await
    };
    let open = || visit.open.lock().unwrap_or_else(PoisonError::into_inner);
    open().order = Some((key.clone(), order.clone()));
    let first = post(&order).await.and_then(|answer| {
        answer.good(&forms.subscription, 201)?;
        let location = answer.header("location").to_owned();
        let wanted = format!("/v1/subscriptions/{}", answer.body["subscription_id"].as_str().unwrap_or_default());
        if location == wanted { Ok(answer.body) } else { Err(Offence::new(format!("Location {wanted}"), location)) }
    });
    let view = visit.book.judge(&route(CREATE), "a subscription: 201 with its place", first)?;
    let id = view["subscription_id"].as_str()?.to_owned();
    let stripe_id = view["stripe_subscription_id"].as_str()?.to_owned();
    open().ids.push(stripe_id.clone());
    open().order = None;
    let again = post(&order).await.and_then(|answer| {
        answer.good(&forms.subscription, 201)?;
        if answer.body["subscription_id"] == id.as_str() {
            Ok(())
        } else {
            Err(Offence::new("the same subscription", "another one").with(&answer.text))
        }
    });
    visit.book.judge(&route(CREATE), "the same Idempotency-Key gives the same subscription", again);
    let mut other = order.clone();
    other["metadata"] = json!({"team": "other"});
    let outcome = post(&other).await.and_then(|answer| answer.problem(forms, 422, "idempotency_mismatch"));
    visit.book.judge(&route(CREATE), "the key with another wish: 422", outcome);
    let bought = Bought { id, stripe_id };
    let active = becomes(visit, &bought.id, "active").await;
    visit.book.judge(&route(GET), "it becomes active", active);
    Some(bought)
}

/// The subscription at Stripe that an order made which the run was interrupted at: the same key gives the same one.
pub(super) async fn ordered(visit: &Visit<'_>, key: &str, order: &Value) -> Option<String> {
    let call = visit.call(Method::POST, "/v1/subscriptions", |call| call.header("Idempotency-Key", key).json(order));
    call.await.ok()?.body["stripe_subscription_id"].as_str().map(str::to_owned)
}

async fn becomes(visit: &Visit<'_>, id: &str, status: &str) -> Result<(), Offence> {
    let mut last = "no answer".to_owned();
    let waiting = async {
        loop {
            match visit.call(Method::GET, &format!("/v1/subscriptions/{id}"), |call| call).await {
                Ok(answer) => {
                    answer.good(&visit.forms.subscription, 200)?;
                    if answer.body["status"] == status {
                        return Ok(());
                    }
                    last = answer.body["status"].to_string();
                }
                Err(offence) if offence.is_unasked => return Err(offence),
                Err(offence) => last = offence.got,
            }
            visit.clock.sleep(Duration::from_millis(100)).await;
        }
    };
    let done = visit.clock.timeout(visit.limits.patience * 2, waiting).await;
    done.unwrap_or_else(|| Err(Offence::new(format!("status {status}"), format!("it stays {last}"))))
}

/// A proof for a peer.
pub(super) async fn prove(visit: &Visit<'_>, bought: &Bought, peer: &str) -> Option<String> {
    let path = format!("/v1/subscriptions/{}/verify", bought.id);
    let answer = visit.call(Method::POST, &path, |call| call.json(&json!({"peer_id": peer}))).await;
    let outcome = answer.and_then(|answer| answer.good(&visit.forms.proof, 200).map(|()| answer.body));
    let reply = visit.book.judge(&route(VERIFY), "an entitled peer gets a proof", outcome)?;
    reply["proof"].as_str().map(str::to_owned)
}

/// A connected peer, as the API tells it.
pub(super) async fn sees(visit: &Visit<'_>, peer: &str) {
    let answer = visit.call(Method::GET, &format!("/v1/peers/{peer}"), |call| call).await;
    let outcome = answer.and_then(|answer| answer.good(&visit.forms.peer, 200));
    visit.book.judge(&route(PEER), "a connected peer", outcome);
}

/// Cancels at Stripe unless that happened already.
pub(super) async fn cancel(visit: &Visit<'_>, bought: &Bought) {
    let Some(stripe) = visit.stripe else { return };
    let open = || visit.open.lock().unwrap_or_else(PoisonError::into_inner);
    if !open().ids.contains(&bought.stripe_id) {
        return;
    }
    match stripe.cancel(&bought.stripe_id).await {
        Ok(()) => {
            open().ids.retain(|id| *id != bought.stripe_id);
            let canceled = becomes(visit, &bought.id, "canceled").await;
            visit.book.judge(&route(GET), "it becomes canceled", canceled);
            let path = format!("/v1/subscriptions/{}/verify", bought.id);
            let answer = visit.call(Method::POST, &path, |call| call.json(&json!({"peer_id": "verify"}))).await;
            let outcome = answer.and_then(|answer| answer.problem(&visit.forms, 402, "entitlement_lost"));
            visit.book.judge(&route(VERIFY), "without an entitlement: 402", outcome);
        }
        Err(error) => {
            visit.book.untestable(&route(GET), "it becomes canceled", format!("Stripe did not cancel: {error:#}"));
        }
    }
}
