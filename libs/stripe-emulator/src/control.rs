//! The control endpoints under `/_emulator/`: JSON in, JSON out, without a key.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::delivery::DeliveryPlan;
use crate::error::ApiError;
use crate::faults::{Fault, Faults};
use crate::journal::Journal;
use crate::options::Dunning;
use crate::resources::checkout_sessions::{self, Payer};
use crate::resources::portal::{self, Action};
use crate::resources::{billing, subscription_changes, test_clocks, webhook_endpoints};
use crate::world::{Cause, World};
use crate::{render, time};

/// Ten years.
const MOST_AHEAD_S: i64 = 3_652 * 86_400;

type Body<T> = Result<Json<T>, JsonRejection>;

/// Where tests and the demo steer the emulator.
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/_emulator/health", get(async || Json(json!({ "ok": true }))))
        .route("/_emulator/delivery", get(plan).post(set_plan))
        .route("/_emulator/deliveries", get(deliveries))
        .route("/_emulator/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/_emulator/clock", get(clock).post(move_clock))
        .route("/_emulator/settings", get(settings).post(set_settings))
        .route("/_emulator/requests", get(requests).delete(forget_requests))
        .route("/_emulator/subscriptions/{id}/status", post(force_status))
        .route("/_emulator/payment_intents/{id}/authenticate", post(authenticate))
        .route("/_emulator/checkout/sessions/{id}/complete", post(complete_checkout))
        .route("/_emulator/portal/sessions/{id}/{action}", post(act_in_portal))
        .route("/_emulator/events/{id}/resend", post(resend))
        .route("/_emulator/events", post(make_up))
        .route("/_emulator/webhook_endpoints", post(add_endpoint))
        .route("/_emulator/webhook_endpoints/{id}/roll", post(roll))
}

async fn plan(State(app): State<Arc<App>>) -> Json<DeliveryPlan> {
    Json(app.deliveries.plan())
}

async fn set_plan(State(app): State<Arc<App>>, body: Body<DeliveryPlan>) -> Response {
    let plan = match checked(body, DeliveryPlan::check) {
        Ok(plan) => plan,
        Err(problem) => return refusal(&problem),
    };
    app.deliveries.set_plan(plan.clone());
    Json(plan).into_response()
}

async fn deliveries(State(app): State<Arc<App>>) -> Json<Value> {
    let (pending, data) = app.deliveries.seen();
    Json(json!({ "plan": app.deliveries.plan(), "pending": pending, "data": data }))
}

async fn faults(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({ "data": app.faults().waiting() }))
}

async fn add_fault(State(app): State<Arc<App>>, body: Body<Fault>) -> Response {
    let fault = match checked(body, Fault::check) {
        Ok(fault) => fault,
        Err(problem) => return refusal(&problem),
    };
    if app.faults().add(fault.clone(), app.faults_limit) {
        Json(fault).into_response()
    } else {
        refusal(&format!("{} faults already wait; DELETE /_emulator/faults forgets them", app.faults_limit))
    }
}

async fn clear_faults(State(app): State<Arc<App>>) -> Json<Value> {
    app.faults().clear();
    Json(json!({ "data": Faults::default().waiting() }))
}

async fn clock(State(app): State<Arc<App>>) -> Json<Value> {
    let world = app.world();
    Json(json!({ "now_s": world.own_now_s(), "ahead_s": world.ahead_s }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ahead {
    advance_s: i64,
}

/// Moves the emulator's own time ahead of its clock; signatures, retries and keys stay on the clock.
async fn move_clock(State(app): State<Arc<App>>, body: Body<Ahead>) -> Response {
    let bounds = |wish: &Ahead| {
        let good = (1..=MOST_AHEAD_S).contains(&wish.advance_s);
        if good { Ok(()) } else { Err(format!("advance_s: has to be 1 to {MOST_AHEAD_S} (ten years)")) }
    };
    match checked(body, bounds) {
        Ok(wish) => {
            {
                let mut world = app.world();
                if world.ahead_s + wish.advance_s > MOST_AHEAD_S {
                    return refusal("advance_s: the emulator's time would be more than ten years ahead");
                }
                world.ahead_s += wish.advance_s;
                time::catch_up(&mut world);
            }
            clock(State(app)).await.into_response()
        }
        Err(problem) => refusal(&problem),
    }
}

async fn settings(State(app): State<Arc<App>>) -> Json<Dunning> {
    Json(app.world().dunning.clone())
}

async fn set_settings(State(app): State<Arc<App>>, body: Body<Dunning>) -> Response {
    match checked(body, Dunning::check) {
        Ok(dunning) => {
            app.world().dunning = dunning.clone();
            Json(dunning).into_response()
        }
        Err(problem) => refusal(&problem),
    }
}

async fn requests(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!(*app.journal()))
}

async fn forget_requests(State(app): State<Arc<App>>) -> Json<Value> {
    *app.journal() = Journal::default();
    Json(json!(Journal::default()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    status: String,
}

async fn force_status(State(app): State<Arc<App>>, Path(id): Path<String>, body: Body<Status>) -> Response {
    match checked(body, |_| Ok(())) {
        Ok(wanted) => act(&app, &id, |world| subscription_changes::force_status(world, &id, &wanted.status)),
        Err(problem) => refusal(&problem),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Authentication {
    succeed: bool,
}

async fn authenticate(State(app): State<Arc<App>>, Path(id): Path<String>, body: Body<Authentication>) -> Response {
    match checked(body, |_| Ok(())) {
        Ok(wanted) => act(&app, &id, |world| billing::authenticate(world, &id, wanted.succeed)),
        Err(problem) => refusal(&problem),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkout {
    #[serde(default = "good_card")]
    payment_method: String,
    #[serde(default)]
    email: Option<String>,
    /// Whether the payer passes the bank's authentication, where the card asks for one.
    #[serde(default = "yes")]
    authenticate: bool,
}

fn good_card() -> String {
    "pm_card_visa".to_owned()
}

fn yes() -> bool {
    true
}

async fn complete_checkout(State(app): State<Arc<App>>, Path(id): Path<String>, body: Body<Checkout>) -> Response {
    match checked(body, |_| Ok(())) {
        Ok(Checkout { payment_method, email, authenticate }) => {
            let payer = Payer { card: payment_method, email, authenticates: authenticate };
            act(&app, &id, |world| checkout_sessions::complete(world, &id, &payer))
        }
        Err(problem) => refusal(&problem),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InPortal {
    /// Needed only when the customer has several.
    #[serde(default)]
    subscription: Option<String>,
    /// `cancel`: at once rather than as the configuration says.
    #[serde(default)]
    now: Option<bool>,
    #[serde(default)]
    feedback: Option<String>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    price: Option<String>,
    #[serde(default)]
    quantity: Option<u32>,
    #[serde(default = "good_card")]
    payment_method: String,
}

async fn act_in_portal(
    State(app): State<Arc<App>>,
    Path((id, action)): Path<(String, String)>,
    body: Body<InPortal>,
) -> Response {
    let wish = match checked(body, |_| Ok(())) {
        Ok(wish) => wish,
        Err(problem) => return refusal(&problem),
    };
    let action = match action.as_str() {
        "cancel" => Action::Cancel { now: wish.now, feedback: wish.feedback, comment: wish.comment },
        "resume" => Action::Resume,
        "update" => Action::Update { price: wish.price, quantity: wish.quantity },
        "payment_method" => Action::PaymentMethod { card: wish.payment_method },
        other => return refusal(&format!("`{other}` is none of cancel, resume, update, payment_method")),
    };
    act(&app, &id, |world| portal::act(world, &id, wish.subscription.as_deref(), &action))
}

async fn resend(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    act(&app, &id, |world| world.resend(&id).map(|endpoints| json!({ "event": id, "endpoints": endpoints })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEndpoint {
    url: String,
    secret: String,
    #[serde(default = "every_event")]
    enabled_events: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Roll {
    #[serde(default)]
    secret: Option<String>,
    #[serde(default = "one_day_s")]
    expire_in_s: u64,
}

fn one_day_s() -> u64 {
    86_400
}

async fn roll(State(app): State<Arc<App>>, Path(id): Path<String>, body: Body<Roll>) -> Response {
    match checked(body, |_| Ok(())) {
        Ok(wish) => act(&app, &id, |world| webhook_endpoints::roll(world, &id, wish.secret, wish.expire_in_s)),
        Err(problem) => refusal(&problem),
    }
}

/// An event nothing happened for. Members of `event` (`id`, `livemode`, `api_version`, `created`, …) replace those it
/// would have; `raw` is signed and sent to every endpoint as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MadeUp {
    #[serde(default)]
    event: Option<Value>,
    #[serde(default)]
    raw: Option<Value>,
    #[serde(default)]
    account: Option<String>,
}

async fn make_up(State(app): State<Arc<App>>, body: Body<MadeUp>) -> Response {
    let one_of = |wish: &MadeUp| match (&wish.event, &wish.raw) {
        (Some(event), None) if event["type"].is_string() && event["data"].is_object() => Ok(()),
        (Some(_), None) => Err("event: needs a `type` (text) and `data` (object)".to_owned()),
        (None, Some(_)) => Ok(()),
        _ => Err("give either `event` or `raw`".to_owned()),
    };
    match checked(body, one_of) {
        Ok(wish) => act(&app, "", |world| {
            if let Some(account) = &wish.account {
                world.enter(account)?;
            }
            match (wish.event, wish.raw) {
                (Some(event), _) => Ok(world.announce(event)),
                (None, raw) => Ok(json!({ "endpoints": world.send_raw(&raw.unwrap_or_default()) })),
            }
        }),
        Err(problem) => refusal(&problem),
    }
}

fn every_event() -> Vec<String> {
    vec!["*".to_owned()]
}

async fn add_endpoint(State(app): State<Arc<App>>, body: Body<NewEndpoint>) -> Response {
    match checked(body, |_| Ok(())) {
        Ok(new) => act(&app, "", |world| webhook_endpoints::add(world, &new.url, &new.secret, &new.enabled_events)),
        Err(problem) => refusal(&problem),
    }
}

/// Acts on the account that has the object `id`, at that object's time.
fn act(app: &App, id: &str, action: impl FnOnce(&mut World) -> Result<Value, ApiError>) -> Response {
    let mut world = app.world();
    begin(&mut world, id);
    let done = action(&mut world).and_then(|value| render::render(&world, value, &world.version, &[]));
    time::catch_up(&mut world);
    match done {
        Ok(value) => Json(value).into_response(),
        Err(error) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
            (status, Json(error.body())).into_response()
        }
    }
}

/// Begins what no API request of the account stands behind.
pub(crate) fn begin(world: &mut World, id: &str) {
    time::catch_up(world);
    world.begin(Cause::default());
    world.enter_owner(id);
    let clock = world.test_clock_of(id);
    world.be_at(clock.and_then(|clock| test_clocks::frozen_s(world, &clock)));
}

fn checked<T>(body: Body<T>, check: impl FnOnce(&T) -> Result<(), String>) -> Result<T, String> {
    let Json(value) = body.map_err(|rejection| rejection.body_text())?;
    check(&value)?;
    Ok(value)
}

fn refusal(message: &str) -> Response {
    let error = json!({ "error": { "type": "emulator_error", "message": message } });
    (StatusCode::BAD_REQUEST, Json(error)).into_response()
}
