use serde_json::{Value, json};

use super::payment_methods::Charged;
use super::subscriptions;
use super::{billing, invoice_lines};
use crate::error::ApiError;
use crate::ids;
use crate::kind::Kind;
use crate::listing::{self, PAGING};
use crate::metadata;
use crate::params::Params;
use crate::world::World;

/// How long a renewal's invoice stays a draft. Source: Stripe's documentation, "Invoice lifecycle": about an hour.
const DRAFT_S: i64 = 3_600;

pub(crate) fn retrieve(world: &World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::Invoice, id).cloned()
}

pub(crate) fn list(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&[&PAGING[..], &["customer", "status", "subscription"]].concat())?;
    params.choice("status", &["draft", "open", "paid", "uncollectible", "void"])?;
    let customer = listing::equals(params, "customer")?;
    let status = listing::equals(params, "status")?;
    let subscription = listing::equals(params, "subscription")?;
    listing::page(world, Kind::Invoice, "/v1/invoices", params, |invoice| {
        customer(invoice) && status(invoice) && subscription(invoice)
    })
}

pub(crate) fn pay(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["off_session", "payment_method"])?;
    let invoice = retrieve(world, id)?;
    let card = match params.text("payment_method")? {
        Some(card) => Some(card),
        None => {
            let subscription = subscriptions::retrieve(world, invoice["subscription"].as_str().unwrap_or_default())?;
            subscriptions::payer(world, &subscription)?
        }
    };
    match billing::charge(world, id, &card.unwrap_or_default())? {
        Charged::Succeeds => retrieve(world, id),
        Charged::Declined(code) => Err(ApiError::card_declined(code)),
        Charged::NeedsAction => Err(ApiError::action_required(
            "invoice_payment_intent_requires_action",
            "This payment requires additional user action before it can be completed successfully. Payment can be \
             completed using the PaymentIntent associated with the invoice.",
        )),
    }
}

pub(crate) fn update(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["auto_advance", "description", "metadata"])?;
    let mut changed = retrieve(world, id)?;
    if let Some(advances) = params.boolean("auto_advance")? {
        changed["auto_advance"] = json!(advances);
        if changed["status"] == "draft" {
            changed["automatically_finalizes_at"] = json!(advances.then(|| world.now_s() + DRAFT_S));
        }
    }
    super::set_texts(&mut changed, params, &["description"])?;
    changed["metadata"] = metadata::merged(&changed["metadata"], params)?;
    world.change(Kind::Invoice, id, "invoice.updated", |invoice| *invoice = changed)
}

pub(crate) fn finalize(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["auto_advance"])?;
    billing::finalize(world, id)?;
    retrieve(world, id)
}

pub(crate) fn void(world: &mut World, id: &str) -> Result<Value, ApiError> {
    if retrieve(world, id)?["status"] != "open" {
        let message = "You can only pass in open invoices. This invoice isn't open.";
        return Err(ApiError::refused(Some("invoice_not_open"), message));
    }
    billing::void_open(world, id)?;
    retrieve(world, id)
}

/// Ties an invoice to the payment intent that will pay it, in every version's way.
pub(crate) fn link(world: &World, invoice: &mut Value, intent: &Value) {
    let payment = json!({
        "id": ids::object(&world.entropy, "inpay"),
        "object": "invoice_payment",
        "amount_paid": null,
        "amount_requested": intent["amount"],
        "created": world.now_s(),
        "currency": intent["currency"],
        "invoice": invoice["id"],
        "is_default": true,
        "livemode": false,
        "payment": { "payment_intent": intent["id"], "type": "payment_intent" },
        "status": "open",
        "status_transitions": { "canceled_at": null, "paid_at": null },
    });
    invoice["payment_intent"] = intent["id"].clone();
    invoice["confirmation_secret"] = json!({ "client_secret": intent["client_secret"], "type": "payment_intent" });
    invoice["payments"] = json!({
        "object": "list", "data": [payment], "has_more": false, "url": "/v1/invoice_payments",
    });
}

/// Takes back what finalizing gave an invoice.
pub(crate) fn make_draft(invoice: &mut Value, now_s: i64, advances: bool) {
    invoice["status"] = json!("draft");
    invoice["number"] = Value::Null;
    invoice["effective_at"] = Value::Null;
    invoice["hosted_invoice_url"] = Value::Null;
    invoice["status_transitions"]["finalized_at"] = Value::Null;
    invoice["auto_advance"] = json!(advances);
    if advances {
        invoice["automatically_finalizes_at"] = json!(now_s + DRAFT_S);
        invoice["next_payment_attempt"] = json!(now_s + DRAFT_S);
    }
}

/// Opens a draft.
pub(crate) fn open(world: &World, invoice: &mut Value) {
    let now_s = world.now_s();
    invoice["status"] = json!("open");
    invoice["hosted_invoice_url"] = page_of(world, invoice);
    invoice["number"] = number(world, invoice);
    invoice["effective_at"] = json!(now_s);
    invoice["status_transitions"]["finalized_at"] = json!(now_s);
    invoice["automatically_finalizes_at"] = Value::Null;
    invoice["next_payment_attempt"] = Value::Null;
}

/// Takes a customer's credit for what is due, and gives credit for what is owed; returns the balance after it.
pub(crate) fn apply_balance(invoice: &mut Value, balance: i64) -> i64 {
    let total = invoice["total"].as_i64().unwrap_or(0);
    let due = total.saturating_add(balance);
    let ending = due.min(0);
    for field in ["amount_due", "amount_remaining"] {
        invoice[field] = json!(due.max(0));
    }
    invoice["starting_balance"] = json!(balance);
    invoice["ending_balance"] = json!(ending);
    ending
}

/// Where its payer can pay it, in a browser.
fn page_of(world: &World, invoice: &Value) -> Value {
    json!(format!("{}/i/{}", world.base_url, invoice["id"].as_str().unwrap_or_default()))
}

fn number(world: &World, invoice: &Value) -> Value {
    let customer = world.find(Kind::Customer, invoice["customer"].as_str().unwrap_or_default());
    let prefix = customer.and_then(|customer| customer["invoice_prefix"].as_str()).unwrap_or("EMULATED");
    let numbered = |other: &&Value| other["customer"] == invoice["customer"] && other["number"].is_string();
    json!(format!("{prefix}-{:04}", world.newest_first(Kind::Invoice).filter(numbered).count() + 1))
}

/// Marks an invoice as paid in full.
pub(crate) fn pay_off(invoice: &mut Value, now_s: i64) {
    let due = invoice["amount_due"].clone();
    let attempts = invoice["attempt_count"].as_i64().unwrap_or(0);
    invoice["status"] = json!("paid");
    invoice["paid"] = json!(true);
    invoice["next_payment_attempt"] = Value::Null;
    invoice["attempted"] = json!(true);
    invoice["attempt_count"] = json!(if due == 0 { attempts } else { attempts + 1 });
    invoice["amount_paid"] = due.clone();
    invoice["amount_remaining"] = json!(0);
    invoice["status_transitions"]["paid_at"] = json!(now_s);
    if let Some(payment) = invoice["payments"]["data"].get_mut(0) {
        payment["status"] = json!("paid");
        payment["amount_paid"] = due;
        payment["status_transitions"]["paid_at"] = json!(now_s);
    }
}

/// An open invoice of these lines.
pub(crate) fn object(world: &World, subscription: &Value, id: &str, lines: Vec<Value>, reason: &str) -> Value {
    let now_s = world.now_s();
    let customer = world.find(Kind::Customer, subscription["customer"].as_str().unwrap_or_default());
    let customer = customer.cloned().unwrap_or_default();
    let mut invoice = settled_parts(subscription, id, now_s);
    let total = invoice_lines::total(&lines);
    for field in ["subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax"] {
        invoice[field] = json!(total);
    }
    // What is owed to the customer does not become due, it becomes credit.
    for field in ["amount_due", "amount_remaining"] {
        invoice[field] = json!(total.max(0));
    }
    for field in ["address", "email", "name", "phone", "shipping", "tax_exempt"] {
        invoice[format!("customer_{field}")] = customer[field].clone();
    }
    let details = json!({ "metadata": subscription["metadata"], "subscription": subscription["id"] });
    invoice["billing_reason"] = json!(reason);
    invoice["lines"] = invoice_lines::list(lines, id);
    invoice["parent"] =
        json!({ "quote_details": null, "subscription_details": details, "type": "subscription_details" });
    invoice["subscription_details"] = json!({ "metadata": subscription["metadata"] });
    invoice["number"] = number(world, &invoice);
    invoice["hosted_invoice_url"] = page_of(world, &invoice);
    invoice
}

// What does not depend on the amount or the customer.
fn settled_parts(subscription: &Value, id: &str, now_s: i64) -> Value {
    let mut invoice = json!({
        "id": id, "object": "invoice",
        "account_country": "US", "account_name": "Emulated account", "account_tax_ids": null,
        "amount_overpaid": 0, "amount_paid": 0, "amount_shipping": 0, "application": null,
        "attempt_count": 0, "attempted": false, "auto_advance": false,
        "automatic_tax": { "disabled_reason": null, "enabled": false, "liability": null, "provider": null, "status": null },
        "automatically_finalizes_at": null, "collection_method": "charge_automatically",
        "created": now_s, "currency": subscription["currency"], "custom_fields": null,
        "customer": subscription["customer"], "customer_account": null, "customer_tax_ids": [],
        "default_payment_method": null, "default_source": null, "default_tax_rates": [], "description": null,
        "discounts": [], "due_date": null, "effective_at": now_s, "ending_balance": 0, "footer": null,
        "from_invoice": null, "hosted_invoice_url": null, "invoice_pdf": null, "issuer": { "type": "self" },
        "last_finalization_error": null, "latest_revision": null, "livemode": false,
        "metadata": {}, "next_payment_attempt": null, "on_behalf_of": null,
    });
    let more = json!({
        "payment_settings": { "default_mandate": null, "payment_method_options": null, "payment_method_types": null },
        "period_end": now_s, "period_start": now_s, "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0, "receipt_number": null, "rendering": null, "shipping_cost": null,
        "shipping_details": null, "starting_balance": 0, "statement_descriptor": null, "status": "open",
        "status_transitions": {
            "finalized_at": now_s, "marked_uncollectible_at": null, "paid_at": null, "voided_at": null,
        },
        "test_clock": subscription["test_clock"], "total_discount_amounts": [], "total_pretax_credit_amounts": [], "total_taxes": [],
        "webhooks_delivered_at": null,
        "confirmation_secret": null,
        "payments": { "object": "list", "data": [], "has_more": false, "url": "/v1/invoice_payments" },
        // Only before 2025-03-31.basil:
        "application_fee_amount": null, "charge": null, "discount": null, "paid": false, "paid_out_of_band": false,
        "payment_intent": null, "quote": null, "subscription": subscription["id"], "tax": null,
        "total_tax_amounts": [], "transfer_data": null,
    });
    if let (Some(invoice), Value::Object(more)) = (invoice.as_object_mut(), more) {
        invoice.extend(more);
    }
    invoice
}
