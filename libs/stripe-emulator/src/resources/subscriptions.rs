use serde_json::{Value, json};

use super::billing;
use super::payment_methods::{self, Charged};
use super::subscription_items::{self as items, Cycle};
use crate::error::ApiError;
use crate::kind::Kind;
use crate::listing::{self, PAGING};
use crate::metadata;
use crate::params::Params;
use crate::world::World;

/// Every status Stripe has.
pub(crate) const STATUSES: [&str; 8] =
    ["incomplete", "incomplete_expired", "trialing", "active", "past_due", "canceled", "unpaid", "paused"];

const DAY_S: i64 = 86_400;

pub(crate) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    params.only(&[
        "billing_mode",
        "cancel_at",
        "cancel_at_period_end",
        "collection_method",
        "customer",
        "default_payment_method",
        "description",
        "items",
        "metadata",
        "off_session",
        "payment_behavior",
        "payment_settings",
        "proration_behavior",
        "trial_end",
        "trial_period_days",
        "trial_settings",
    ])?;
    let customer = params.required("customer")?;
    world.referenced(Kind::Customer, &customer, "customer")?;
    let id = world.id(Kind::Subscription);
    let (list, cycle) = items::create(world, params, &id)?;
    let behavior = behavior(params)?;
    let trial_end = trial_end(world, params)?;
    let mut subscription = object(&id, &customer, &cycle, world.now_s());
    subscription["items"] = items::list(list, &id);
    subscription["test_clock"] = world.get(Kind::Customer, &customer)?["test_clock"].clone();
    apply(world, &mut subscription, params)?;
    begin(&mut subscription, &cycle, trial_end);
    for kind in [Kind::Subscription, Kind::Invoice, Kind::PaymentIntent] {
        world.room(kind, 1)?;
    }
    let amount = if trial_end.is_some() { 0 } else { items::amount(&subscription["items"]["data"]) };
    let card = if amount == 0 || behavior == "default_incomplete" { None } else { payer(world, &subscription)? };
    if let (Some(card), "error_if_incomplete") = (&card, behavior.as_str()) {
        refuse_bad_card(world, card)?;
    }
    subscription["status"] = json!(match (trial_end, amount) {
        (Some(_), _) => "trialing",
        (None, 0) => "active",
        (None, _) => "incomplete",
    });
    let invoice = world.id(Kind::Invoice);
    subscription["latest_invoice"] = json!(invoice);
    world.insert(Kind::Subscription, subscription.clone())?;
    world.emit("customer.subscription.created", &subscription, None);
    billing::bill(world, &id, &invoice, trial_end.is_some())?;
    match card {
        Some(card) => drop(billing::charge(world, &invoice, &card)?),
        None if amount > 0 && world.auto_confirm => world.to_confirm.push(invoice),
        None => {}
    }
    retrieve(world, &id)
}

pub(crate) fn retrieve(world: &World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::Subscription, id).cloned()
}

pub(crate) fn list(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&[&PAGING[..], &["collection_method", "customer", "price", "status", "test_clock"]].concat())?;
    let clock = params.text("test_clock")?;
    // Those on test clocks are shown only when asked for, as at Stripe.
    let on_clock = clock.is_some() || !params.has("customer");
    let customer = listing::equals(params, "customer")?;
    let method = listing::equals(params, "collection_method")?;
    let price = params.text("price")?;
    let status = params.choice("status", &[&STATUSES[..], &["all", "ended"]].concat())?;
    listing::page(world, Kind::Subscription, "/v1/subscriptions", params, |subscription| {
        let state = subscription["status"].as_str().unwrap_or_default();
        let wanted = match status.as_deref() {
            None => state != "canceled",
            Some("all") => true,
            Some("ended") => matches!(state, "canceled" | "incomplete_expired"),
            Some(wanted) => state == wanted,
        };
        let priced = price.as_deref().is_none_or(|price| {
            let items = subscription["items"]["data"].as_array();
            items.is_some_and(|items| items.iter().any(|item| item["price"]["id"] == price))
        });
        let here = !on_clock || subscription["test_clock"].as_str() == clock.as_deref();
        wanted && priced && here && customer(subscription) && method(subscription)
    })
}

/// The payment method a subscription's invoices are charged to: its own, its customer's, or the default test card.
///
/// # Errors
/// 400 `resource_missing` when there is none, as Stripe refuses to charge nothing.
pub(crate) fn payer(world: &World, subscription: &Value) -> Result<Option<String>, ApiError> {
    let customer = world.find(Kind::Customer, subscription["customer"].as_str().unwrap_or_default());
    let own = subscription["default_payment_method"].as_str();
    let customers = customer.and_then(|customer| customer["invoice_settings"]["default_payment_method"].as_str());
    match own.or(customers).or(world.default_card.as_deref()) {
        Some(card) => Ok(Some(card.to_owned())),
        None => {
            let message = "This customer has no attached payment source or default payment method. Please consider \
                           adding a default payment method.";
            Err(ApiError::refused(Some("resource_missing"), message))
        }
    }
}

/// The parameters that create and update share.
pub(crate) fn apply(world: &mut World, subscription: &mut Value, params: &Params) -> Result<(), ApiError> {
    params.choice("collection_method", &["charge_automatically"])?;
    params.choice("proration_behavior", &["always_invoice", "create_prorations", "none"])?;
    params.boolean("off_session")?;
    subscription["metadata"] = metadata::merged(&subscription["metadata"], params)?;
    super::set_texts(subscription, params, &["description"])?;
    if let Some(at_end) = params.boolean("cancel_at_period_end")? {
        cancel_at_period_end(subscription, at_end, world.now_s());
    }
    if params.has("cancel_at") {
        cancel_at(subscription, params, world.now_s())?;
    }
    let mode = params.nested("billing_mode")?;
    mode.only(&["type"])?;
    if let Some(kind) = mode.choice("type", &["classic", "flexible"])? {
        subscription["billing_mode"]["type"] = json!(kind);
    }
    let settings = params.nested("payment_settings")?;
    settings.only(&["payment_method_types", "save_default_payment_method"])?;
    if let Some(save) = settings.choice("save_default_payment_method", &["off", "on_subscription"])? {
        subscription["payment_settings"]["save_default_payment_method"] = json!(save);
    }
    if settings.has("payment_method_types") {
        subscription["payment_settings"]["payment_method_types"] = json!(settings.texts("payment_method_types")?);
    }
    let trial = params.nested("trial_settings")?;
    trial.only(&["end_behavior"])?;
    let end = trial.nested("end_behavior")?;
    end.only(&["missing_payment_method"])?;
    if let Some(missing) = end.choice("missing_payment_method", &["cancel", "create_invoice", "pause"])? {
        subscription["trial_settings"]["end_behavior"]["missing_payment_method"] = json!(missing);
    }
    if let Some(card) = params.text("default_payment_method")? {
        let customer = subscription["customer"].as_str().unwrap_or_default().to_owned();
        let attached = payment_methods::attach_to(world, &card, &customer, "default_payment_method")?;
        subscription["default_payment_method"] = json!(attached);
    } else if params.has("default_payment_method") {
        subscription["default_payment_method"] = Value::Null;
    }
    Ok(())
}

/// When a trial asked for ends, in Unix seconds.
///
/// # Errors
/// 400 naming `trial_end` or `trial_period_days`.
pub(crate) fn trial_end(world: &World, params: &Params) -> Result<Option<i64>, ApiError> {
    let days = params.integer_in("trial_period_days", 0..=730)?;
    let now_s = world.now_s();
    match (params.text("trial_end")?.as_deref(), days) {
        (Some(_), Some(_)) => {
            let message = "You may only specify one of these parameters: trial_end, trial_period_days.";
            Err(ApiError::parameter(None, "trial_end", message))
        }
        (Some("now"), None) => Ok(None),
        (Some(_), None) => match params.integer("trial_end")? {
            Some(end_s) if end_s > now_s => Ok(Some(end_s)),
            _ => {
                let message = "Invalid timestamp: must be an integer Unix timestamp in the future.";
                Err(ApiError::parameter(None, "trial_end", message))
            }
        },
        (None, Some(days)) if days > 0 => Ok(Some(now_s.saturating_add(days * DAY_S))),
        (None, _) => Ok(None),
    }
}

/// Marks a subscription to end at a moment of the caller's choice, or takes that back.
fn cancel_at(subscription: &mut Value, params: &Params, now_s: i64) -> Result<(), ApiError> {
    let at_s = params.integer("cancel_at")?;
    if at_s.is_some_and(|at_s| at_s <= now_s) {
        return Err(ApiError::parameter(None, "cancel_at", "Invalid timestamp: must be in the future."));
    }
    subscription["cancel_at"] = json!(at_s);
    subscription["canceled_at"] = json!(at_s.map(|_| now_s));
    subscription["cancellation_details"]["reason"] = json!(at_s.map(|_| "cancellation_requested"));
    Ok(())
}

/// Marks a subscription to end with its period, or takes that back.
pub(crate) fn cancel_at_period_end(subscription: &mut Value, at_end: bool, now_s: i64) {
    subscription["cancel_at_period_end"] = json!(at_end);
    let (cancel_at, canceled_at, reason) = if at_end {
        (subscription["current_period_end"].clone(), json!(now_s), json!("cancellation_requested"))
    } else {
        (Value::Null, Value::Null, Value::Null)
    };
    subscription["cancel_at"] = cancel_at;
    subscription["canceled_at"] = canceled_at;
    subscription["cancellation_details"]["reason"] = reason;
}

fn behavior(params: &Params) -> Result<String, ApiError> {
    let known = ["allow_incomplete", "default_incomplete", "error_if_incomplete"];
    Ok(params.choice("payment_behavior", &known)?.unwrap_or_else(|| "allow_incomplete".to_owned()))
}

pub(crate) fn refuse_bad_card(world: &mut World, card: &str) -> Result<(), ApiError> {
    let id = payment_methods::resolve(world, card, "default_payment_method")?;
    match payment_methods::outcome(&payment_methods::retrieve(world, &id)?) {
        Charged::Succeeds => Ok(()),
        Charged::Declined(code) => Err(ApiError::card_declined(code)),
        Charged::NeedsAction => Err(ApiError::action_required(
            "subscription_payment_intent_requires_action",
            "Payment for this subscription requires additional user action before it can be completed successfully. \
             Payment can be completed using the PaymentIntent associated with `subscription.latest_invoice`.",
        )),
    }
}

fn begin(subscription: &mut Value, cycle: &Cycle, trial_end: Option<i64>) {
    let start_s = subscription["start_date"].as_i64().unwrap_or_default();
    let end_s = trial_end.unwrap_or_else(|| cycle.end_s(start_s));
    items::set_period(subscription, start_s, end_s);
    if let Some(end_s) = trial_end {
        subscription["trial_start"] = json!(start_s);
        subscription["trial_end"] = json!(end_s);
        subscription["billing_cycle_anchor"] = json!(end_s);
    }
    set_plan(subscription);
    if subscription["cancel_at_period_end"] == json!(true) {
        subscription["cancel_at"] = json!(end_s);
    }
}

/// Mirrors the only item as the older top-level `plan` and `quantity`.
pub(crate) fn set_plan(subscription: &mut Value) {
    let items = subscription["items"]["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (plan, quantity) = match items {
        [item] => (item["plan"].clone(), item["quantity"].clone()),
        _ => (Value::Null, Value::Null),
    };
    subscription["plan"] = plan;
    subscription["quantity"] = quantity;
}

fn object(id: &str, customer: &str, cycle: &Cycle, now_s: i64) -> Value {
    json!({
        "id": id,
        "object": "subscription",
        "application": null,
        "application_fee_percent": null,
        "automatic_tax": { "disabled_reason": null, "enabled": false, "liability": null },
        "billing_cycle_anchor": now_s,
        "billing_cycle_anchor_config": null,
        "billing_mode": { "flexible": null, "type": "classic" },
        "billing_schedules": [],
        "billing_thresholds": null,
        "cancel_at": null,
        "cancel_at_period_end": false,
        "canceled_at": null,
        "cancellation_details": { "comment": null, "feedback": null, "feedback_option": null, "reason": null },
        "collection_method": "charge_automatically",
        "created": now_s,
        "currency": cycle.currency,
        "current_period_end": null,
        "current_period_start": null,
        "customer": customer,
        "customer_account": null,
        "days_until_due": null,
        "default_payment_method": null,
        "default_source": null,
        "default_tax_rates": [],
        "description": null,
        "discount": null,
        "discounts": [],
        "ended_at": null,
        "invoice_settings": {
            "account_tax_ids": null, "custom_fields": null, "description": null, "footer": null,
            "issuer": { "type": "self" },
        },
        "items": null,
        "latest_invoice": null,
        "livemode": false,
        "managed_payments": null,
        "metadata": {},
        "next_pending_invoice_item_invoice": null,
        "on_behalf_of": null,
        "pause_collection": null,
        "payment_settings": {
            "payment_method_options": null, "payment_method_types": null, "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": null,
        "pending_setup_intent": null,
        "pending_update": null,
        "plan": null,
        "quantity": null,
        "schedule": null,
        "start_date": now_s,
        "status": "incomplete",
        "test_clock": null,
        "transfer_data": null,
        "trial_end": null,
        "trial_settings": {
            "end_behavior": { "billing_cycle_anchor": null, "missing_payment_method": "create_invoice" },
        },
        "trial_start": null,
    })
}
