use serde_json::{Value, json};

use crate::error::ApiError;
use crate::kind::Kind;
use crate::listing::{self, PAGING};
use crate::metadata;
use crate::params::Params;
use crate::world::World;

/// What happens when a card is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charged {
    Succeeds,
    Declined(&'static str),
    NeedsAction,
}

/// Stripe's test cards: token after `pm_card_` or `tok_`, brand, last four digits.
/// Source: Stripe's documentation, "Test cards".
const CARDS: [(&str, &str, &str); 8] = [
    ("visa", "visa", "4242"),
    ("mastercard", "mastercard", "4444"),
    ("amex", "amex", "0005"),
    ("chargeCustomerFail", "visa", "0341"),
    ("authenticationRequired", "visa", "3184"),
    ("visa_chargeDeclined", "visa", "0002"),
    ("chargeDeclined", "visa", "0002"),
    ("visa_chargeDeclinedInsufficientFunds", "visa", "9995"),
];

pub(crate) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    params.only(&["type", "card", "metadata"])?;
    params.required("type")?;
    params.choice("type", &["card"])?;
    let card = params.nested("card")?;
    card.only(&["token", "number", "exp_month", "exp_year", "cvc"])?;
    let found = match (card.text("token")?, card.text("number")?) {
        (Some(token), _) => test_card(&token),
        (None, Some(number)) => number.get(number.len().saturating_sub(4)..).and_then(by_last4),
        (None, None) => {
            let message = "Missing required param: card[token].";
            return Err(ApiError::parameter(Some("parameter_missing"), "card[token]", message));
        }
    };
    let (brand, last4) = found.ok_or_else(|| {
        ApiError::parameter(Some("incorrect_number"), "card[number]", "Only Stripe's test cards are accepted here.")
    })?;
    let mut method = object(&world.id(Kind::PaymentMethod), brand, last4, world.now_s());
    method["metadata"] = metadata::merged(&method["metadata"], params)?;
    world.insert(Kind::PaymentMethod, method.clone())?;
    Ok(method)
}

pub(crate) fn retrieve(world: &World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::PaymentMethod, id).cloned()
}

pub(crate) fn attach(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["customer"])?;
    let customer = params.required("customer")?;
    world.referenced(Kind::Customer, &customer, "customer")?;
    let id = attach_to(world, id, &customer, "payment_method")?;
    retrieve(world, &id)
}

pub(crate) fn detach(world: &mut World, id: &str) -> Result<Value, ApiError> {
    let (before, method) = world.modify(Kind::PaymentMethod, id, |method| method["customer"] = Value::Null)?;
    if let Some(customer) = before["customer"].as_str() {
        let clear = |customer: &mut Value| {
            if customer["invoice_settings"]["default_payment_method"] == id {
                customer["invoice_settings"]["default_payment_method"] = Value::Null;
            }
        };
        world.change(Kind::Customer, customer, "customer.updated", clear)?;
        world.emit("payment_method.detached", &method, None);
    }
    Ok(method)
}

pub(crate) fn list(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&[&PAGING[..], &["customer", "type"]].concat())?;
    let customer = listing::equals(params, "customer")?;
    let kind = listing::equals(params, "type")?;
    listing::page(world, Kind::PaymentMethod, "/v1/payment_methods", params, |method| {
        !method["customer"].is_null() && customer(method) && kind(method)
    })
}

pub(crate) fn list_of_customer(world: &World, customer: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&[&PAGING[..], &["type"]].concat())?;
    world.get(Kind::Customer, customer)?;
    let kind = listing::equals(params, "type")?;
    let url = format!("/v1/customers/{customer}/payment_methods");
    listing::page(world, Kind::PaymentMethod, &url, params, |method| method["customer"] == customer && kind(method))
}

/// Attaches a payment method, or a new one of a test token such as `pm_card_visa`, to a customer; returns its id.
///
/// # Errors
/// 400 when it does not exist or belongs to another customer, 402 when the bank refuses the card even so.
pub(crate) fn attach_to(world: &mut World, id: &str, customer: &str, param: &str) -> Result<String, ApiError> {
    let id = resolve(world, id, param)?;
    let method = retrieve(world, &id)?;
    if let Charged::Declined(code) = outcome(&method)
        && method["card"]["last4"] != "0341"
    {
        return Err(ApiError::card_declined(code));
    }
    if !method["customer"].is_null() && method["customer"] != customer {
        let message = "The payment method you provided has already been attached to a customer.";
        return Err(ApiError::refused(None, message).at(param));
    }
    let (_, method) = world.modify(Kind::PaymentMethod, &id, |method| method["customer"] = json!(customer))?;
    world.emit("payment_method.attached", &method, None);
    Ok(id)
}

/// The id of an existing payment method, or of a new one made from a test token.
///
/// # Errors
/// 400 `resource_missing` naming `param`.
pub(crate) fn resolve(world: &mut World, id: &str, param: &str) -> Result<String, ApiError> {
    if world.find(Kind::PaymentMethod, id).is_some() {
        return Ok(id.to_owned());
    }
    let (brand, last4) = test_card(id).ok_or_else(|| ApiError::missing_reference("PaymentMethod", id, param))?;
    let method = object(&world.id(Kind::PaymentMethod), brand, last4, world.now_s());
    let new_id = method["id"].as_str().unwrap_or_default().to_owned();
    world.insert(Kind::PaymentMethod, method)?;
    Ok(new_id)
}

/// Whether a token names one of Stripe's test cards.
pub(crate) fn is_test_card(token: &str) -> bool {
    test_card(token).is_some()
}

/// What happens when this payment method is charged: its last four digits say it, as with Stripe's test cards.
pub(crate) fn outcome(method: &Value) -> Charged {
    match method["card"]["last4"].as_str() {
        Some("0341" | "0002") => Charged::Declined("generic_decline"),
        Some("9995") => Charged::Declined("insufficient_funds"),
        Some("3184") => Charged::NeedsAction,
        _ => Charged::Succeeds,
    }
}

fn test_card(token: &str) -> Option<(&'static str, &'static str)> {
    let name = token.strip_prefix("pm_card_").or_else(|| token.strip_prefix("tok_"))?;
    CARDS.iter().find(|(card, _, _)| *card == name).map(|(_, brand, last4)| (*brand, *last4))
}

fn by_last4(digits: &str) -> Option<(&'static str, &'static str)> {
    CARDS.iter().find(|(_, _, last4)| *last4 == digits).map(|(_, brand, last4)| (*brand, *last4))
}

fn object(id: &str, brand: &str, last4: &str, now_s: i64) -> Value {
    json!({
        "id": id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": {
                "city": null, "country": null, "line1": null, "line2": null, "postal_code": null, "state": null,
            },
            "email": null, "name": null, "phone": null, "tax_id": null,
        },
        "card": {
            "brand": brand,
            "checks": { "address_line1_check": null, "address_postal_code_check": null, "cvc_check": "pass" },
            "country": "US",
            "display_brand": brand,
            "exp_month": 8,
            "exp_year": 2035,
            "fingerprint": format!("emulated{last4}0000"),
            "funding": "credit",
            "generated_from": null,
            "last4": last4,
            "networks": { "available": [brand], "preferred": null },
            "regulated_status": "unregulated",
            "three_d_secure_usage": { "supported": true },
            "wallet": null,
        },
        "created": now_s,
        "customer": null,
        "customer_account": null,
        "livemode": false,
        "metadata": {},
        "type": "card",
    })
}
