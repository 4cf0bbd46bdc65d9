//! Invoices of subscriptions and what happens when they are charged.

use serde_json::{Value, json};

use super::payment_methods::{self, Charged};
use super::{invoice_lines, invoices, payment_intents, subscription_changes, subscriptions};
use crate::error::ApiError;
use crate::kind::Kind;
use crate::options::AfterRetries;
use crate::world::{Cause, World};

/// Opens the first invoice of a subscription, with a payment intent when there is something to pay; a free one is paid
/// at once. The caller has made sure there is room.
///
/// # Errors
/// Only when there is no room.
pub(crate) fn bill(world: &mut World, subscription: &str, invoice: &str, free: bool) -> Result<(), ApiError> {
    let subscription = subscriptions::retrieve(world, subscription)?;
    let lines = invoice_lines::of_period(world, &subscription, free);
    let amount = invoice_lines::total(&lines);
    let mut object = invoices::object(world, &subscription, invoice, lines, "subscription_create");
    if amount > 0 {
        let intent = ask_for_payment(world, &mut object)?;
        world.emit("payment_intent.created", &intent, None);
    }
    world.insert(Kind::Invoice, object.clone())?;
    world.emit("invoice.created", &object, None);
    world.emit("invoice.finalized", &object, None);
    if amount == 0 {
        settle(world, invoice)?;
    }
    Ok(())
}

/// What an invoice is drafted from.
pub(crate) struct Draft<'a> {
    pub(crate) subscription: &'a str,
    /// The new invoice's id.
    pub(crate) invoice: &'a str,
    pub(crate) lines: Vec<Value>,
    pub(crate) reason: &'a str,
    /// Whether it is finalized an hour later by itself.
    pub(crate) advances: bool,
}

/// Drafts an invoice.
///
/// # Errors
/// Only when there is no room.
pub(crate) fn draft(world: &mut World, draft: Draft<'_>) -> Result<(), ApiError> {
    let subscription = subscriptions::retrieve(world, draft.subscription)?;
    let mut object = invoices::object(world, &subscription, draft.invoice, draft.lines, draft.reason);
    invoices::make_draft(&mut object, world.now_s(), draft.advances);
    world.insert(Kind::Invoice, object.clone())?;
    world.emit("invoice.created", &object, None);
    Ok(())
}

/// Makes a draft payable; a free one is paid at once.
///
/// # Errors
/// 400 when it is no draft.
pub(crate) fn finalize(world: &mut World, invoice: &str) -> Result<(), ApiError> {
    let mut object = world.get(Kind::Invoice, invoice)?.clone();
    if object["status"] != "draft" {
        let message = "This invoice is already finalized, you can't re-finalize a non-draft invoice.";
        return Err(ApiError::refused(Some("invoice_not_editable"), message));
    }
    invoices::open(world, &mut object);
    use_balance(world, &mut object)?;
    let amount = object["amount_due"].as_i64().unwrap_or(0);
    if amount > 0 {
        world.room(Kind::PaymentIntent, 1)?;
        let intent = ask_for_payment(world, &mut object)?;
        world.emit("payment_intent.created", &intent, None);
    }
    world.modify(Kind::Invoice, invoice, |kept| *kept = object.clone())?;
    world.emit("invoice.finalized", &object, None);
    if amount == 0 {
        settle(world, invoice)?;
    }
    Ok(())
}

/// Charges an open invoice to whoever pays for its subscription, without anybody asking.
///
/// # Errors
/// None in practice: a payer that is missing counts as a failed attempt.
pub(crate) fn collect(world: &mut World, invoice: &str) -> Result<(), ApiError> {
    let object = world.get(Kind::Invoice, invoice)?;
    if object["status"] != "open" {
        return Ok(());
    }
    let id = object["subscription"].as_str().unwrap_or_default().to_owned();
    let subscription = subscriptions::retrieve(world, &id)?;
    match subscriptions::payer(world, &subscription) {
        Ok(Some(card)) => charge(world, invoice, &card).map(drop),
        _ => fail(world, invoice, "invoice.payment_failed"),
    }
}

fn use_balance(world: &mut World, invoice: &mut Value) -> Result<(), ApiError> {
    let id = invoice["customer"].as_str().unwrap_or_default().to_owned();
    let balance = world.get(Kind::Customer, &id)?["balance"].as_i64().unwrap_or(0);
    let after = invoices::apply_balance(invoice, balance);
    world.change(Kind::Customer, &id, "customer.updated", |customer| customer["balance"] = json!(after))?;
    Ok(())
}

fn ask_for_payment(world: &mut World, invoice: &mut Value) -> Result<Value, ApiError> {
    let intent = payment_intents::object(world, invoice);
    invoices::link(world, invoice, &intent);
    world.insert(Kind::PaymentIntent, intent.clone())?;
    Ok(intent)
}

/// Charges an open invoice to a payment method (or a test token), and lets the subscription follow.
///
/// # Errors
/// 400 when the payment method does not exist.
pub(crate) fn charge(world: &mut World, invoice: &str, card: &str) -> Result<Charged, ApiError> {
    let card = payment_methods::resolve(world, card, "payment_method")?;
    let outcome = payment_methods::outcome(&payment_methods::retrieve(world, &card)?);
    let intent = intent_of(world, invoice)?;
    match outcome {
        Charged::Succeeds => succeed(world, invoice, &intent, &card)?,
        Charged::Declined(code) => {
            payment_intents::decline(world, &intent, &card, code)?;
            fail(world, invoice, "invoice.payment_failed")?;
        }
        Charged::NeedsAction => {
            payment_intents::ask_for_action(world, &intent, &card)?;
            fail(world, invoice, "invoice.payment_action_required")?;
        }
    }
    Ok(outcome)
}

/// Ends a payment that waited for the payer's authentication.
///
/// # Errors
/// 400 when it does not wait for that, 404 when there is no such payment intent.
pub(crate) fn authenticate(world: &mut World, intent: &str, succeed_it: bool) -> Result<Value, ApiError> {
    let object = world.get(Kind::PaymentIntent, intent)?;
    if object["status"] != "requires_action" {
        let message = format!("The payment intent is {}, not requires_action.", object["status"]);
        return Err(ApiError::refused(Some("payment_intent_unexpected_state"), message));
    }
    let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let (invoice, card) = (text("invoice"), text("payment_method"));
    if succeed_it {
        succeed(world, &invoice, intent, &card)?;
    } else {
        payment_intents::decline(world, intent, &card, "authentication_required")?;
        fail(world, &invoice, "invoice.payment_failed")?;
    }
    payment_intents::retrieve(world, intent)
}

/// Voids the invoice of a subscription that ended before it was paid.
///
/// # Errors
/// None in practice: a missing or settled invoice is left alone.
pub(crate) fn void_open(world: &mut World, invoice: &str) -> Result<(), ApiError> {
    let Some(object) = world.find(Kind::Invoice, invoice) else { return Ok(()) };
    if object["status"] != "open" {
        return Ok(());
    }
    let now_s = world.now_s();
    let intent = object["payment_intent"].as_str().unwrap_or_default().to_owned();
    payment_intents::cancel(world, &intent)?;
    let (_, voided) = world.modify(Kind::Invoice, invoice, |invoice| {
        invoice["status"] = json!("void");
        invoice["next_payment_attempt"] = Value::Null;
        invoice["status_transitions"]["voided_at"] = json!(now_s);
    })?;
    world.emit("invoice.voided", &voided, None);
    Ok(())
}

/// Plays the payer of `payment_behavior=default_incomplete` once the caller has its answer.
pub(crate) fn confirm_pending(world: &mut World) {
    for invoice in std::mem::take(&mut world.to_confirm) {
        // The payer acts in the browser: no API request of the account stands behind what follows.
        world.cause = Cause::default();
        if let Err(error) = confirm(world, &invoice) {
            tracing::warn!(%invoice, error = %error.body(), "the payer could not confirm");
        }
    }
}

fn confirm(world: &mut World, invoice: &str) -> Result<(), ApiError> {
    let id = world.get(Kind::Invoice, invoice)?["subscription"].as_str().unwrap_or_default().to_owned();
    let subscription = subscriptions::retrieve(world, &id)?;
    match subscriptions::payer(world, &subscription) {
        Ok(Some(card)) => charge(world, invoice, &card).map(drop),
        // Nobody has a card: it stays incomplete, as at Stripe until somebody pays.
        _ => Ok(()),
    }
}

fn intent_of(world: &World, invoice: &str) -> Result<String, ApiError> {
    let object = world.get(Kind::Invoice, invoice)?;
    match (object["status"].as_str(), object["payment_intent"].as_str()) {
        (Some("open"), Some(intent)) => Ok(intent.to_owned()),
        (Some("paid"), _) => Err(ApiError::refused(None, "Invoice is already paid")),
        _ => Err(ApiError::refused(Some("invoice_not_editable"), "This invoice can no longer be paid.")),
    }
}

fn succeed(world: &mut World, invoice: &str, intent: &str, card: &str) -> Result<(), ApiError> {
    payment_intents::succeed(world, intent, card)?;
    settle(world, invoice)?;
    let id = world.get(Kind::Invoice, invoice)?["subscription"].as_str().unwrap_or_default().to_owned();
    world.change(Kind::Subscription, &id, "customer.subscription.updated", |subscription| {
        let waits = matches!(subscription["status"].as_str(), Some("incomplete" | "past_due" | "unpaid"));
        if waits && subscription["latest_invoice"] == invoice {
            subscription["status"] = json!("active");
        }
        if subscription["payment_settings"]["save_default_payment_method"] == "on_subscription" {
            subscription["default_payment_method"] = json!(card);
        }
    })?;
    Ok(())
}

fn settle(world: &mut World, invoice: &str) -> Result<(), ApiError> {
    let now_s = world.now_s();
    let (_, paid) = world.modify(Kind::Invoice, invoice, |invoice| invoices::pay_off(invoice, now_s))?;
    world.emit("invoice.paid", &paid, None);
    world.emit("invoice.payment_succeeded", &paid, None);
    Ok(())
}

fn fail(world: &mut World, invoice: &str, event: &str) -> Result<(), ApiError> {
    let object = world.get(Kind::Invoice, invoice)?;
    let id = object["subscription"].as_str().unwrap_or_default().to_owned();
    let attempts = object["attempt_count"].as_i64().unwrap_or(0) + 1;
    let subscription = subscriptions::retrieve(world, &id)?;
    let renewed = matches!(subscription["status"].as_str(), Some("active" | "past_due"));
    let retry_s = if renewed { retry_s(world, attempts) } else { None };
    let (_, failed) = world.modify(Kind::Invoice, invoice, |invoice| {
        invoice["attempted"] = json!(true);
        invoice["attempt_count"] = json!(attempts);
        invoice["next_payment_attempt"] = json!(retry_s);
    })?;
    world.emit(event, &failed, None);
    if !renewed {
        return Ok(());
    }
    let after = if retry_s.is_some() { AfterRetries::PastDue } else { world.dunning.after_retries };
    if after == AfterRetries::Cancel {
        return subscription_changes::end(world, &id, None, "payment_failed").map(drop);
    }
    world.change(Kind::Subscription, &id, "customer.subscription.updated", |subscription| {
        subscription["status"] = json!(if after == AfterRetries::Unpaid { "unpaid" } else { "past_due" });
    })?;
    Ok(())
}

/// When to try again after that many attempts; `None` when there are no more.
fn retry_s(world: &World, attempts: i64) -> Option<i64> {
    let days = world.dunning.retry_days.get(usize::try_from(attempts - 1).ok()?)?;
    Some(world.now_s() + i64::from(*days) * 86_400)
}
