use serde_json::{Value, json};

use super::products;
use crate::error::ApiError;
use crate::kind::Kind;
use crate::listing::{self, PAGING};
use crate::metadata;
use crate::options::SeedPrice;
use crate::params::Params;
use crate::world::World;

pub(crate) const INTERVALS: [&str; 4] = ["day", "week", "month", "year"];
/// Stripe's largest charge in a currency's smallest unit.
const MAX_AMOUNT: i64 = 99_999_999_999;

pub(crate) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    params.only(&[
        "active",
        "currency",
        "lookup_key",
        "metadata",
        "nickname",
        "product",
        "product_data",
        "recurring",
        "tax_behavior",
        "unit_amount",
    ])?;
    let id = world.id(Kind::Price);
    let currency = params.required("currency")?.to_lowercase();
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(ApiError::parameter(None, "currency", format!("Invalid currency: {currency}")));
    }
    params.required("unit_amount")?;
    let amount = params.integer_in("unit_amount", 0..=MAX_AMOUNT)?.unwrap_or_default();
    let recurring = recurring(params)?;
    let mut price = object(&id, amount, &currency, recurring, world.now_s());
    apply(&mut price, params)?;
    world.room(Kind::Price, 1)?;
    price["product"] = json!(product_for(world, params)?);
    world.insert(Kind::Price, price.clone())?;
    world.emit("price.created", &price, None);
    Ok(price)
}

pub(crate) fn retrieve(world: &World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::Price, id).cloned()
}

pub(crate) fn update(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["active", "lookup_key", "metadata", "nickname", "tax_behavior"])?;
    let mut changed = retrieve(world, id)?;
    apply(&mut changed, params)?;
    world.change(Kind::Price, id, "price.updated", |price| *price = changed)
}

pub(crate) fn list(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&[&PAGING[..], &["active", "currency", "lookup_keys", "product", "type"]].concat())?;
    let active = listing::is(params, "active")?;
    let currency = listing::equals(params, "currency")?;
    let product = listing::equals(params, "product")?;
    let kind = listing::equals(params, "type")?;
    let keys = params.texts("lookup_keys")?;
    listing::page(world, Kind::Price, "/v1/prices", params, |price| {
        let looked_up = keys.is_empty() || keys.iter().any(|key| price["lookup_key"] == key.as_str());
        active(price) && currency(price) && product(price) && kind(price) && looked_up
    })
}

/// Refuses a price that no subscription can have.
///
/// # Errors
/// 400 naming `param`.
pub(crate) fn sellable(price: &Value, param: &str) -> Result<(), ApiError> {
    if price["recurring"].is_null() {
        let message = "The price specified is set to `type=one_time` but this field only accepts prices with \
                       `type=recurring`.";
        return Err(ApiError::refused(None, message).at(param));
    }
    if price["active"] != json!(true) {
        let message = "The price specified is inactive. This field only accepts active prices.";
        return Err(ApiError::refused(None, message).at(param));
    }
    Ok(())
}

/// Adds a price from the options, with a product of its own.
pub(crate) fn seed(world: &mut World, seed: &SeedPrice) -> Result<(), ApiError> {
    let name = if seed.nickname.is_empty() { &seed.id } else { &seed.nickname };
    let product = products::object(&world.id(Kind::Product), name, world.now_s());
    let recurring = json!({
        "aggregate_usage": null, "interval": seed.interval, "interval_count": 1, "meter": null,
        "trial_period_days": null, "usage_type": "licensed",
    });
    let mut price = object(&seed.id, seed.unit_amount, &seed.currency, recurring, world.now_s());
    price["product"] = product["id"].clone();
    price["nickname"] = json!(seed.nickname);
    world.insert(Kind::Product, product)?;
    world.insert(Kind::Price, price)
}

/// The older `plan` object that mirrors a recurring price.
pub(crate) fn plan_of(price: &Value) -> Value {
    json!({
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "aggregate_usage": null,
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": price["created"],
        "currency": price["currency"],
        "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"],
        "livemode": false,
        "metadata": price["metadata"],
        "meter": null,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": null,
        "transform_usage": null,
        "trial_period_days": null,
        "usage_type": "licensed",
    })
}

fn object(id: &str, amount: i64, currency: &str, recurring: Value, now_s: i64) -> Value {
    json!({
        "id": id,
        "object": "price",
        "active": true,
        "billing_scheme": "per_unit",
        "created": now_s,
        "currency": currency,
        "custom_unit_amount": null,
        "livemode": false,
        "lookup_key": null,
        "metadata": {},
        "nickname": null,
        "product": null,
        "type": if recurring.is_null() { "one_time" } else { "recurring" },
        "recurring": recurring,
        "tax_behavior": "unspecified",
        "tiers_mode": null,
        "transform_quantity": null,
        "unit_amount": amount,
        "unit_amount_decimal": amount.to_string(),
    })
}

fn recurring(params: &Params) -> Result<Value, ApiError> {
    if !params.has("recurring") {
        return Ok(Value::Null);
    }
    let sent = params.nested("recurring")?;
    sent.only(&["interval", "interval_count", "usage_type"])?;
    sent.required("interval")?;
    sent.choice("usage_type", &["licensed"])?;
    Ok(json!({
        "aggregate_usage": null,
        "interval": sent.choice("interval", &INTERVALS)?,
        "interval_count": sent.integer_in("interval_count", 1..=1_095)?.unwrap_or(1),
        "meter": null,
        "trial_period_days": null,
        "usage_type": "licensed",
    }))
}

fn product_for(world: &mut World, params: &Params) -> Result<String, ApiError> {
    if params.has("product_data") {
        let sent = params.nested("product_data")?;
        return products::create(world, &sent).map(|product| product["id"].as_str().unwrap_or_default().to_owned());
    }
    let id = params.required("product")?;
    world.referenced(Kind::Product, &id, "product")?;
    Ok(id)
}

fn apply(price: &mut Value, params: &Params) -> Result<(), ApiError> {
    if let Some(active) = params.boolean("active")? {
        price["active"] = json!(active);
    }
    if let Some(behavior) = params.choice("tax_behavior", &["exclusive", "inclusive", "unspecified"])? {
        price["tax_behavior"] = json!(behavior);
    }
    super::set_texts(price, params, &["lookup_key", "nickname"])?;
    price["metadata"] = metadata::merged(&price["metadata"], params)?;
    Ok(())
}
