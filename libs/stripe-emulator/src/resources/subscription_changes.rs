use serde_json::{Value, json};

use super::billing;
use super::subscription_items as items;
use super::subscriptions::{self, STATUSES};
use crate::error::ApiError;
use crate::kind::Kind;
use crate::params::Params;
use crate::world::World;

pub(crate) fn update(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&[
        "cancel_at",
        "cancel_at_period_end",
        "cancellation_details",
        "collection_method",
        "default_payment_method",
        "description",
        "items",
        "metadata",
        "off_session",
        "payment_behavior",
        "payment_settings",
        "proration_behavior",
        "trial_end",
        "trial_settings",
    ])?;
    params.choice(
        "payment_behavior",
        &["allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"],
    )?;
    let mut changed = subscriptions::retrieve(world, id)?;
    if is_final(&changed) && !only_labels(params) {
        let message = "A canceled subscription can only update its cancellation_details and metadata.";
        return Err(ApiError::refused(None, message));
    }
    apply_details(&mut changed, params)?;
    let now_s = world.now_s();
    let mut rebill = false;
    if params.has("items") {
        let before = items::Cycle::of(&changed["items"]["data"][0]["price"]);
        let (list, cycle) = items::update(world, params, &changed)?;
        if cycle.currency != before.currency {
            let message = "A subscription's currency cannot be changed; create a new subscription.";
            return Err(ApiError::refused(None, message).at("items"));
        }
        let period = (changed["current_period_start"].as_i64(), changed["current_period_end"].as_i64());
        changed["items"] = items::list(list, id);
        // Another interval begins a new period at once, and bills it, as at Stripe.
        rebill = cycle != before && changed["status"] != "trialing";
        let (start_s, end_s) = match period {
            (Some(start_s), Some(end_s)) if !rebill => (start_s, end_s),
            _ => (now_s, cycle.end_s(now_s)),
        };
        items::set_period(&mut changed, start_s, end_s);
        subscriptions::set_plan(&mut changed);
    }
    if params.has("trial_end") {
        rebill |= move_trial(world, &mut changed, params)?;
    }
    if rebill {
        world.room(Kind::Invoice, 1)?;
        world.room(Kind::PaymentIntent, 1)?;
        changed["billing_cycle_anchor"] = json!(now_s);
    }
    subscriptions::apply(world, &mut changed, params)?;
    save(world, id, changed, rebill)
}

pub(crate) fn cancel(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["cancellation_details", "invoice_now", "prorate"])?;
    let mut subscription = subscriptions::retrieve(world, id)?;
    if is_final(&subscription) {
        return Err(ApiError::missing("subscription", id));
    }
    apply_details(&mut subscription, params)?;
    let details = subscription["cancellation_details"].clone();
    end(world, id, Some(details), "cancellation_requested")
}

/// Brings a paused subscription back, with a period that begins now.
pub(crate) fn resume(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["billing_cycle_anchor", "proration_behavior"])?;
    params.choice("billing_cycle_anchor", &["now", "unchanged"])?;
    let mut changed = subscriptions::retrieve(world, id)?;
    if changed["status"] != "paused" {
        let message = "You cannot resume a subscription that is not paused.";
        return Err(ApiError::refused(None, message));
    }
    world.room(Kind::Invoice, 1)?;
    world.room(Kind::PaymentIntent, 1)?;
    let now_s = world.now_s();
    let cycle = items::Cycle::of(&changed["items"]["data"][0]["price"]);
    items::set_period(&mut changed, now_s, cycle.end_s(now_s));
    changed["status"] = json!("active");
    let resumed = save(world, id, changed, true)?;
    world.emit("customer.subscription.resumed", &resumed, None);
    Ok(resumed)
}

/// Ends a subscription now. One that never was paid expires instead: Stripe has no way from `incomplete` to
/// `canceled`.
pub(crate) fn end(world: &mut World, id: &str, details: Option<Value>, reason: &str) -> Result<Value, ApiError> {
    let now_s = world.now_s();
    let (_, ended) = world.modify(Kind::Subscription, id, |subscription| {
        let unpaid = subscription["status"] == "incomplete";
        subscription["status"] = json!(if unpaid { "incomplete_expired" } else { "canceled" });
        if subscription["canceled_at"].is_null() {
            subscription["canceled_at"] = json!(now_s);
        }
        subscription["ended_at"] = json!(now_s);
        if let Some(details) = details {
            subscription["cancellation_details"] = details;
        }
        subscription["cancellation_details"]["reason"] = json!(reason);
    })?;
    billing::void_open(world, ended["latest_invoice"].as_str().unwrap_or_default())?;
    world.emit("customer.subscription.deleted", &ended, None);
    Ok(ended)
}

/// Ends a subscription whose first invoice nobody paid in time.
///
/// # Errors
/// 404 when it is gone.
pub(crate) fn expire(world: &mut World, id: &str) -> Result<(), ApiError> {
    let now_s = world.now_s();
    let expired = world.change(Kind::Subscription, id, "customer.subscription.updated", |subscription| {
        subscription["status"] = json!("incomplete_expired");
        subscription["ended_at"] = json!(now_s);
    })?;
    billing::void_open(world, expired["latest_invoice"].as_str().unwrap_or_default())
}

/// Puts a subscription into a status without asking whether Stripe would: for tests of what follows.
///
/// # Errors
/// 400 on an unknown status, 404 on an unknown subscription.
pub(crate) fn force_status(world: &mut World, id: &str, status: &str) -> Result<Value, ApiError> {
    if !STATUSES.contains(&status) {
        let message = format!("Invalid status: must be one of {}", STATUSES.join(", "));
        return Err(ApiError::parameter(None, "status", message));
    }
    let now_s = world.now_s();
    let over = matches!(status, "canceled" | "incomplete_expired");
    let (before, after) = world.modify(Kind::Subscription, id, |subscription| {
        subscription["status"] = json!(status);
        subscription["ended_at"] = if over { json!(now_s) } else { Value::Null };
        if status == "canceled" {
            subscription["canceled_at"] = json!(now_s);
        }
    })?;
    if status == "canceled" {
        world.emit("customer.subscription.deleted", &after, None);
    } else {
        let mut previous = serde_json::Map::new();
        previous.insert("status".to_owned(), before["status"].clone());
        world.emit("customer.subscription.updated", &after, Some(previous));
    }
    Ok(after)
}

/// Whether nothing can happen to it any more.
pub(crate) fn is_final(subscription: &Value) -> bool {
    matches!(subscription["status"].as_str(), Some("canceled" | "incomplete_expired"))
}

fn save(world: &mut World, id: &str, mut changed: Value, rebill: bool) -> Result<Value, ApiError> {
    let invoice = world.id(Kind::Invoice);
    let card = if rebill { subscriptions::payer(world, &changed)? } else { None };
    if rebill {
        changed["latest_invoice"] = json!(invoice);
    }
    let amount = items::amount(&changed["items"]["data"]);
    world.change(Kind::Subscription, id, "customer.subscription.updated", |kept| *kept = changed)?;
    if let Some(card) = card {
        billing::bill(world, id, &invoice, amount, "subscription_update")?;
        if amount > 0 {
            billing::charge(world, &invoice, &card)?;
        }
    }
    subscriptions::retrieve(world, id)
}

/// Moves or ends a trial; true when that begins a period that has to be paid.
fn move_trial(world: &World, changed: &mut Value, params: &Params) -> Result<bool, ApiError> {
    let now_s = world.now_s();
    let end_s = subscriptions::trial_end(world, params)?;
    let was_trialing = changed["status"] == "trialing";
    if let Some(end_s) = end_s {
        if changed["trial_start"].is_null() {
            changed["trial_start"] = json!(now_s);
        }
        changed["trial_end"] = json!(end_s);
        changed["_noticed"] = Value::Null;
        changed["status"] = json!("trialing");
        items::set_period(changed, now_s, end_s);
    } else if was_trialing {
        let cycle = items::Cycle::of(&changed["items"]["data"][0]["price"]);
        changed["trial_end"] = json!(now_s);
        changed["status"] = json!("active");
        items::set_period(changed, now_s, cycle.end_s(now_s));
        return Ok(true);
    }
    Ok(false)
}

fn only_labels(params: &Params) -> bool {
    params.entries().all(|(name, _)| matches!(name.as_str(), "cancellation_details" | "expand" | "metadata"))
}

fn apply_details(subscription: &mut Value, params: &Params) -> Result<(), ApiError> {
    let sent = params.nested("cancellation_details")?;
    sent.only(&["comment", "feedback"])?;
    super::set_texts(&mut subscription["cancellation_details"], &sent, &["comment", "feedback"])
}
