//! Checkout sessions in subscription mode. A payer completes one on its hosted page or through a control call.

use serde_json::{Map, Value, json};

use super::payment_methods::{self, Charged};
use super::{billing, customers, prices, subscriptions};
use crate::error::ApiError;
use crate::ids;
use crate::kind::Kind;
use crate::listing::{self, PAGING};
use crate::metadata;
use crate::params::Params;
use crate::world::World;

/// How long a session can be completed when nothing else is said, and the shortest and longest that can be asked for.
/// Source: Stripe's API reference, "expires_at".
const OPEN_S: i64 = 24 * 3_600;
const SHORTEST_S: i64 = 30 * 60;

/// What may be sent besides; taken and ignored, because it changes only what the hosted page looks like.
const LOOKS: [&str; 8] = [
    "allow_promotion_codes",
    "billing_address_collection",
    "custom_text",
    "locale",
    "payment_method_types",
    "phone_number_collection",
    "submit_type",
    "tax_id_collection",
];

pub(crate) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    let known = [
        "cancel_url",
        "client_reference_id",
        "customer",
        "customer_email",
        "customer_update",
        "expires_at",
        "line_items",
        "metadata",
        "mode",
        "payment_method_collection",
        "return_url",
        "subscription_data",
        "success_url",
        "ui_mode",
    ];
    params.only(&[&known[..], &LOOKS].concat())?;
    params.required("mode")?;
    params.choice("mode", &["subscription"])?;
    let hosted = hosted(params)?;
    let customer = params.text("customer")?;
    if let Some(customer) = &customer {
        world.referenced(Kind::Customer, customer, "customer")?;
        if params.has("customer_email") {
            let message = "You may only specify one of these parameters: customer, customer_email.";
            return Err(ApiError::parameter(None, "customer_email", message));
        }
    }
    let (items, currency) = line_items(world, params)?;
    let trial = subscription_data(world, params)?;
    let id = world.id(Kind::CheckoutSession);
    let total: i64 = items.iter().filter_map(|item| item["amount_total"].as_i64()).sum();
    let mut session = object(world, &id, &currency, if trial { 0 } else { total });
    session["metadata"] = metadata::merged(&session["metadata"], params)?;
    let texts = ["cancel_url", "client_reference_id", "customer_email", "locale", "success_url"];
    super::set_texts(&mut session, params, &texts)?;
    session["customer"] = json!(customer);
    session["_test_clock"] = customer.as_ref().map_or(Value::Null, |customer| json!(world.test_clock_of(customer)));
    session["customer_creation"] = json!(if customer.is_some() { Value::Null } else { json!("always") });
    session["expires_at"] = json!(expires_at(world, params)?);
    session["payment_method_collection"] = json!(
        params.choice("payment_method_collection", &["always", "if_required"])?.unwrap_or_else(|| "always".to_owned())
    );
    session["line_items"] = json!({
        "object": "list", "data": items, "has_more": false, "url": format!("/v1/checkout/sessions/{id}/line_items"),
    });
    session["_subscription_data"] = params.nested("subscription_data")?.to_value();
    if hosted {
        session["url"] = json!(format!("{}/c/pay/{id}", world.base_url));
    } else {
        session["client_secret"] = json!(ids::client_secret(&world.entropy, &id));
        session["return_url"] = json!(params.text("return_url")?);
        session["ui_mode"] = json!("embedded");
    }
    world.insert(Kind::CheckoutSession, session.clone())?;
    Ok(session)
}

pub(crate) fn retrieve(world: &World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::CheckoutSession, id).cloned()
}

pub(crate) fn update(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["metadata"])?;
    let merged = metadata::merged(&retrieve(world, id)?["metadata"], params)?;
    world.modify(Kind::CheckoutSession, id, |session| session["metadata"] = merged).map(|(_, session)| session)
}

pub(crate) fn list(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&[&PAGING[..], &["customer", "status", "subscription"]].concat())?;
    params.choice("status", &["complete", "expired", "open"])?;
    let customer = listing::equals(params, "customer")?;
    let status = listing::equals(params, "status")?;
    let subscription = listing::equals(params, "subscription")?;
    listing::page(world, Kind::CheckoutSession, "/v1/checkout/sessions", params, |session| {
        customer(session) && status(session) && subscription(session)
    })
}

pub(crate) fn line_items_of(world: &World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&PAGING)?;
    Ok(world.get(Kind::CheckoutSession, id)?["line_items"].clone())
}

/// Ends an open session unused.
///
/// # Errors
/// 400 when it is not open.
pub(crate) fn expire(world: &mut World, id: &str) -> Result<Value, ApiError> {
    if retrieve(world, id)?["status"] != "open" {
        let message = "Only Checkout Sessions with a status in [\"open\"] can be expired.";
        return Err(ApiError::refused(None, message));
    }
    let (_, session) = world.modify(Kind::CheckoutSession, id, |session| {
        session["status"] = json!("expired");
        session["url"] = Value::Null;
    })?;
    world.emit("checkout.session.expired", &session, None);
    Ok(session)
}

/// What the payer does on the hosted page.
pub(crate) struct Payer {
    /// A test card such as `pm_card_visa`.
    pub(crate) card: String,
    pub(crate) email: Option<String>,
    /// Whether the payer passes the bank's authentication, where the card asks for one.
    pub(crate) authenticates: bool,
}

/// The payer completes the session: customer, card and subscription come into being.
///
/// # Errors
/// 402 when the card is refused or not authenticated: the session stays open. 400 when it is not open.
pub(crate) fn complete(world: &mut World, id: &str, payer: &Payer) -> Result<Value, ApiError> {
    let session = retrieve(world, id)?;
    if session["status"] != "open" {
        let message = format!("This Checkout Session is {}, not open.", session["status"]);
        return Err(ApiError::refused(Some("checkout_session_not_open"), message));
    }
    let card = payment_methods::resolve(world, &payer.card, "payment_method")?;
    let outcome = payment_methods::outcome(&payment_methods::retrieve(world, &card)?);
    let due = session["amount_total"].as_i64().unwrap_or(0);
    match outcome {
        Charged::Declined(code) if due > 0 => return Err(ApiError::card_declined(code)),
        Charged::NeedsAction if due > 0 && !payer.authenticates => {
            return Err(ApiError::card_declined("authentication_required"));
        }
        _ => {}
    }
    let customer = customer_of(world, &session, payer)?;
    let card = payment_methods::attach_to(world, &card, &customer, "payment_method")?;
    let subscription = subscribe(world, &session, &customer, &card)?;
    let subscription_id = subscription["id"].as_str().unwrap_or_default();
    if outcome == Charged::NeedsAction && due > 0 {
        let invoice = subscription["latest_invoice"].as_str().unwrap_or_default();
        let intent = world.get(Kind::Invoice, invoice)?["payment_intent"].as_str().unwrap_or_default().to_owned();
        billing::authenticate(world, &intent, true)?;
    }
    let person = world.get(Kind::Customer, &customer)?.clone();
    let (_, done) = world.modify(Kind::CheckoutSession, id, |session| {
        session["status"] = json!("complete");
        session["payment_status"] = json!(if due > 0 { "paid" } else { "no_payment_required" });
        session["customer"] = json!(customer);
        session["customer_details"] = details(&person);
        session["subscription"] = json!(subscription_id);
        session["invoice"] = subscription["latest_invoice"].clone();
        session["url"] = Value::Null;
    })?;
    world.emit("checkout.session.completed", &done, None);
    Ok(done)
}

fn customer_of(world: &mut World, session: &Value, payer: &Payer) -> Result<String, ApiError> {
    if let Some(customer) = session["customer"].as_str() {
        return Ok(customer.to_owned());
    }
    let email = session["customer_email"].as_str().map(str::to_owned).or_else(|| payer.email.clone());
    let email = email.unwrap_or_else(|| "payer@example.com".to_owned());
    let customer = customers::create(world, &Params::of(json!({ "email": email })))?;
    Ok(customer["id"].as_str().unwrap_or_default().to_owned())
}

fn subscribe(world: &mut World, session: &Value, customer: &str, card: &str) -> Result<Value, ApiError> {
    let mut wish = session["_subscription_data"].as_object().cloned().unwrap_or_else(Map::new);
    let items = session["line_items"]["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let item = |item: &Value| json!({ "price": item["price"]["id"], "quantity": item["quantity"].to_string() });
    let items: Map<String, Value> = items.iter().enumerate().map(|(at, one)| (at.to_string(), item(one))).collect();
    wish.insert("items".to_owned(), Value::Object(items));
    wish.insert("customer".to_owned(), json!(customer));
    wish.insert("default_payment_method".to_owned(), json!(card));
    subscriptions::create(world, &Params::of(Value::Object(wish)))
}

fn details(customer: &Value) -> Value {
    json!({
        "address": customer["address"], "business_name": null, "email": customer["email"], "individual_name": null,
        "name": customer["name"], "phone": customer["phone"], "tax_exempt": "none", "tax_ids": [],
    })
}

fn hosted(params: &Params) -> Result<bool, ApiError> {
    let mode = params.choice("ui_mode", &["embedded", "embedded_page", "hosted", "hosted_page"])?;
    let hosted = !mode.is_some_and(|mode| mode.starts_with("embedded"));
    let needed = if hosted { "success_url" } else { "return_url" };
    params.required(needed)?;
    for field in ["cancel_url", "return_url", "success_url"] {
        if let Some(url) = params.text(field)? {
            super::web_url(&url, field)?;
        }
    }
    Ok(hosted)
}

fn line_items(world: &World, params: &Params) -> Result<(Vec<Value>, String), ApiError> {
    params.required_list("line_items")?;
    let mut items = Vec::new();
    for sent in params.list("line_items")? {
        sent.only(&["adjustable_quantity", "price", "quantity"])?;
        let param = sent.name("price");
        let price = world.referenced(Kind::Price, &sent.required("price")?, &param)?;
        prices::sellable(price, &param)?;
        let quantity = sent.integer_in("quantity", 1..=999_999)?.unwrap_or(1);
        let amount = price["unit_amount"].as_i64().unwrap_or(0).saturating_mul(quantity);
        let product = world.find(Kind::Product, price["product"].as_str().unwrap_or_default());
        items.push(json!({
            "id": ids::object(&world.entropy, "li"), "object": "item", "adjustable_quantity": null,
            "amount_discount": 0, "amount_subtotal": amount, "amount_tax": 0, "amount_total": amount,
            "currency": price["currency"], "description": product.map(|product| product["name"].clone()),
            "metadata": {}, "price": price, "quantity": quantity,
        }));
    }
    let currency = items.first().and_then(|item| item["currency"].as_str()).unwrap_or_default().to_owned();
    if items.len() > 20 || items.iter().any(|item| item["currency"] != currency.as_str()) {
        let message = "Give 1 to 20 line items of one currency.";
        return Err(ApiError::parameter(None, "line_items", message));
    }
    Ok((items, currency))
}

/// Checks the subscription's parameters now rather than when the payer has paid; true when it begins with a trial.
fn subscription_data(world: &World, params: &Params) -> Result<bool, ApiError> {
    let sent = params.nested("subscription_data")?;
    sent.only(&["description", "metadata", "trial_end", "trial_period_days", "trial_settings"])?;
    metadata::merged(&json!({}), &sent)?;
    Ok(subscriptions::trial_end(world, &sent)?.is_some())
}

fn expires_at(world: &World, params: &Params) -> Result<i64, ApiError> {
    let now_s = world.now_s();
    let until = params.integer("expires_at")?.unwrap_or(now_s + OPEN_S);
    if (now_s + SHORTEST_S..=now_s + OPEN_S).contains(&until) {
        return Ok(until);
    }
    let message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from now.";
    Err(ApiError::parameter(None, "expires_at", message))
}

fn object(world: &World, id: &str, currency: &str, total: i64) -> Value {
    json!({
        "id": id, "object": "checkout.session",
        "adaptive_pricing": { "enabled": false }, "after_expiration": null, "allow_promotion_codes": null,
        "allowed_payment_method_types": null, "amount_subtotal": total, "amount_total": total,
        "automatic_tax": { "enabled": false, "liability": null, "provider": null, "status": null },
        "billing_address_collection": null, "cancel_url": null, "client_reference_id": null, "client_secret": null,
        "collected_information": null, "consent": null, "consent_collection": null, "created": world.now_s(),
        "currency": currency, "currency_conversion": null, "custom_fields": [],
        "custom_text": {
            "after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null,
        },
        "customer": null, "customer_account": null, "customer_creation": null, "customer_details": null,
        "customer_email": null, "discounts": [], "expires_at": null, "integration_identifier": null, "invoice": null, "invoice_creation": null,
        "livemode": false, "locale": null, "managed_payments": null, "metadata": {}, "mode": "subscription", "origin_context": null,
        "payment_intent": null, "payment_link": null, "payment_method_collection": "always",
        "payment_method_configuration_details": null,
        "payment_method_options": { "card": { "request_three_d_secure": "automatic" } },
        "payment_method_types": ["card"], "payment_status": "unpaid", "permissions": null,
        "phone_number_collection": { "enabled": false }, "recovered_from": null,
        "saved_payment_method_options": {
            "allow_redisplay_filters": ["always"], "payment_method_remove": "disabled", "payment_method_save": null,
        },
        "setup_intent": null, "shipping_address_collection": null, "shipping_cost": null, "shipping_details": null,
        "shipping_options": [], "status": "open", "submit_type": null, "subscription": null, "success_url": null,
        "total_details": { "amount_discount": 0, "amount_shipping": 0, "amount_tax": 0 },
        "ui_mode": "hosted", "url": null, "wallet_options": null,
    })
}
