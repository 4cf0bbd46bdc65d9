//! The way of one API request: body, key, version, parameters, fault, idempotency, endpoint, answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use crate::app::App;
use crate::call::{Call, header};
use crate::error::ApiError;
use crate::faults::{Fault, FaultKind, Stage};
use crate::idempotency::{Begin, InFlight, Stored};
use crate::journal::Outcome;
use crate::resources::test_clocks;
use crate::socket::Line;
use crate::world::{Cause, World};
use crate::{ids, render, routes, spoiled, time};

/// The largest request body read, in bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// An answer before it becomes HTTP.
struct Answer {
    status: u16,
    body: String,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    /// Whether an idempotency key keeps it.
    keep: bool,
    /// How the body is spoiled on its way.
    spoiled: Option<Box<Fault>>,
}

impl Answer {
    fn json(status: u16, body: &Value) -> Self {
        // Stripe indents its answers.
        let body = format!("{body:#}\n");
        Self { status, body, content_type: "application/json", headers: Vec::new(), keep: true, spoiled: None }
    }

    fn error(error: &ApiError) -> Self {
        Self { keep: error.executed, ..Self::json(error.status, &error.body()) }
    }
}

/// Answers every request that is not for the control endpoints.
pub(crate) async fn serve(
    State(app): State<Arc<App>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response<Body> {
    let request_id = ids::request(&app.entropy);
    let (parts, body) = request.into_parts();
    let parsed = match to_bytes(body, MAX_BODY_BYTES).await {
        Ok(body) => Call::parse(&parts, &body, request_id.clone(), app.api_key.as_deref(), &app.version),
        Err(_) => Err(ApiError::too_large(MAX_BODY_BYTES)),
    };
    let key = header(&parts.headers, "idempotency-key");
    let (answer, version) = match parsed {
        Ok(call) => {
            app.journal().arrived(&call.method, &call.path, call.idempotency_key.as_deref(), app.requests_counted);
            (handle(&app, &call, &line).await, call.version)
        }
        Err(error) => {
            app.journal().arrived(parts.method.as_str(), "(refused)", None, app.requests_counted);
            (Answer::error(&error), app.version.clone())
        }
    };
    let length = answer.body.len();
    let body = match &answer.spoiled {
        Some(fault) => spoiled::body(&app, &line, answer.body, fault),
        None => Body::from(answer.body),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let common = [
        ("content-type", answer.content_type.to_owned()),
        // Said also of a spoiled body: its reader has to know what is missing.
        ("content-length", length.to_string()),
        ("request-id", request_id),
        ("stripe-version", version.as_str().to_owned()),
    ];
    let echoed = key.map(|key| ("idempotency-key", key.to_owned()));
    for (name, value) in common.into_iter().chain(echoed).chain(answer.headers) {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

async fn handle(app: &App, call: &Call, line: &Line) -> Answer {
    if !app.rate().admits(app.clock.now_ms() / 1_000) {
        let mut answer = Answer::error(&ApiError::injected(429));
        answer.headers.push(("stripe-rate-limited-reason", "global-rate".to_owned()));
        return answer;
    }
    let fault = app.faults().take(&call.method, &call.path, call.idempotency_key.as_deref());
    match fault {
        Some(fault) if fault.stage == Stage::Before && !runs(&fault) => strike(app, line, &fault).await,
        fault => under_key(app, call, line, fault.as_ref()).await,
    }
}

/// Faults that pass through the idempotency layer: a slow request does run, and Stripe keeps its own 5xx errors.
fn runs(fault: &Fault) -> bool {
    fault.kind.spoils_answer() || (fault.kind == FaultKind::Error && fault.status() >= 500)
}

async fn under_key(app: &App, call: &Call, line: &Line, fault: Option<&Fault>) -> Answer {
    let guard = match claim(app, call) {
        Ok(guard) => guard,
        Err(answer) => return answer,
    };
    let slow = fault.filter(|fault| fault.kind == FaultKind::Slow);
    if let Some(fault) = slow
        && !hold(app, fault).await
    {
        line.reset();
        return Answer::error(&ApiError::injected(503));
    }
    let error = fault.filter(|fault| fault.kind == FaultKind::Error);
    let answer = match error {
        Some(fault) if fault.stage == Stage::Before => error_answer(fault),
        _ => run(app, call),
    };
    let answer = match error {
        Some(fault) if fault.stage == Stage::After => error_answer(fault),
        _ => answer,
    };
    if let Some(guard) = guard {
        settle(app, call, guard, &answer);
    }
    match fault {
        Some(fault) if matches!(fault.kind, FaultKind::Drip | FaultKind::Cut) => {
            Answer { spoiled: Some(Box::new(fault.clone())), ..answer }
        }
        Some(fault) if slow.is_none() && error.is_none() => strike(app, line, fault).await,
        _ => answer,
    }
}

fn claim(app: &App, call: &Call) -> Result<Option<InFlight>, Answer> {
    let Some(key) = &call.idempotency_key else { return Ok(None) };
    // Keys of different accounts have nothing to do with each other.
    let scoped = call.account.as_ref().map_or_else(|| key.clone(), |account| format!("{account} {key}"));
    match app.keys.begin(&scoped, call.fingerprint(), app.clock.now_ms()) {
        Begin::Fresh(guard) => Ok(Some(guard)),
        Begin::Replay(stored) => {
            app.journal().ended(key, Outcome::Replayed);
            let headers = vec![("idempotent-replayed", "true".to_owned()), ("original-request", stored.request_id)];
            let content_type = "application/json";
            Err(Answer { status: stored.status, body: stored.body, content_type, headers, keep: false, spoiled: None })
        }
        Begin::Mismatch => {
            app.journal().ended(key, Outcome::Conflict);
            Err(Answer::error(&ApiError::idempotency_mismatch(key)))
        }
        Begin::InUse => {
            app.journal().ended(key, Outcome::Conflict);
            Err(Answer::error(&ApiError::idempotency_in_use(key)))
        }
    }
}

fn settle(app: &App, call: &Call, guard: InFlight, answer: &Answer) {
    if let Some(key) = &call.idempotency_key {
        app.journal().ended(key, Outcome::Executed);
    }
    if answer.keep {
        let stored = Stored { status: answer.status, body: answer.body.clone(), request_id: call.request_id.clone() };
        guard.finish(stored, app.clock.now_ms());
    }
}

/// Runs the endpoint and renders its result, all under the world's lock.
fn run(app: &App, call: &Call) -> Answer {
    let mut world = app.world();
    time::catch_up(&mut world);
    let result = answer(&mut world, call);
    after(&mut world, call);
    match result {
        Ok(body) => Answer::json(200, &body),
        Err(error) => Answer::error(&error),
    }
}

fn answer(world: &mut World, call: &Call) -> Result<Value, ApiError> {
    world.begin(Cause { request_id: Some(call.request_id.clone()), idempotency_key: call.idempotency_key.clone() });
    if let Some(account) = &call.account {
        world.enter(account)?;
    }
    let clock = timeline(world, call);
    world.be_at(clock.and_then(|clock| test_clocks::frozen_s(world, &clock)));
    let object = routes::route(world, call)?;
    render::render(world, object, &call.version, &call.expand)
}

/// What goes on behind the answer: payers confirm, test clocks arrive, what is due at once happens.
fn after(world: &mut World, call: &Call) {
    crate::resources::billing::confirm_pending(world);
    if let Some(clock) = timeline(world, call)
        && let Some(now_s) = test_clocks::frozen_s(world, &clock)
    {
        world.cause = Cause::default();
        time::run(world, Some(&clock), now_s);
    }
    time::advance(world);
    time::catch_up(world);
}

/// The test clock that the objects of a call live on.
fn timeline(world: &World, call: &Call) -> Option<String> {
    let params = ["customer", "test_clock"].into_iter().filter_map(|name| call.params.text(name).ok().flatten());
    let segments = call.path.split('/').filter(|part| part.contains('_')).map(str::to_owned);
    params.chain(segments).find_map(|id| world.test_clock_of(&id))
}

fn error_answer(fault: &Fault) -> Answer {
    let mut answer = Answer::error(&ApiError::injected(fault.status()));
    decorate(&mut answer, fault);
    answer
}

fn decorate(answer: &mut Answer, fault: &Fault) {
    answer.headers.extend(fault.retry_after_s.map(|seconds| ("retry-after", seconds.to_string())));
    if answer.status == 429 {
        answer.headers.push(("stripe-rate-limited-reason", "global-rate".to_owned()));
    }
    answer.headers.extend(fault.should_retry.map(|retry| ("stripe-should-retry", retry.to_string())));
}

/// What the caller sees of a fault that hides the real answer.
async fn strike(app: &App, line: &Line, fault: &Fault) -> Answer {
    match fault.kind {
        FaultKind::Error => error_answer(fault),
        FaultKind::Html => {
            let status = fault.status();
            let body = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\n");
            let mut answer =
                Answer { status, body, content_type: "text/html", headers: Vec::new(), keep: false, spoiled: None };
            decorate(&mut answer, fault);
            answer
        }
        FaultKind::Timeout => {
            hold(app, fault).await;
            line.reset();
            Answer::error(&ApiError::injected(504))
        }
        FaultKind::Reset | FaultKind::Slow | FaultKind::Drip | FaultKind::Cut => {
            line.reset();
            Answer::error(&ApiError::injected(502))
        }
    }
}

/// Waits out the fault's delay; false when the emulator stops first.
async fn hold(app: &App, fault: &Fault) -> bool {
    tokio::select! {
        () = app.stop.cancelled() => false,
        () = app.clock.sleep(Duration::from_millis(fault.delay_ms())) => true,
    }
}
