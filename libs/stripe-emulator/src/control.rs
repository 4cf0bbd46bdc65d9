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
use crate::resources::checkout_sessions::{self, Payer};
use crate::resources::portal::{self, Action};
use crate::resources::{billing, subscription_changes, webhook_endpoints};
use crate::world::{Cause, World};

type Body<T> = Result<Json<T>, JsonRejection>;

/// Where tests and the demo steer the emulator.
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/_emulator/health", get(async || Json(json!({ "ok": true }))))
        .route("/_emulator/delivery", get(plan).post(set_plan))
        .route("/_emulator/deliveries", get(deliveries))
        .route("/_emulator/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/_emulator/requests", get(requests).delete(forget_requests))
        .route("/_emulator/subscriptions/{id}/status", post(force_status))
        .route("/_emulator/payment_intents/{id}/authenticate", post(authenticate))
        .route("/_emulator/checkout/sessions/{id}/complete", post(complete_checkout))
        .route("/_emulator/portal/sessions/{id}/{action}", post(act_in_portal))
        .route("/_emulator/events/{id}/resend", post(resend))
        .route("/_emulator/webhook_endpoints", post(add_endpoint))
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
        Ok(wanted) => act(&app, |world| subscription_changes::force_status(world, &id, &wanted.status)),
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
        Ok(wanted) => act(&app, |world| billing::authenticate(world, &id, wanted.succeed)),
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
            act(&app, |world| checkout_sessions::complete(world, &id, &payer))
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
    act(&app, |world| portal::act(world, &id, wish.subscription.as_deref(), &action))
}

async fn resend(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    act(&app, |world| world.resend(&id).map(|endpoints| json!({ "event": id, "endpoints": endpoints })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEndpoint {
    url: String,
    secret: String,
    #[serde(default = "every_event")]
    enabled_events: Vec<String>,
}

fn every_event() -> Vec<String> {
    vec!["*".to_owned()]
}

async fn add_endpoint(State(app): State<Arc<App>>, body: Body<NewEndpoint>) -> Response {
    match checked(body, |_| Ok(())) {
        Ok(new) => act(&app, |world| webhook_endpoints::add(world, &new.url, &new.secret, &new.enabled_events)),
        Err(problem) => refusal(&problem),
    }
}

fn act(app: &App, action: impl FnOnce(&mut World) -> Result<Value, ApiError>) -> Response {
    let mut world = app.world();
    world.begin(Cause::default());
    match action(&mut world) {
        Ok(mut value) => {
            world.version.shape(&mut value);
            Json(value).into_response()
        }
        Err(error) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
            (status, Json(error.body())).into_response()
        }
    }
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
