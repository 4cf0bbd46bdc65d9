use serde_json::{Value, json};

use super::billing;
use super::payment_methods::Charged;
use crate::error::ApiError;
use crate::ids;
use crate::kind::Kind;
use crate::listing::{self, PAGING};
use crate::params::Params;
use crate::world::World;

pub(crate) fn retrieve(world: &World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::PaymentIntent, id).cloned()
}

pub(crate) fn list(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&[&PAGING[..], &["customer"]].concat())?;
    let customer = listing::equals(params, "customer")?;
    listing::page(world, Kind::PaymentIntent, "/v1/payment_intents", params, customer)
}

/// The payer confirms: the invoice behind the intent is charged.
pub(crate) fn confirm(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["client_secret", "payment_method", "return_url"])?;
    let intent = retrieve(world, id)?;
    if !matches!(intent["status"].as_str(), Some("requires_payment_method" | "requires_confirmation")) {
        let message = format!(
            "You cannot confirm this PaymentIntent because it has a status of {}.",
            intent["status"].as_str().unwrap_or_default()
        );
        return Err(ApiError::refused(Some("payment_intent_unexpected_state"), message).with("payment_intent", intent));
    }
    let card = match params.text("payment_method")? {
        Some(card) => Some(card),
        None => intent["payment_method"].as_str().map(str::to_owned).or_else(|| world.default_card.clone()),
    };
    let card = card.ok_or_else(|| {
        let message = "You cannot confirm this PaymentIntent because it's missing a payment method.";
        ApiError::refused(Some("payment_intent_unexpected_state"), message)
    })?;
    let invoice = intent["invoice"].as_str().unwrap_or_default().to_owned();
    match billing::charge(world, &invoice, &card)? {
        Charged::Declined(code) => Err(ApiError::card_declined(code).with("payment_intent", retrieve(world, id)?)),
        Charged::Succeeds | Charged::NeedsAction => retrieve(world, id),
    }
}

/// A new intent for an open invoice.
pub(crate) fn object(world: &World, invoice: &Value) -> Value {
    let id = world.id(Kind::PaymentIntent);
    json!({
        "id": id,
        "object": "payment_intent",
        "amount": invoice["amount_due"],
        "amount_capturable": 0,
        "amount_details": { "tip": {} },
        "allowed_payment_method_types": null,
        "amount_received": 0,
        "application": null,
        "application_fee_amount": null,
        "automatic_payment_methods": null,
        "canceled_at": null,
        "cancellation_reason": null,
        "capture_method": "automatic",
        "client_secret": ids::client_secret(&world.entropy, &id),
        "confirmation_method": "automatic",
        "created": world.now_s(),
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_account": null,
        "description": "Subscription creation",
        "excluded_payment_method_types": null,
        "invoice": invoice["id"],
        "last_payment_error": null,
        "latest_charge": null,
        "livemode": false,
        "managed_payments": null,
        "metadata": {},
        "next_action": null,
        "on_behalf_of": null,
        "payment_method": null,
        "payment_method_configuration_details": null,
        "payment_method_options": {
            "card": { "installments": null, "mandate_options": null, "network": null, "request_three_d_secure": "automatic" },
        },
        "payment_method_types": ["card"],
        "payment_record": null,
        "processing": null,
        "receipt_email": null,
        "review": null,
        "setup_future_usage": "off_session",
        "shipping": null,
        "source": null,
        "statement_descriptor": null,
        "statement_descriptor_suffix": null,
        "status": "requires_payment_method",
        "transfer_data": null,
        "transfer_group": null,
    })
}

pub(crate) fn succeed(world: &mut World, id: &str, card: &str) -> Result<(), ApiError> {
    let (_, intent) = world.modify(Kind::PaymentIntent, id, |intent| {
        intent["status"] = json!("succeeded");
        intent["amount_received"] = intent["amount"].clone();
        intent["payment_method"] = json!(card);
        intent["last_payment_error"] = Value::Null;
        intent["next_action"] = Value::Null;
    })?;
    world.emit("payment_intent.succeeded", &intent, None);
    Ok(())
}

pub(crate) fn decline(world: &mut World, id: &str, card: &str, code: &str) -> Result<(), ApiError> {
    let error = ApiError::card_declined(code).with("payment_method", json!({ "id": card, "object": "payment_method" }));
    let (_, intent) = world.modify(Kind::PaymentIntent, id, |intent| {
        intent["status"] = json!("requires_payment_method");
        intent["payment_method"] = Value::Null;
        intent["last_payment_error"] = error.body()["error"].clone();
        intent["next_action"] = Value::Null;
    })?;
    world.emit("payment_intent.payment_failed", &intent, None);
    Ok(())
}

pub(crate) fn ask_for_action(world: &mut World, id: &str, card: &str) -> Result<(), ApiError> {
    let (_, intent) = world.modify(Kind::PaymentIntent, id, |intent| {
        intent["status"] = json!("requires_action");
        intent["payment_method"] = json!(card);
        intent["last_payment_error"] = Value::Null;
        intent["next_action"] = json!({
            "type": "use_stripe_sdk",
            "use_stripe_sdk": { "type": "three_d_secure_redirect", "stripe_js": "" },
        });
    })?;
    world.emit("payment_intent.requires_action", &intent, None);
    Ok(())
}

pub(crate) fn cancel(world: &mut World, id: &str) -> Result<(), ApiError> {
    let now_s = world.now_s();
    let (_, intent) = world.modify(Kind::PaymentIntent, id, |intent| {
        intent["status"] = json!("canceled");
        intent["canceled_at"] = json!(now_s);
        intent["cancellation_reason"] = json!("void_invoice");
        intent["next_action"] = Value::Null;
    })?;
    world.emit("payment_intent.canceled", &intent, None);
    Ok(())
}
