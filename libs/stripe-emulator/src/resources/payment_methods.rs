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

/// One of Stripe's test cards.
struct Card {
    /// What follows `pm_card_` or `tok_` in its tokens.
    token: &'static str,
    brand: &'static str,
    number: &'static str,
}

const fn card(token: &'static str, brand: &'static str, number: &'static str) -> Card {
    Card { token, brand, number }
}

/// Stripe's test cards. Source: Stripe's documentation, "Test cards".
const CARDS: [Card; 14] = [
    card("visa", "visa", "4242424242424242"),
    card("visa_debit", "visa", "4000056655665556"),
    card("mastercard", "mastercard", "5555555555554444"),
    card("amex", "amex", "378282246310005"),
    card("chargeCustomerFail", "visa", "4000000000000341"),
    card("authenticationRequired", "visa", "4000002760003184"),
    card("threeDSecure2Required", "visa", "4000000000003220"),
    card("visa_chargeDeclined", "visa", "4000000000000002"),
    card("chargeDeclined", "visa", "4000000000000002"),
    card("visa_chargeDeclinedInsufficientFunds", "visa", "4000000000009995"),
    card("chargeDeclinedInsufficientFunds", "visa", "4000000000009995"),
    card("chargeDeclinedExpiredCard", "visa", "4000000000000069"),
    card("chargeDeclinedIncorrectCvc", "visa", "4000000000000127"),
    card("chargeDeclinedProcessingError", "visa", "4000000000000119"),
];

pub(crate) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    params.only(&["type", "card", "metadata"])?;
    params.required("type")?;
    params.choice("type", &["card"])?;
    let card = params.nested("card")?;
    card.only(&["token", "number", "exp_month", "exp_year", "cvc"])?;
    let found = match (card.text("token")?, card.text("number")?) {
        (Some(token), _) => test_card(&token),
        (None, Some(number)) => {
            in_date(world, &card)?;
            by_number(&number)
        }
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
        Some("0069") => Charged::Declined("expired_card"),
        Some("0127") => Charged::Declined("incorrect_cvc"),
        Some("0119") => Charged::Declined("processing_error"),
        Some("3184" | "3220") => Charged::NeedsAction,
        _ => Charged::Succeeds,
    }
}

fn test_card(token: &str) -> Option<(&'static str, &'static str)> {
    let name = token.strip_prefix("pm_card_").or_else(|| token.strip_prefix("tok_"))?;
    CARDS.iter().find(|card| card.token == name).map(shown)
}

fn by_number(number: &str) -> Option<(&'static str, &'static str)> {
    let digits: String = number.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    CARDS.iter().find(|card| card.number == digits).map(shown)
}

fn shown(card: &Card) -> (&'static str, &'static str) {
    (card.brand, &card.number[card.number.len() - 4..])
}

fn in_date(world: &World, card: &Params) -> Result<(), ApiError> {
    let month = card.integer_in("exp_month", 1..=12)?.unwrap_or(12);
    let year = card.integer("exp_year")?.unwrap_or(9_999);
    let (now_year, now_month) = super::periods::month_of(world.now_s());
    if (year, month) < (now_year, now_month) {
        let param = if year < now_year { "exp_year" } else { "exp_month" };
        return Err(ApiError::expired(param));
    }
    Ok(())
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
