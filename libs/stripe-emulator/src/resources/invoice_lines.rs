//! The lines of invoices: a period of each item, and prorations for a change in the middle of one.
//! Source: Stripe's documentation, "Prorations": by the second, credit for unused time, charge for the remaining time.

use serde_json::{Value, json};

use crate::ids;
use crate::world::World;

/// The period that begins, one line for each item; at nothing when it is `free` (a trial).
pub(crate) fn of_period(world: &World, subscription: &Value, free: bool) -> Vec<Value> {
    let period = (subscription["current_period_start"].clone(), subscription["current_period_end"].clone());
    let line = |item: &Value| {
        let quantity = item["quantity"].as_i64().unwrap_or(1);
        let (amount, what) = if free { (0, "Free trial for ") } else { (price_of(item), "") };
        let description = format!("{what}{quantity} × {}", name(item));
        line(world, subscription, item, amount, &description, period.clone())
    };
    items(subscription).iter().map(line).collect()
}

/// What a change at `now_s` owes and is owed for the rest of the period `before` was in. Where a new period begins at
/// once, only what is owed back.
pub(crate) fn of_change(world: &World, before: &Value, after: &Value, now_s: i64) -> Vec<Value> {
    let at = |field: &str| before[field].as_i64().unwrap_or(now_s);
    let (start_s, end_s) = (at("current_period_start"), at("current_period_end"));
    let same_period = after["current_period_end"] == before["current_period_end"];
    let period = (json!(now_s), json!(end_s));
    let share = |amount: i64| rounded_share(amount, end_s - now_s, end_s - start_s);
    let find = |subscription: &Value, item: &Value| {
        items(subscription).iter().find(|other| other["id"] == item["id"]).cloned()
    };
    let differs =
        |one: &Value, other: &Value| one["price"]["id"] != other["price"]["id"] || one["quantity"] != other["quantity"];
    let mut lines = Vec::new();
    for item in items(before) {
        if !same_period || find(after, item).is_none_or(|kept| differs(item, &kept)) {
            let description = format!("Unused time on {} × {}", item["quantity"], name(item));
            lines.push(proration(
                line(world, before, item, -share(price_of(item)), &description, period.clone()),
                world,
            ));
        }
    }
    for item in items(after).iter().filter(|_| same_period) {
        if find(before, item).is_none_or(|old| differs(&old, item)) {
            let description = format!("Remaining time on {} × {}", item["quantity"], name(item));
            lines.push(proration(line(world, after, item, share(price_of(item)), &description, period.clone()), world));
        }
    }
    lines
}

/// What the lines come to.
pub(crate) fn total(lines: &[Value]) -> i64 {
    lines.iter().filter_map(|line| line["amount"].as_i64()).fold(0, i64::saturating_add)
}

/// The list object around the lines of an invoice.
pub(crate) fn list(mut lines: Vec<Value>, invoice: &str) -> Value {
    for line in &mut lines {
        line["invoice"] = json!(invoice);
    }
    json!({
        "object": "list", "total_count": lines.len(), "data": lines, "has_more": false,
        "url": format!("/v1/invoices/{invoice}/lines"),
    })
}

/// The part of `amount` for `part_s` of `whole_s` seconds, to the nearest unit.
fn rounded_share(amount: i64, part_s: i64, whole_s: i64) -> i64 {
    let (amount, part, whole) = (i128::from(amount), i128::from(part_s.max(0)), i128::from(whole_s.max(1)));
    i64::try_from((amount * part + whole / 2) / whole).unwrap_or(i64::MAX)
}

fn items(subscription: &Value) -> &[Value] {
    subscription["items"]["data"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn name(item: &Value) -> &str {
    item["price"]["nickname"].as_str().filter(|name| !name.is_empty()).unwrap_or("subscription")
}

fn price_of(item: &Value) -> i64 {
    let quantity = item["quantity"].as_i64().unwrap_or(1);
    item["price"]["unit_amount"].as_i64().unwrap_or(0).saturating_mul(quantity)
}

fn proration(mut line: Value, world: &World) -> Value {
    let item = ids::object(&world.entropy, "ii");
    line["discountable"] = json!(false);
    line["parent"] = json!({
        "invoice_item_details": {
            "invoice_item": item, "proration": true, "proration_details": { "credited_items": null },
            "subscription": line["subscription"],
        },
        "subscription_item_details": null, "type": "invoice_item_details",
    });
    line["invoice_item"] = json!(item);
    line["proration"] = json!(true);
    line["type"] = json!("invoiceitem");
    line
}

fn line(
    world: &World,
    subscription: &Value,
    item: &Value,
    amount: i64,
    description: &str,
    period: (Value, Value),
) -> Value {
    let price = &item["price"];
    let quantity = item["quantity"].as_i64().unwrap_or(1);
    let details = json!({
        "invoice_item": null, "proration": false, "proration_details": { "credited_items": null },
        "subscription": subscription["id"], "subscription_item": item["id"],
    });
    json!({
        "id": ids::object(&world.entropy, "il"),
        "object": "line_item",
        "amount": amount, "currency": price["currency"], "description": description,
        "discount_amounts": [], "discountable": true, "discounts": [], "invoice": null, "livemode": false,
        "metadata": subscription["metadata"],
        "parent": {
            "invoice_item_details": null, "subscription_item_details": details, "type": "subscription_item_details",
        },
        "period": { "end": period.1, "start": period.0 },
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": { "price": price["id"], "product": price["product"] },
            "type": "price_details", "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": quantity, "quantity_decimal": quantity.to_string(), "subscription": subscription["id"],
        "subtotal": amount, "taxes": [],
        // Only before 2025-03-31.basil:
        "amount_excluding_tax": amount, "plan": item["plan"], "price": price, "proration": false,
        "proration_details": { "credited_items": null }, "subscription_item": item["id"], "tax_amounts": [],
        "tax_rates": [], "type": "subscription", "unit_amount_excluding_tax": price["unit_amount_decimal"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_to_the_nearest_unit() {
        assert_eq!(rounded_share(1_000, 1, 2), 500);
        assert_eq!(rounded_share(1_001, 1, 2), 501);
        assert_eq!(rounded_share(900, 0, 30), 0);
        assert_eq!(rounded_share(900, -5, 30), 0);
        assert_eq!(rounded_share(i64::MAX, 10, 10), i64::MAX);
    }
}
