//! Event destinations of the second API: webhook endpoints that take thin events, or snapshots of one API version.

use serde_json::{Value, json};

use super::thin_events::{self, rfc3339};
use super::webhook_endpoints::loopback;
use crate::error::ApiError;
use crate::ids;
use crate::kind::Kind;
use crate::listing;
use crate::metadata;
use crate::params::Params;
use crate::version::ApiVersion;
use crate::world::World;

pub(crate) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    params.only(&[
        "description",
        "enabled_events",
        "event_payload",
        "events_from",
        "include",
        "metadata",
        "name",
        "snapshot_api_version",
        "type",
        "webhook_endpoint",
    ])?;
    params.required("type")?;
    params.choice("type", &["webhook_endpoint"])?;
    params.required("event_payload")?;
    let payload = params.choice("event_payload", &["snapshot", "thin"])?;
    params.required_list("enabled_events")?;
    let from = params.texts("events_from")?;
    let endpoint = params.nested("webhook_endpoint")?;
    endpoint.only(&["url"])?;
    let url = loopback(&endpoint.required("url")?)?;
    let version = params.text("snapshot_api_version")?;
    if version.as_deref().is_some_and(|version| ApiVersion::parse(version).is_none()) {
        return Err(ApiError::parameter(None, "snapshot_api_version", "Invalid Stripe API version."));
    }
    let now = rfc3339(world.now_s());
    let mut destination = json!({
        "id": world.id(Kind::EventDestination), "object": "v2.core.event_destination", "created": now,
        "description": "", "enabled_events": params.texts("enabled_events")?, "event_payload": payload,
        "events_from": if from.is_empty() { vec!["self".to_owned()] } else { from.clone() }, "livemode": false,
        "metadata": {}, "name": params.required("name")?, "status": "enabled", "type": "webhook_endpoint", "updated": now, "webhook_endpoint": {},
        "_connect": from.iter().any(|from| from == "other_accounts"), "_url": url,
    });
    // The second API leaves out what there is not, where the first says null.
    if let Some(version) = version {
        destination["snapshot_api_version"] = json!(version);
    }
    apply(&mut destination, params)?;
    world.insert(Kind::EventDestination, destination.clone())?;
    let secret = ids::webhook_secret(&world.entropy);
    world.deliveries.open(destination["id"].as_str().unwrap_or_default(), &url, &secret);
    let mut shown = with_url(destination, params)?;
    // The only answer that can show the secret.
    if params.texts("include")?.iter().any(|part| part == "webhook_endpoint.signing_secret") {
        shown["webhook_endpoint"]["signing_secret"] = json!(secret);
    }
    Ok(shown)
}

pub(crate) fn retrieve(world: &World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["include"])?;
    with_url(world.get(Kind::EventDestination, id)?.clone(), params)
}

pub(crate) fn update(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["description", "enabled_events", "include", "metadata", "name", "webhook_endpoint"])?;
    let mut changed = world.get(Kind::EventDestination, id)?.clone();
    if params.has("enabled_events") {
        changed["enabled_events"] = json!(params.texts("enabled_events")?);
    }
    let endpoint = params.nested("webhook_endpoint")?;
    endpoint.only(&["url"])?;
    if let Some(url) = endpoint.text("url")? {
        changed["_url"] = json!(loopback(&url)?);
        world.deliveries.redirect(id, &url);
    }
    apply(&mut changed, params)?;
    with_url(save(world, id, changed)?, params)
}

/// Stops or begins to deliver to a destination.
pub(crate) fn switch(world: &mut World, id: &str, on: bool) -> Result<Value, ApiError> {
    let mut changed = world.get(Kind::EventDestination, id)?.clone();
    changed["status"] = json!(if on { "enabled" } else { "disabled" });
    if on {
        changed.as_object_mut().and_then(|fields| fields.remove("status_details"));
    } else {
        changed["status_details"] = json!({ "disabled": { "reason": "user" } });
    }
    save(world, id, changed)
}

pub(crate) fn ping(world: &mut World, id: &str) -> Result<Value, ApiError> {
    let destination = world.get(Kind::EventDestination, id)?.clone();
    Ok(thin_events::ping(world, &destination))
}

pub(crate) fn delete(world: &mut World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::EventDestination, id)?;
    world.remove(Kind::EventDestination, id);
    world.deliveries.close(id);
    Ok(json!({ "id": id, "object": "v2.core.event_destination" }))
}

pub(crate) fn list(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&["include", "limit", "page"])?;
    listing::v2_page(world, Kind::EventDestination, "/v2/core/event_destinations", params, |_| true)
}

fn save(world: &mut World, id: &str, mut changed: Value) -> Result<Value, ApiError> {
    changed["updated"] = json!(rfc3339(world.now_s()));
    world.modify(Kind::EventDestination, id, |kept| *kept = changed).map(|(_, destination)| destination)
}

fn with_url(mut destination: Value, params: &Params) -> Result<Value, ApiError> {
    if params.texts("include")?.iter().any(|part| part == "webhook_endpoint.url") {
        destination["webhook_endpoint"]["url"] = destination["_url"].clone();
    }
    Ok(destination)
}

fn apply(destination: &mut Value, params: &Params) -> Result<(), ApiError> {
    for field in ["description", "name"] {
        if let Some(text) = params.text(field)? {
            destination[field] = json!(text);
        }
    }
    destination["metadata"] = metadata::merged(&destination["metadata"], params)?;
    Ok(())
}
