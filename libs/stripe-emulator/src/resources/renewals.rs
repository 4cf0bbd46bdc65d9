//! The turn of a subscription's period: renewals, and what becomes of a trial.

use serde_json::{Value, json};

use super::billing::{self, Draft};
use super::subscription_items as items;
use super::{invoice_lines, periods, subscription_changes, subscriptions};
use crate::error::ApiError;
use crate::kind::Kind;
use crate::world::{World, previous_attributes};

/// Says that a trial ends in three days (at its start when it is shorter).
///
/// # Errors
/// 404 when the subscription is gone.
pub(crate) fn notice_trial_end(world: &mut World, id: &str) -> Result<(), ApiError> {
    let (_, subscription) = world.modify(Kind::Subscription, id, |subscription| {
        subscription["_noticed"] = json!(true);
    })?;
    world.emit("customer.subscription.trial_will_end", &subscription, None);
    Ok(())
}

/// The period is over: the subscription renews, or what it was told to do instead.
///
/// # Errors
/// When there is no room for the invoice.
pub(crate) fn turn(world: &mut World, id: &str) -> Result<(), ApiError> {
    let subscription = subscriptions::retrieve(world, id)?;
    let trial = subscription["status"] == "trialing";
    let payer = subscriptions::payer(world, &subscription);
    if trial && !matches!(payer, Ok(Some(_))) {
        match subscription["trial_settings"]["end_behavior"]["missing_payment_method"].as_str() {
            Some("cancel") => {
                return subscription_changes::end(world, id, None, "payment_failed").map(drop);
            }
            Some("pause") => return pause(world, id),
            _ => {}
        }
    }
    renew(world, &subscription)
}

fn pause(world: &mut World, id: &str) -> Result<(), ApiError> {
    let paused = world.change(Kind::Subscription, id, "customer.subscription.updated", |subscription| {
        subscription["status"] = json!("paused");
    })?;
    world.emit("customer.subscription.paused", &paused, None);
    Ok(())
}

fn renew(world: &mut World, subscription: &Value) -> Result<(), ApiError> {
    let id = subscription["id"].as_str().unwrap_or_default().to_owned();
    world.room(Kind::Invoice, 1)?;
    world.room(Kind::PaymentIntent, 1)?;
    let invoice = world.id(Kind::Invoice);
    let cycle = items::Cycle::of(&subscription["items"]["data"][0]["price"]);
    let start_s = subscription["current_period_end"].as_i64().unwrap_or_else(|| world.now_s());
    let anchor_s = subscription["billing_cycle_anchor"].as_i64().unwrap_or(start_s);
    let end_s = periods::next_turn_s(anchor_s, start_s, &cycle.interval, cycle.interval_count);
    // An unpaid subscription's further invoices wait for somebody to look at them.
    let advances = subscription["status"] != "unpaid";
    // What changes in the middle of the period over left to pay comes first.
    let mut lines = subscription["_pending"].as_array().cloned().unwrap_or_default();
    let (_, begun) = world.modify(Kind::Subscription, &id, |subscription| {
        items::set_period(subscription, start_s, end_s);
        subscription["_pending"] = json!([]);
    })?;
    lines.extend(invoice_lines::of_period(world, &begun, false));
    let draft = Draft { subscription: &id, invoice: &invoice, lines, reason: "subscription_cycle", advances };
    billing::draft(world, draft)?;
    let usage = (subscription["current_period_start"].clone(), subscription["current_period_end"].clone());
    world.modify(Kind::Invoice, &invoice, |invoice| {
        (invoice["period_start"], invoice["period_end"]) = usage;
    })?;
    let (_, renewed) = world.modify(Kind::Subscription, &id, |subscription| {
        subscription["latest_invoice"] = json!(invoice);
        if subscription["status"] == "trialing" {
            subscription["status"] = json!("active");
        }
    })?;
    let previous = previous_attributes(subscription, &renewed);
    world.emit("customer.subscription.updated", &renewed, Some(previous));
    Ok(())
}
