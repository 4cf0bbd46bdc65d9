//! Thin events (`v2.core.event`): what happened to which object, without the object.
//! Source: Stripe's API reference, "Events v2".

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::announce::matches;
use crate::error::ApiError;
use crate::kind::Kind;
use crate::listing;
use crate::params::Params;
use crate::world::World;

/// Where the object a thin event speaks of is found, by the object's kind.
const PATHS: [(&str, &str); 13] = [
    ("billing_portal.configuration", "/v1/billing_portal/configurations"),
    ("checkout.session", "/v1/checkout/sessions"),
    ("customer", "/v1/customers"),
    ("entitlements.active_entitlement", "/v1/entitlements/active_entitlements"),
    ("invoice", "/v1/invoices"),
    ("payment_intent", "/v1/payment_intents"),
    ("payment_method", "/v1/payment_methods"),
    ("price", "/v1/prices"),
    ("product", "/v1/products"),
    ("subscription", "/v1/subscriptions"),
    ("test_helpers.test_clock", "/v1/test_helpers/test_clocks"),
    ("v2.core.event_destination", "/v2/core/event_destinations"),
    ("webhook_endpoint", "/v1/webhook_endpoints"),
];

/// Makes the thin twin of an event, if a destination wants it, and queues it for every one that does.
pub(crate) fn announce(world: &mut World, event: &Value) {
    let event_type = format!("v1.{}", event["type"].as_str().unwrap_or_default());
    let targets = targets(world, &event_type);
    if targets.is_empty() {
        return;
    }
    let mut thin = object(world, &event_type, &event["data"]["object"]);
    thin["snapshot_event"] = event["id"].clone();
    if !event["request"]["id"].is_null() {
        let key = event["request"]["idempotency_key"].as_str().unwrap_or_default();
        let request = json!({ "id": event["request"]["id"], "idempotency_key": key });
        thin["reason"] = json!({ "type": "request", "request": request });
    }
    send(world, thin, &targets);
}

/// Sends a ping to one destination, whatever it listens to.
pub(crate) fn ping(world: &mut World, destination: &Value) -> Value {
    let thin = object(world, "v2.core.event_destination.ping", destination);
    let id = destination["id"].as_str().unwrap_or_default().to_owned();
    send(world, thin, &[id])
}

pub(crate) fn retrieve(world: &World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::ThinEvent, id).cloned()
}

pub(crate) fn list(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&["created", "limit", "object_id", "page", "types"])?;
    let object = params.text("object_id")?;
    let types = params.texts("types")?;
    let bounds = params.nested("created")?;
    bounds.only(&["gt", "gte", "lt", "lte"])?;
    let moment = |name: &str| -> Result<Option<Timestamp>, ApiError> {
        let Some(text) = bounds.text(name)? else { return Ok(None) };
        let bad = |_| ApiError::parameter(None, bounds.name(name), "Has to be an RFC 3339 time.");
        text.parse().map(Some).map_err(bad)
    };
    let (gt, gte, lt, lte) = (moment("gt")?, moment("gte")?, moment("lt")?, moment("lte")?);
    listing::v2_page(world, Kind::ThinEvent, "/v2/core/events", params, |event| {
        let created = event["created"].as_str().and_then(|text| text.parse::<Timestamp>().ok()).unwrap_or_default();
        let in_time = gt.is_none_or(|bound| created > bound)
            && gte.is_none_or(|bound| created >= bound)
            && lt.is_none_or(|bound| created < bound)
            && lte.is_none_or(|bound| created <= bound);
        let about = object.as_deref().is_none_or(|id| event["related_object"]["id"] == id);
        in_time && about && (types.is_empty() || types.iter().any(|wanted| event["type"] == wanted.as_str()))
    })
}

/// A moment as the second API writes it.
pub(crate) fn rfc3339(at_s: i64) -> String {
    let moment = Timestamp::from_second(at_s).unwrap_or_default();
    format!("{moment:.3}")
}

fn send(world: &mut World, thin: Value, targets: &[String]) -> Value {
    for destination in targets {
        world.deliver_as_is(&thin, destination);
    }
    world.keep_newest(Kind::ThinEvent, thin.clone(), world.limits.events);
    thin
}

fn targets(world: &World, event_type: &str) -> Vec<String> {
    let connected = world.account().is_some();
    let wants = |destination: &&Value| {
        let types = destination["enabled_events"].as_array();
        destination["status"] == "enabled"
            && destination["event_payload"] == "thin"
            && destination["_connect"] == json!(connected)
            && types.is_some_and(|types| types.iter().filter_map(Value::as_str).any(|of| matches(of, event_type)))
    };
    let id = |destination: &Value| destination["id"].as_str().map(str::to_owned);
    world.platform(Kind::EventDestination).filter(wants).filter_map(id).collect()
}

fn object(world: &World, event_type: &str, about: &Value) -> Value {
    let mut thin = json!({
        "id": world.id(Kind::ThinEvent),
        "object": "v2.core.event",
        "created": rfc3339(world.now_s()),
        "livemode": false,
        "type": event_type,
    });
    if let Some(account) = world.account() {
        thin["context"] = json!(account);
    }
    let kind = about["object"].as_str().unwrap_or_default();
    if let (Some((_, path)), Some(id)) = (PATHS.iter().find(|(known, _)| *known == kind), about["id"].as_str()) {
        thin["related_object"] = json!({ "id": id, "type": kind, "url": format!("{path}/{id}") });
    }
    thin
}
