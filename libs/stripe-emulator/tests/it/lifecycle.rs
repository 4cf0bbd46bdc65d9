use serde_json::{Value, json};
use stripe_emulator::Options;

use crate::support::{Api, options, start};

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

async fn with_card(api: &Api, card: &str) -> String {
    let form = [("payment_method", card), ("invoice_settings[default_payment_method]", card)];
    id(&api.post("/v1/customers", &form).await.ok())
}

async fn intent_of(api: &Api, subscription: &Value) -> String {
    let invoice = subscription["latest_invoice"].as_str().unwrap();
    let path = format!("/v1/invoices/{invoice}");
    let invoice = api.at("2024-06-20").get(&path).await.ok();
    invoice["payment_intent"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_good_card_makes_it_active_with_stripes_events() {
    let (_emulator, api) = start(options()).await;
    let customer = api.customer().await;
    let subscription = api.subscribe(&customer, &[("metadata[peer]", "p1")]).await.ok();
    assert_eq!(subscription["status"], "active");
    assert_eq!(subscription["metadata"]["peer"], "p1");
    assert_eq!(
        api.event_types().await[1..],
        [
            "customer.subscription.created",
            "payment_intent.created",
            "invoice.created",
            "invoice.finalized",
            "payment_intent.succeeded",
            "invoice.paid",
            "invoice.payment_succeeded",
            "customer.subscription.updated",
        ]
    );
    let events = api.get("/v1/events?type=customer.subscription.*").await.ok();
    let (updated, created) = (&events["data"][0], &events["data"][1]);
    assert_eq!(created["data"]["object"]["status"], "incomplete");
    assert_eq!(updated["data"]["object"]["status"], "active");
    assert_eq!(updated["data"]["previous_attributes"], json!({ "status": "incomplete" }));
    assert!(updated["request"]["id"].as_str().unwrap().starts_with("req_"));
}

#[tokio::test]
async fn a_failing_card_leaves_it_incomplete_until_somebody_pays() {
    let (_emulator, api) = start(options()).await;
    let customer = with_card(&api, "pm_card_chargeCustomerFail").await;
    let subscription = api.subscribe(&customer, &[]).await.ok();
    assert_eq!(subscription["status"], "incomplete");
    let types = api.event_types().await;
    assert!(types.contains(&"invoice.payment_failed".to_owned()) && !types.contains(&"invoice.paid".to_owned()));
    let path = format!("/v1/payment_intents/{}", intent_of(&api, &subscription).await);
    assert_eq!(api.get(&path).await.ok()["last_payment_error"]["code"], "card_declined");
    let error = api.post(&format!("{path}/confirm"), &[("payment_method", "pm_card_chargeCustomerFail")]).await;
    assert_eq!(error.refused(402)["decline_code"], "generic_decline");
    let paid = api.post(&format!("{path}/confirm"), &[("payment_method", "pm_card_visa")]).await.ok();
    assert_eq!(paid["status"], "succeeded");
    assert_eq!(api.status_of(&id(&subscription)).await, "active");
    api.post(&format!("{path}/confirm"), &[]).await.refused(400);
}

#[tokio::test]
async fn a_card_may_ask_for_authentication() {
    let (_emulator, api) = start(options()).await;
    let customer = with_card(&api, "pm_card_authenticationRequired").await;
    let subscription = api.subscribe(&customer, &[]).await.ok();
    assert_eq!(subscription["status"], "incomplete");
    let intent = intent_of(&api, &subscription).await;
    let waiting = api.get(&format!("/v1/payment_intents/{intent}")).await.ok();
    assert_eq!(waiting["status"], "requires_action");
    assert_eq!(waiting["next_action"]["type"], "use_stripe_sdk");
    api.control(&format!("payment_intents/{intent}/authenticate"), json!({ "succeed": true })).await;
    assert_eq!(api.status_of(&id(&subscription)).await, "active");
}

#[tokio::test]
async fn a_payer_authenticates_or_pays_on_the_invoices_page() {
    let (_emulator, api) = start(options()).await;
    let form = "application/x-www-form-urlencoded";
    let post = async |url: &str, body: &'static str| {
        crate::support::finish(api.http.post(url).header("content-type", form).body(body)).await.unwrap()
    };
    for (card, steps) in [
        ("pm_card_authenticationRequired", ["authenticate=fail", "card=pm_card_visa"]),
        ("pm_card_threeDSecure2Required", ["card=pm_card_chargeDeclined", "card=pm_card_visa"]),
        ("pm_card_chargeCustomerFail", ["card=pm_card_authenticationRequired", "authenticate=pass"]),
    ] {
        let customer = with_card(&api, card).await;
        let subscription = api.subscribe(&customer, &[("expand[]", "latest_invoice")]).await.ok();
        let url = subscription["latest_invoice"]["hosted_invoice_url"].as_str().unwrap();
        assert!(url.starts_with(&api.base));
        let first = post(url, steps[0]).await;
        assert_eq!(api.status_of(&id(&subscription)).await, "incomplete", "{card}: {}", first.text);
        let second = post(url, steps[1]).await;
        assert!(second.text.contains("paid: 0 eur due"), "{card}: {}", second.text);
        assert_eq!(api.status_of(&id(&subscription)).await, "active", "{card}");
    }
}

#[tokio::test]
async fn cards_are_known_by_their_whole_number_and_date() {
    let (_emulator, api) = start(options()).await;
    let make = async |number: &str, year: &str| {
        let form = [("type", "card"), ("card[number]", number), ("card[exp_month]", "8"), ("card[exp_year]", year)];
        api.post("/v1/payment_methods", &form).await
    };
    assert_eq!(make("4242 4242 4242 4242", "2035").await.ok()["card"]["last4"], "4242");
    assert_eq!(make("1111111111114242", "2035").await.refused(400)["code"], "incorrect_number");
    let error = make("4242424242424242", "2020").await.refused(402);
    assert_eq!((&error["code"], &error["param"]), (&json!("invalid_expiry_year"), &json!("exp_year")));
    let customer = api.customer().await;
    for (card, code) in [
        ("pm_card_chargeDeclinedExpiredCard", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined"),
    ] {
        let path = format!("/v1/payment_methods/{card}/attach");
        assert_eq!(api.post(&path, &[("customer", &customer)]).await.refused(402)["code"], code, "{card}");
    }
}

#[tokio::test]
async fn default_incomplete_answers_before_the_payer_acts() {
    let (_emulator, api) = start(options()).await;
    let customer = api.customer().await;
    let answer = api.subscribe(&customer, &[("payment_behavior", "default_incomplete")]).await.ok();
    assert_eq!(answer["status"], "incomplete");
    assert_eq!(api.status_of(&id(&answer)).await, "active");

    let (_patient, api) = start(Options { auto_confirm: false, ..options() }).await;
    let customer = api.customer().await;
    let answer = api.subscribe(&customer, &[("payment_behavior", "default_incomplete")]).await.ok();
    assert_eq!(api.status_of(&id(&answer)).await, "incomplete");
    let intent = intent_of(&api, &answer).await;
    api.post(&format!("/v1/payment_intents/{intent}/confirm"), &[("payment_method", "pm_card_visa")]).await.ok();
    assert_eq!(api.status_of(&id(&answer)).await, "active");
}

#[tokio::test]
async fn error_if_incomplete_leaves_nothing_behind() {
    let (_emulator, api) = start(options()).await;
    let customer = with_card(&api, "pm_card_chargeCustomerFail").await;
    let behavior = [("payment_behavior", "error_if_incomplete")];
    assert_eq!(api.subscribe(&customer, &behavior).await.refused(402)["code"], "card_declined");
    assert_eq!(api.get("/v1/subscriptions?status=all").await.ok()["data"], json!([]));
    let careful = with_card(&api, "pm_card_authenticationRequired").await;
    let error = api.subscribe(&careful, &behavior).await.refused(402);
    assert_eq!(error["code"], "subscription_payment_intent_requires_action");
}

#[tokio::test]
async fn without_any_card_a_charge_is_refused() {
    let (_emulator, api) = start(Options { default_card: None, ..options() }).await;
    let customer = api.customer().await;
    assert_eq!(api.subscribe(&customer, &[]).await.refused(400)["code"], "resource_missing");
    let trial = api.subscribe(&customer, &[("trial_period_days", "7")]).await.ok();
    assert_eq!(trial["status"], "trialing");
    let waiting = api.subscribe(&customer, &[("payment_behavior", "default_incomplete")]).await.ok();
    assert_eq!(api.status_of(&id(&waiting)).await, "incomplete");
}

#[tokio::test]
async fn a_trial_costs_nothing_and_its_end_is_billed() {
    let (_emulator, api) = start(options()).await;
    let customer = api.customer().await;
    let trial = api.subscribe(&customer, &[("trial_period_days", "7")]).await.ok();
    assert_eq!(trial["status"], "trialing");
    assert_eq!(trial["trial_end"].as_i64().unwrap() - trial["trial_start"].as_i64().unwrap(), 7 * 86_400);
    let invoice = api.get(&format!("/v1/invoices/{}", trial["latest_invoice"].as_str().unwrap())).await.ok();
    assert_eq!((&invoice["status"], &invoice["total"]), (&json!("paid"), &json!(0)));
    let path = format!("/v1/subscriptions/{}", id(&trial));
    let active = api.post(&path, &[("trial_end", "now")]).await.ok();
    assert_eq!(active["status"], "active");
    assert_ne!(active["latest_invoice"], trial["latest_invoice"]);
    let invoice = api.get(&format!("/v1/invoices/{}", active["latest_invoice"].as_str().unwrap())).await.ok();
    assert_eq!((&invoice["status"], &invoice["amount_paid"]), (&json!("paid"), &json!(900)));
}

#[tokio::test]
async fn a_plan_is_changed_and_the_end_is_set_and_taken_back() {
    let (_emulator, api) = start(options()).await;
    let form =
        [("currency", "eur"), ("unit_amount", "1900"), ("recurring[interval]", "month"), ("product_data[name]", "Big")];
    let big = id(&api.post("/v1/prices", &form).await.ok());
    let customer = api.customer().await;
    let subscription = api.subscribe(&customer, &[]).await.ok();
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    let item = id(&subscription["items"]["data"][0]);
    let changed = api.post(&path, &[("items[0][id]", &item), ("items[0][price]", &big)]).await.ok();
    assert_eq!(changed["items"]["data"][0]["price"]["id"], big.as_str());
    assert_eq!(changed["items"]["total_count"], 1);
    assert_eq!(changed["latest_invoice"], subscription["latest_invoice"], "no new period");
    let ending = api.post(&path, &[("cancel_at_period_end", "true")]).await.ok();
    assert_eq!(ending["cancel_at"], ending["items"]["data"][0]["current_period_end"]);
    assert_eq!(ending["cancellation_details"]["reason"], "cancellation_requested");
    let kept = api.post(&path, &[("cancel_at_period_end", "false")]).await.ok();
    assert!(kept["cancel_at"].is_null() && kept["canceled_at"].is_null());
    let before = api.event_types().await.len();
    api.post(&path, &[("cancel_at_period_end", "false")]).await.ok();
    assert_eq!(api.event_types().await.len(), before, "nothing changed, nothing is told");
}

#[tokio::test]
async fn a_canceled_subscription_is_final() {
    let (_emulator, api) = start(options()).await;
    let customer = api.customer().await;
    let path = format!("/v1/subscriptions/{}", id(&api.subscribe(&customer, &[]).await.ok()));
    let canceled = api.delete(&path).await.ok();
    assert_eq!(canceled["status"], "canceled");
    assert!(canceled["ended_at"].is_i64());
    assert_eq!(api.event_types().await.last().unwrap(), "customer.subscription.deleted");
    assert_eq!(api.delete(&path).await.refused(404)["code"], "resource_missing");
    api.post(&path, &[("cancel_at_period_end", "true")]).await.refused(400);
    assert_eq!(api.post(&path, &[("metadata[a]", "b")]).await.ok()["metadata"]["a"], "b");
}

#[tokio::test]
async fn an_unpaid_first_invoice_is_voided_with_its_subscription() {
    let (_emulator, api) = start(options()).await;
    let customer = with_card(&api, "pm_card_chargeCustomerFail").await;
    let subscription = api.subscribe(&customer, &[]).await.ok();
    let ended = api.delete(&format!("/v1/subscriptions/{}", id(&subscription))).await.ok();
    assert_eq!(ended["status"], "incomplete_expired");
    let invoice = subscription["latest_invoice"].as_str().unwrap();
    assert_eq!(api.get(&format!("/v1/invoices/{invoice}")).await.ok()["status"], "void");
    api.post(&format!("/v1/invoices/{invoice}/pay"), &[("payment_method", "pm_card_visa")]).await.refused(400);
}

#[tokio::test]
async fn any_status_can_be_forced() {
    let (_emulator, api) = start(options()).await;
    let customer = api.customer().await;
    let subscription = id(&api.subscribe(&customer, &[]).await.ok());
    for status in ["past_due", "unpaid", "active", "paused", "trialing", "incomplete_expired"] {
        api.control(&format!("subscriptions/{subscription}/status"), json!({ "status": status })).await;
        assert_eq!(api.status_of(&subscription).await, status);
        assert_eq!(api.event_types().await.last().unwrap(), "customer.subscription.updated");
    }
    api.control(&format!("subscriptions/{subscription}/status"), json!({ "status": "canceled" })).await;
    assert_eq!(api.event_types().await.last().unwrap(), "customer.subscription.deleted");
}

#[tokio::test]
async fn a_paused_subscription_resumes_with_a_new_period() {
    let (_emulator, api) = start(options()).await;
    let customer = api.customer().await;
    let subscription = id(&api.subscribe(&customer, &[]).await.ok());
    let path = format!("/v1/subscriptions/{subscription}/resume");
    api.post(&path, &[]).await.refused(400);
    api.control(&format!("subscriptions/{subscription}/status"), json!({ "status": "paused" })).await;
    assert_eq!(api.post(&path, &[]).await.ok()["status"], "active");
    assert_eq!(api.event_types().await.last().unwrap(), "customer.subscription.resumed");
}

#[tokio::test]
async fn a_deleted_customer_takes_its_subscriptions_along() {
    let (_emulator, api) = start(options()).await;
    let customer = api.customer().await;
    let subscription = id(&api.subscribe(&customer, &[]).await.ok());
    api.delete(&format!("/v1/customers/{customer}")).await.ok();
    assert_eq!(api.status_of(&subscription).await, "canceled");
}
