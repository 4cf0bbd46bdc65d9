//! The customer portal: configurations, sessions, and what a customer does on the hosted page.

use serde_json::{Value, json};

use super::{payment_methods, subscription_changes, subscriptions};
use crate::error::ApiError;
use crate::kind::Kind;
use crate::listing::{self, PAGING};
use crate::metadata;
use crate::params::Params;
use crate::world::World;

const SWITCHES: [&str; 5] =
    ["customer_update", "invoice_history", "payment_method_update", "subscription_cancel", "subscription_update"];

pub(crate) fn create_session(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    params.only(&["configuration", "customer", "flow_data", "locale", "return_url"])?;
    let customer = params.required("customer")?;
    world.referenced(Kind::Customer, &customer, "customer")?;
    let configuration = match params.text("configuration")? {
        Some(id) => world.referenced(Kind::PortalConfiguration, &id, "configuration")?,
        None => world
            .newest_first(Kind::PortalConfiguration)
            .find(|configuration| configuration["is_default"] == json!(true))
            .ok_or_else(|| ApiError::refused(None, "No configuration provided and there is no default one."))?,
    };
    let configuration_id = configuration["id"].clone();
    let return_url = params.text("return_url")?;
    if let Some(url) = &return_url {
        super::web_url(url, "return_url")?;
    }
    let default_url = configuration["default_return_url"].clone();
    let flow = flow(world, params, &customer)?;
    let id = world.id(Kind::PortalSession);
    let session = json!({
        "id": id, "object": "billing_portal.session",
        "configuration": configuration_id, "created": world.now_s(), "customer": customer, "customer_account": null,
        "flow": flow, "livemode": false, "locale": params.text("locale")?, "on_behalf_of": null,
        "return_url": return_url.map_or(default_url, Value::String),
        "url": format!("{}/p/session/{id}", world.base_url),
    });
    world.insert(Kind::PortalSession, session.clone())?;
    world.emit("billing_portal.session.created", &session, None);
    Ok(session)
}

pub(crate) fn session(world: &World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::PortalSession, id).cloned()
}

pub(crate) fn create_configuration(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    params.only(&["business_profile", "default_return_url", "features", "login_page", "metadata", "name"])?;
    if !params.has("features") {
        return Err(ApiError::parameter(Some("parameter_missing"), "features", "Missing required param: features."));
    }
    let mut configuration = configuration(world, false);
    apply(&mut configuration, params)?;
    world.insert(Kind::PortalConfiguration, configuration.clone())?;
    world.emit("billing_portal.configuration.created", &configuration, None);
    Ok(configuration)
}

pub(crate) fn retrieve_configuration(world: &World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::PortalConfiguration, id).cloned()
}

pub(crate) fn update_configuration(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["active", "business_profile", "default_return_url", "features", "login_page", "metadata", "name"])?;
    let mut changed = retrieve_configuration(world, id)?;
    if let Some(active) = params.boolean("active")? {
        changed["active"] = json!(active);
    }
    apply(&mut changed, params)?;
    changed["updated"] = json!(world.now_s());
    world.change(Kind::PortalConfiguration, id, "billing_portal.configuration.updated", |kept| *kept = changed)
}

pub(crate) fn list_configurations(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&[&PAGING[..], &["active", "is_default"]].concat())?;
    let active = listing::is(params, "active")?;
    let default = listing::is(params, "is_default")?;
    listing::page(world, Kind::PortalConfiguration, "/v1/billing_portal/configurations", params, |configuration| {
        active(configuration) && default(configuration)
    })
}

/// The configuration that every account has from the start.
pub(crate) fn seed(world: &mut World) -> Result<(), ApiError> {
    let configuration = configuration(world, true);
    world.insert(Kind::PortalConfiguration, configuration)
}

/// What a customer does in the portal.
pub(crate) enum Action {
    /// Cancels: at the end of the period, or at once, as the configuration says (`now` overrides it).
    Cancel { now: Option<bool>, feedback: Option<String>, comment: Option<String> },
    /// Takes a cancellation at the end of the period back.
    Resume,
    /// Changes the price of the first item, its quantity, or both.
    Update { price: Option<String>, quantity: Option<u32> },
    /// Gives another card, which becomes the default.
    PaymentMethod { card: String },
}

/// Does it to `subscription`, or to the customer's only one.
///
/// # Errors
/// 400 when the portal's configuration does not allow it or the subscription is not this customer's.
pub(crate) fn act(
    world: &mut World,
    session_id: &str,
    subscription: Option<&str>,
    action: &Action,
) -> Result<Value, ApiError> {
    let session = session(world, session_id)?;
    let customer = session["customer"].as_str().unwrap_or_default().to_owned();
    let configuration = retrieve_configuration(world, session["configuration"].as_str().unwrap_or_default())?;
    let features = &configuration["features"];
    let allowed = |feature: &str| {
        let refused = || ApiError::refused(None, format!("The portal's configuration does not allow {feature}."));
        (features[feature]["enabled"] == json!(true)).then_some(()).ok_or_else(refused)
    };
    if let Action::PaymentMethod { card } = action {
        allowed("payment_method_update")?;
        let card = payment_methods::attach_to(world, card, &customer, "payment_method")?;
        return world.change(Kind::Customer, &customer, "customer.updated", |customer| {
            customer["invoice_settings"]["default_payment_method"] = json!(card);
        });
    }
    let id = chosen(world, &customer, subscription)?;
    let wish = match action {
        Action::Cancel { now, feedback, comment } => {
            allowed("subscription_cancel")?;
            let details = json!({ "feedback": feedback.as_deref().unwrap_or_default(), "comment": comment.as_deref().unwrap_or_default() });
            if now.unwrap_or(features["subscription_cancel"]["mode"] == "immediately") {
                let wish = Params::of(json!({ "cancellation_details": details }));
                return subscription_changes::cancel(world, &id, &wish);
            }
            json!({ "cancel_at_period_end": "true", "cancellation_details": details })
        }
        Action::Resume => {
            allowed("subscription_cancel")?;
            json!({ "cancel_at_period_end": "false" })
        }
        Action::Update { price, quantity } => {
            allowed("subscription_update")?;
            let subscription = subscriptions::retrieve(world, &id)?;
            let mut item = json!({ "id": subscription["items"]["data"][0]["id"] });
            if let Some(price) = price {
                item["price"] = json!(price);
            }
            if let Some(quantity) = quantity {
                item["quantity"] = json!(quantity.to_string());
            }
            let proration = features["subscription_update"]["proration_behavior"].clone();
            json!({ "items": { "0": item }, "proration_behavior": proration })
        }
        Action::PaymentMethod { .. } => json!({}),
    };
    subscription_changes::update(world, &id, &Params::of(wish))
}

/// The customer's subscriptions that are not over, newest first.
pub(crate) fn subscriptions_of<'a>(world: &'a World, customer: &'a str) -> impl Iterator<Item = &'a Value> {
    world.newest_first(Kind::Subscription).filter(move |subscription| {
        subscription["customer"] == customer && !subscription_changes::is_final(subscription)
    })
}

fn chosen(world: &World, customer: &str, subscription: Option<&str>) -> Result<String, ApiError> {
    let mine: Vec<&str> = subscriptions_of(world, customer).filter_map(|one| one["id"].as_str()).collect();
    match (subscription, mine.as_slice()) {
        (Some(id), mine) if mine.contains(&id) => Ok(id.to_owned()),
        (Some(id), _) => Err(ApiError::missing_reference("subscription", id, "subscription")),
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => {
            let message = format!("The customer has {} subscriptions that are not over; name one.", mine.len());
            Err(ApiError::parameter(None, "subscription", message))
        }
    }
}

fn flow(world: &World, params: &Params, customer: &str) -> Result<Value, ApiError> {
    if !params.has("flow_data") {
        return Ok(Value::Null);
    }
    let sent = params.nested("flow_data")?;
    let kinds = ["payment_method_update", "subscription_cancel", "subscription_update"];
    sent.only(&[&kinds[..], &["type"]].concat())?;
    sent.required("type")?;
    let kind = sent.choice("type", &kinds)?.unwrap_or_default();
    let mut flow = json!({
        "after_completion": { "hosted_confirmation": null, "redirect": null, "type": "portal_homepage" },
        "subscription_cancel": null, "subscription_update": null, "subscription_update_confirm": null, "type": kind,
    });
    if kind != "payment_method_update" {
        let inner = sent.nested(&kind)?;
        inner.only(&["subscription"])?;
        let id = inner.required("subscription")?;
        let subscription = world.referenced(Kind::Subscription, &id, &inner.name("subscription"))?;
        if subscription["customer"] != customer {
            return Err(ApiError::missing_reference("subscription", &id, inner.name("subscription")));
        }
        flow[&kind] = json!({ "subscription": id });
        if kind == "subscription_cancel" {
            flow[&kind]["retention"] = Value::Null;
        }
    }
    Ok(flow)
}

fn apply(configuration: &mut Value, params: &Params) -> Result<(), ApiError> {
    super::set_texts(configuration, params, &["default_return_url", "name"])?;
    let profile = params.nested("business_profile")?;
    let texts = ["headline", "privacy_policy_url", "terms_of_service_url"];
    profile.only(&texts)?;
    super::set_texts(&mut configuration["business_profile"], &profile, &texts)?;
    params.nested("login_page")?.only(&["enabled"])?;
    configuration["metadata"] = metadata::merged(&configuration["metadata"], params)?;
    let features = params.nested("features")?;
    features.only(&SWITCHES)?;
    for name in SWITCHES {
        let sent = features.nested(name)?;
        let feature = &mut configuration["features"][name];
        if let Some(enabled) = sent.boolean("enabled")? {
            feature["enabled"] = json!(enabled);
        }
        if name == "subscription_cancel"
            && let Some(mode) = sent.choice("mode", &["at_period_end", "immediately"])?
        {
            feature["mode"] = json!(mode);
        }
        let prorations = ["always_invoice", "create_prorations", "none"];
        if let Some(behavior) = sent.choice("proration_behavior", &prorations)? {
            feature["proration_behavior"] = json!(behavior);
        }
        for list in ["allowed_updates", "default_allowed_updates"] {
            if sent.has(list) && !feature[list].is_null() {
                feature[list] = json!(sent.texts(list)?);
            }
        }
    }
    Ok(())
}

fn configuration(world: &World, default: bool) -> Value {
    // The account's own configuration lets customers do everything; a new one only what it says.
    let on = default;
    json!({
        "id": world.id(Kind::PortalConfiguration), "object": "billing_portal.configuration",
        "active": true, "application": null,
        "business_profile": { "headline": null, "privacy_policy_url": null, "terms_of_service_url": null },
        "created": world.now_s(), "default_return_url": null,
        "features": {
            "customer_update": { "allowed_updates": ["email", "tax_id"], "enabled": on },
            "invoice_history": { "enabled": on },
            "payment_method_update": { "enabled": on, "payment_method_configuration": null },
            "subscription_cancel": {
                "cancellation_reason": { "enabled": false, "feedback_options": null, "options": [] },
                "enabled": on, "mode": "at_period_end", "proration_behavior": "none",
            },
            "subscription_pause": {
                "duration": { "interval_options": [], "type": "indefinite" }, "enabled": false,
            },
            "subscription_update": {
                "billing_cycle_anchor": null, "default_allowed_updates": ["price", "quantity"], "enabled": on,
                "proration_behavior": "none", "schedule_at_period_end": { "conditions": [] },
                "trial_update_behavior": "end_trial",
            },
        },
        "is_default": default, "livemode": false, "login_page": { "enabled": false, "url": null }, "metadata": {},
        "name": null, "updated": world.now_s(),
    })
}
