use serde_json::{Value, json};

use super::billing::{self, Draft};
use super::invoice_lines;
use super::subscription_items as items;
use super::subscriptions::{self, STATUSES};

use crate::error::ApiError;
use crate::kind::Kind;
use crate::params::Params;
use crate::world::World;

/// Stripe's limit on invoice items that wait for one invoice.
const MAX_PENDING: usize = 250;

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
    params.choice("payment_behavior", &["allow_incomplete", "default_incomplete", "error_if_incomplete"])?;
    let mut changed = subscriptions::retrieve(world, id)?;
    if is_final(&changed) && !only_labels(params) {
        let message = "A canceled subscription can only update its cancellation_details and metadata.";
        return Err(ApiError::refused(None, message));
    }
    apply_details(&mut changed, params)?;
    let now_s = world.now_s();
    let before = changed.clone();
    let mut rebill = params.has("items") && change_items(world, &mut changed, params, now_s)?;
    if params.has("trial_end") {
        rebill |= move_trial(world, &mut changed, params)?;
    }
    if rebill {
        changed["billing_cycle_anchor"] = json!(now_s);
    }
    subscriptions::apply(world, &mut changed, params)?;
    let prorates = params.text("proration_behavior")?.unwrap_or_else(|| "create_prorations".to_owned());
    let paid_for = matches!(before["status"].as_str(), Some("active" | "past_due"));
    let mut lines = Vec::new();
    if params.has("items") && paid_for && prorates != "none" {
        lines = invoice_lines::of_change(world, &before, &changed, now_s);
    }
    if rebill {
        lines.extend(invoice_lines::of_period(world, &changed, false));
    } else if prorates != "always_invoice" {
        defer(&mut changed, std::mem::take(&mut lines))?;
    }
    let strict = params.text("payment_behavior")?.as_deref() == Some("error_if_incomplete");
    save(world, id, changed, lines, strict)
}

/// Changes the items; true when that begins a new period at once, which has to be paid, as at Stripe for another
/// interval.
fn change_items(world: &World, changed: &mut Value, params: &Params, now_s: i64) -> Result<bool, ApiError> {
    let id = changed["id"].as_str().unwrap_or_default().to_owned();
    let before = items::Cycle::of(&changed["items"]["data"][0]["price"]);
    let (list, cycle) = items::update(world, params, changed)?;
    if cycle.currency != before.currency {
        let message = "A subscription's currency cannot be changed; create a new subscription.";
        return Err(ApiError::refused(None, message).at("items"));
    }
    let period = (changed["current_period_start"].as_i64(), changed["current_period_end"].as_i64());
    changed["items"] = items::list(list, &id);
    let rebill = cycle != before && changed["status"] != "trialing";
    let (start_s, end_s) = match period {
        (Some(start_s), Some(end_s)) if !rebill => (start_s, end_s),
        _ => (now_s, cycle.end_s(now_s)),
    };
    items::set_period(changed, start_s, end_s);
    subscriptions::set_plan(changed);
    Ok(rebill)
}

/// Keeps lines for the invoice of the next period.
///
/// # Errors
/// 400 when there would be too many.
fn defer(subscription: &mut Value, lines: Vec<Value>) -> Result<(), ApiError> {
    let mut pending = subscription["_pending"].as_array().cloned().unwrap_or_default();
    pending.extend(lines);
    if pending.len() > MAX_PENDING {
        let message = format!("A subscription can have up to {MAX_PENDING} pending invoice items.");
        return Err(ApiError::refused(None, message));
    }
    subscription["_pending"] = json!(pending);
    Ok(())
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
    let now_s = world.now_s();
    let cycle = items::Cycle::of(&changed["items"]["data"][0]["price"]);
    items::set_period(&mut changed, now_s, cycle.end_s(now_s));
    changed["status"] = json!("active");
    let lines = invoice_lines::of_period(world, &changed, false);
    let resumed = save(world, id, changed, lines, false)?;
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

/// Keeps a changed subscription and bills `lines` at once, if there are any. `strict` refuses a card that would not pay
/// before anything changes.
fn save(world: &mut World, id: &str, mut changed: Value, lines: Vec<Value>, strict: bool) -> Result<Value, ApiError> {
    if lines.is_empty() {
        world.change(Kind::Subscription, id, "customer.subscription.updated", |kept| *kept = changed)?;
        return subscriptions::retrieve(world, id);
    }
    world.room(Kind::Invoice, 1)?;
    world.room(Kind::PaymentIntent, 1)?;
    if invoice_lines::total(&lines) > 0
        && let Some(card) = subscriptions::payer(world, &changed)?
        && strict
    {
        subscriptions::refuse_bad_card(world, &card)?;
    }
    let invoice = world.id(Kind::Invoice);
    changed["latest_invoice"] = json!(invoice);
    world.change(Kind::Subscription, id, "customer.subscription.updated", |kept| *kept = changed)?;
    let draft = Draft { subscription: id, invoice: &invoice, lines, reason: "subscription_update", advances: false };
    billing::draft(world, draft)?;
    billing::finalize(world, &invoice)?;
    billing::collect(world, &invoice)?;
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
