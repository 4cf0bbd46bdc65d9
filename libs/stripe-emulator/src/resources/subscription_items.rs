use serde_json::{Value, json};

use super::{periods, prices};
use crate::error::ApiError;
use crate::ids;
use crate::kind::Kind;
use crate::metadata;
use crate::params::Params;
use crate::world::World;

/// Stripe's limit on items of one subscription.
const MAX_ITEMS: usize = 20;

/// What the items of one subscription have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cycle {
    pub(crate) currency: String,
    pub(crate) interval: String,
    pub(crate) interval_count: i64,
}

impl Cycle {
    pub(crate) fn of(price: &Value) -> Self {
        Self {
            currency: price["currency"].as_str().unwrap_or_default().to_owned(),
            interval: price["recurring"]["interval"].as_str().unwrap_or_default().to_owned(),
            interval_count: price["recurring"]["interval_count"].as_i64().unwrap_or(1),
        }
    }

    /// The end of a period that begins at `start_s`.
    pub(crate) fn end_s(&self, start_s: i64) -> i64 {
        periods::end_s(start_s, &self.interval, self.interval_count)
    }
}

/// Builds the items of a new subscription.
///
/// # Errors
/// 400 naming the item: missing, inactive or one-time price, or prices that do not go together.
pub(crate) fn create(world: &World, params: &Params, subscription: &str) -> Result<(Vec<Value>, Cycle), ApiError> {
    params.required_list("items")?;
    let sent = params.list("items")?;
    let mut items = Vec::with_capacity(sent.len());
    for item in &sent {
        item.only(&["metadata", "price", "quantity"])?;
        item.required("price")?;
        items.push(new_item(world, item, subscription)?);
    }
    let cycle = common_cycle(&items)?;
    Ok((items, cycle))
}

/// The items after an update: `items[0][id]` changes or deletes one, an entry without an id adds one.
///
/// # Errors
/// 400 naming the item.
pub(crate) fn update(world: &World, params: &Params, subscription: &Value) -> Result<(Vec<Value>, Cycle), ApiError> {
    let mut items = subscription["items"]["data"].as_array().cloned().unwrap_or_default();
    let id = subscription["id"].as_str().unwrap_or_default();
    for sent in params.list("items")? {
        sent.only(&["id", "deleted", "metadata", "price", "quantity"])?;
        let Some(item_id) = sent.text("id")? else {
            sent.required("price")?;
            items.push(new_item(world, &sent, id)?);
            continue;
        };
        let at = items
            .iter()
            .position(|item| item["id"] == item_id.as_str())
            .ok_or_else(|| ApiError::missing_reference("subscription_item", &item_id, sent.name("id")))?;
        if sent.boolean("deleted")? == Some(true) {
            items.remove(at);
            continue;
        }
        apply(world, &mut items[at], &sent)?;
    }
    if items.is_empty() {
        return Err(ApiError::refused(None, "A subscription must have at least one active plan.").at("items"));
    }
    let cycle = common_cycle(&items)?;
    Ok((items, cycle))
}

/// The list object around the items.
pub(crate) fn list(items: Vec<Value>, subscription: &str) -> Value {
    json!({
        "object": "list",
        "total_count": items.len(),
        "data": items,
        "has_more": false,
        "url": format!("/v1/subscription_items?subscription={subscription}"),
    })
}

/// What one period of these items costs.
pub(crate) fn amount(items: &Value) -> i64 {
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    let one = |item: &Value| {
        item["price"]["unit_amount"].as_i64().unwrap_or(0).saturating_mul(item["quantity"].as_i64().unwrap_or(1))
    };
    items.iter().map(one).fold(0, i64::saturating_add)
}

/// Sets the current period of a subscription and of its items.
pub(crate) fn set_period(subscription: &mut Value, start_s: i64, end_s: i64) {
    let set = |part: &mut Value| {
        part["current_period_start"] = json!(start_s);
        part["current_period_end"] = json!(end_s);
    };
    set(subscription);
    if let Some(items) = subscription["items"]["data"].as_array_mut() {
        items.iter_mut().for_each(set);
    }
}

fn new_item(world: &World, sent: &Params, subscription: &str) -> Result<Value, ApiError> {
    let mut item = json!({
        "id": ids::object(&world.entropy, "si"),
        "object": "subscription_item",
        "billing_thresholds": null,
        "created": world.now_s(),
        "current_period_end": null,
        "current_period_start": null,
        "current_trial": null,
        "discounts": [],
        "metadata": {},
        "plan": null,
        "price": null,
        "quantity": 1,
        "subscription": subscription,
        "tax_rates": [],
    });
    apply(world, &mut item, sent)?;
    Ok(item)
}

fn apply(world: &World, item: &mut Value, sent: &Params) -> Result<(), ApiError> {
    if let Some(id) = sent.text("price")? {
        let param = sent.name("price");
        let price = world.referenced(Kind::Price, &id, &param)?;
        prices::sellable(price, &param)?;
        item["plan"] = prices::plan_of(price);
        item["price"] = price.clone();
    }
    if let Some(quantity) = sent.integer_in("quantity", 0..=999_999)? {
        item["quantity"] = json!(quantity);
    }
    item["metadata"] = metadata::merged(&item["metadata"], sent)?;
    Ok(())
}

fn common_cycle(items: &[Value]) -> Result<Cycle, ApiError> {
    let first = items.first().map(|item| Cycle::of(&item["price"]));
    let Some(first) = first.filter(|_| items.len() <= MAX_ITEMS) else {
        return Err(ApiError::parameter(None, "items", format!("Give 1 to {MAX_ITEMS} items.")));
    };
    if items.iter().any(|item| Cycle::of(&item["price"]) != first) {
        let message = "All prices on a subscription must have the same currency, `recurring.interval` and \
                       `recurring.interval_count`.";
        return Err(ApiError::refused(None, message).at("items"));
    }
    let mut prices: Vec<&str> = items.iter().filter_map(|item| item["price"]["id"].as_str()).collect();
    prices.sort_unstable();
    if prices.windows(2).any(|pair| pair[0] == pair[1]) {
        let message = "Subscription items must have different prices; use `quantity` for more of the same.";
        return Err(ApiError::refused(None, message).at("items"));
    }
    Ok(first)
}
