use serde_json::{Value, json};

use super::{payment_methods, subscription_changes, test_clocks};
use crate::error::ApiError;
use crate::kind::Kind;
use crate::listing::{self, PAGING};
use crate::metadata;
use crate::params::Params;
use crate::world::World;

const TEXTS: [&str; 4] = ["description", "email", "name", "phone"];
const ADDRESS: [&str; 6] = ["city", "country", "line1", "line2", "postal_code", "state"];

pub(crate) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    params
        .only(&[&TEXTS[..], &["address", "invoice_settings", "metadata", "payment_method", "test_clock"]].concat())?;
    let clock = params.text("test_clock")?;
    if let Some(clock) = &clock {
        test_clocks::room_on(world, clock)?;
    }
    let id = world.id(Kind::Customer);
    let mut customer = object(&id, world.now_s());
    customer["test_clock"] = json!(clock);
    apply(&mut customer, params)?;
    world.room(Kind::Customer, 1)?;
    if let Some(card) = params.text("payment_method")? {
        payment_methods::attach_to(world, &card, &id, "payment_method")?;
    }
    set_default(world, &mut customer, params)?;
    world.insert(Kind::Customer, customer.clone())?;
    world.emit("customer.created", &customer, None);
    Ok(customer)
}

pub(crate) fn retrieve(world: &World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::Customer, id).cloned()
}

pub(crate) fn update(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&[&TEXTS[..], &["address", "invoice_settings", "metadata"]].concat())?;
    let mut changed = live(world, id)?;
    apply(&mut changed, params)?;
    set_default(world, &mut changed, params)?;
    world.change(Kind::Customer, id, "customer.updated", |customer| *customer = changed)
}

/// Deletes a customer; its subscriptions are canceled at once.
pub(crate) fn delete(world: &mut World, id: &str) -> Result<Value, ApiError> {
    let customer = live(world, id)?;
    let ids: Vec<String> = world
        .newest_first(Kind::Subscription)
        .filter(|subscription| subscription["customer"] == id && subscription["ended_at"].is_null())
        .filter_map(|subscription| subscription["id"].as_str().map(str::to_owned))
        .collect();
    for subscription in ids {
        subscription_changes::end(world, &subscription, None, "cancellation_requested")?;
    }
    let gone = json!({ "id": id, "object": "customer", "deleted": true });
    world.modify(Kind::Customer, id, |customer| *customer = gone.clone())?;
    world.emit("customer.deleted", &customer, None);
    Ok(gone)
}

pub(crate) fn list(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&[&PAGING[..], &["email", "test_clock"]].concat())?;
    let clock = params.text("test_clock")?;
    if let Some(clock) = &clock {
        world.referenced(Kind::TestClock, clock, "test_clock")?;
    }
    // Case-sensitive, as at Stripe.
    let email = listing::equals(params, "email")?;
    listing::page(world, Kind::Customer, "/v1/customers", params, |customer| {
        // Customers on test clocks are shown only when asked for, as at Stripe.
        customer["test_clock"].as_str() == clock.as_deref() && email(customer)
    })
}

fn live(world: &World, id: &str) -> Result<Value, ApiError> {
    let customer = retrieve(world, id)?;
    if customer["deleted"] == json!(true) { Err(ApiError::missing("customer", id)) } else { Ok(customer) }
}

fn object(id: &str, now_s: i64) -> Value {
    json!({
        "id": id,
        "object": "customer",
        "address": null,
        "balance": 0,
        "created": now_s,
        "currency": null,
        "default_source": null,
        "delinquent": false,
        "description": null,
        "discount": null,
        "email": null,
        "invoice_prefix": id.chars().rev().take(8).collect::<String>().to_uppercase(),
        "invoice_settings": {
            "custom_fields": null, "default_payment_method": null, "footer": null, "rendering_options": null,
        },
        "livemode": false,
        "metadata": {},
        "name": null,
        "next_invoice_sequence": 1,
        "phone": null,
        "preferred_locales": [],
        "shipping": null,
        "tax_exempt": "none",
        "test_clock": null,
    })
}

fn apply(customer: &mut Value, params: &Params) -> Result<(), ApiError> {
    super::set_texts(customer, params, &TEXTS)?;
    if params.has("address") {
        let sent = params.nested("address")?;
        sent.only(&ADDRESS)?;
        let mut address = json!({});
        for field in ADDRESS {
            address[field] = json!(sent.text(field)?);
        }
        customer["address"] = if params.is_unset("address") { Value::Null } else { address };
    }
    customer["metadata"] = metadata::merged(&customer["metadata"], params)?;
    Ok(())
}

fn set_default(world: &World, customer: &mut Value, params: &Params) -> Result<(), ApiError> {
    let sent = params.nested("invoice_settings")?;
    sent.only(&["default_payment_method"])?;
    if let Some(card) = sent.text("default_payment_method")? {
        let param = sent.name("default_payment_method");
        let method = world.referenced(Kind::PaymentMethod, &card, &param);
        // A card given as `payment_method` in the same request is named by its token.
        let method = match (method, params.text("payment_method")?) {
            (Ok(method), _) => method,
            (Err(_), Some(token)) if token == card => {
                let newest = world.newest_first(Kind::PaymentMethod).next();
                newest.ok_or_else(|| ApiError::missing_reference("PaymentMethod", &card, &*param))?
            }
            (Err(error), _) => return Err(error),
        };
        if method["customer"] != customer["id"] {
            let message = "The customer does not have a payment method with the ID given; attach it first.";
            return Err(ApiError::refused(Some("resource_missing"), message).at(param));
        }
        customer["invoice_settings"]["default_payment_method"] = method["id"].clone();
    } else if sent.has("default_payment_method") {
        customer["invoice_settings"]["default_payment_method"] = Value::Null;
    }
    Ok(())
}
