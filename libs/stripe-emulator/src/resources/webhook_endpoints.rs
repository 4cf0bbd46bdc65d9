use serde_json::{Value, json};
use url::{Host, Url};

use crate::error::ApiError;
use crate::ids;
use crate::kind::Kind;
use crate::listing::{self, PAGING};
use crate::metadata;
use crate::params::Params;
use crate::version::ApiVersion;
use crate::world::World;

/// How long an old secret may go on to sign. Source: Stripe's documentation, "Roll endpoint secrets": up to 24 hours.
const LONGEST_OVERLAP_S: u64 = 86_400;

pub(crate) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    params.only(&["api_version", "connect", "description", "enabled_events", "metadata", "url"])?;
    let url = params.required("url")?;
    params.required_list("enabled_events")?;
    let secret = ids::webhook_secret(&world.entropy);
    let mut endpoint = add(world, &url, &secret, &params.texts("enabled_events")?)?;
    let id = endpoint["id"].as_str().unwrap_or_default().to_owned();
    endpoint["_connect"] = json!(params.boolean("connect")?.unwrap_or(false));
    let applied = apply(&mut endpoint, params);
    if let Err(error) = applied {
        forget(world, &id);
        return Err(error);
    }
    world.modify(Kind::WebhookEndpoint, &id, |kept| *kept = endpoint.clone())?;
    // The only answer that shows the secret.
    endpoint["secret"] = json!(secret);
    Ok(endpoint)
}

pub(crate) fn retrieve(world: &World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::WebhookEndpoint, id).cloned()
}

pub(crate) fn update(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["description", "disabled", "enabled_events", "metadata", "url"])?;
    let mut changed = retrieve(world, id)?;
    apply(&mut changed, params)?;
    if let Some(url) = params.text("url")? {
        changed["url"] = json!(loopback(&url)?);
        world.deliveries.redirect(id, &url);
    }
    if params.has("enabled_events") {
        changed["enabled_events"] = json!(params.texts("enabled_events")?);
    }
    if let Some(disabled) = params.boolean("disabled")? {
        changed["status"] = json!(if disabled { "disabled" } else { "enabled" });
    }
    world.modify(Kind::WebhookEndpoint, id, |endpoint| *endpoint = changed).map(|(_, endpoint)| endpoint)
}

pub(crate) fn delete(world: &mut World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::WebhookEndpoint, id)?;
    forget(world, id);
    Ok(json!({ "id": id, "object": "webhook_endpoint", "deleted": true }))
}

pub(crate) fn list(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&PAGING)?;
    listing::page(world, Kind::WebhookEndpoint, "/v1/webhook_endpoints", params, |_| true)
}

/// Adds an endpoint with a given secret and begins to deliver to it.
///
/// # Errors
/// 400 naming `url`, `secret` or `enabled_events`, or when there are too many.
pub(crate) fn add(world: &mut World, url: &str, secret: &str, events: &[String]) -> Result<Value, ApiError> {
    let url = loopback(url)?;
    check_secret(secret)?;
    if events.is_empty() || events.len() > 300 {
        return Err(ApiError::parameter(None, "enabled_events", "Give 1 to 300 event types, or `*`."));
    }
    let endpoint = json!({
        "id": world.id(Kind::WebhookEndpoint),
        "object": "webhook_endpoint",
        "api_version": null,
        "application": null,
        "created": world.now_s(),
        "description": null,
        "enabled_events": events,
        "_connect": false,
        "livemode": false,
        "metadata": {},
        "status": "enabled",
        "url": url,
    });
    world.insert(Kind::WebhookEndpoint, endpoint.clone())?;
    world.deliveries.open(endpoint["id"].as_str().unwrap_or_default(), &url, secret);
    Ok(endpoint)
}

/// Gives an endpoint another secret; the one before signs as well until it expires.
///
/// # Errors
/// 404 when there is no such endpoint, 400 naming `secret` or `expire_in_s`.
pub(crate) fn roll(world: &World, id: &str, secret: Option<String>, expire_in_s: u64) -> Result<Value, ApiError> {
    if world.find(Kind::EventDestination, id).is_none() {
        world.get(Kind::WebhookEndpoint, id)?;
    }
    let secret = secret.unwrap_or_else(|| ids::webhook_secret(&world.entropy));
    check_secret(&secret)?;
    if expire_in_s > LONGEST_OVERLAP_S {
        return Err(ApiError::parameter(None, "expire_in_s", "The old secret can stay for up to 24 hours."));
    }
    world.deliveries.roll(id, &secret, expire_in_s);
    Ok(json!({ "id": id, "secret": secret }))
}

fn check_secret(secret: &str) -> Result<(), ApiError> {
    if secret.starts_with("whsec_") && secret.len() >= 12 {
        return Ok(());
    }
    let message = "A signing secret begins with whsec_ and has 12 or more bytes.";
    Err(ApiError::parameter(None, "secret", message))
}

fn forget(world: &mut World, id: &str) {
    world.remove(Kind::WebhookEndpoint, id);
    world.deliveries.close(id);
}

fn apply(endpoint: &mut Value, params: &Params) -> Result<(), ApiError> {
    if let Some(version) = params.text("api_version")? {
        if ApiVersion::parse(&version).is_none() {
            let message = format!("Invalid Stripe API version: {version}");
            return Err(ApiError::parameter(None, "api_version", message));
        }
        endpoint["api_version"] = json!(version);
    }
    super::set_texts(endpoint, params, &["description"])?;
    endpoint["metadata"] = metadata::merged(&endpoint["metadata"], params)?;
    Ok(())
}

// An emulator that posted to any address could be used to reach one that its caller cannot.
pub(crate) fn loopback(url: &str) -> Result<String, ApiError> {
    let refused = |rule: &str| ApiError::parameter(Some("url_invalid"), "url", format!("Invalid URL: {rule}"));
    let parsed = Url::parse(url).map_err(|_| refused("an explicit scheme (such as https) must be provided."))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(refused("the scheme has to be http or https."));
    }
    let local = match parsed.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if local { Ok(url.to_owned()) } else { Err(refused("the emulator delivers to loopback addresses only.")) }
}
