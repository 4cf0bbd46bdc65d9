use std::time::Duration;

use clock::ManualClock;
use serde_json::{Value, json};
use stripe_emulator::{AfterRetries, Dunning, Options};

use crate::support::{Api, Receiver, START_MS, manual, options, start};

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
const START_S: i64 = START_MS as i64 / 1_000;

async fn with_card(api: &Api, card: &str) -> String {
    let form = [("payment_method", card), ("invoice_settings[default_payment_method]", card)];
    api.post("/v1/customers", &form).await.ok()["id"].as_str().unwrap().to_owned()
}

async fn change_card(api: &Api, customer: &str, card: &str) {
    let method = api.post(&format!("/v1/payment_methods/{card}/attach"), &[("customer", customer)]).await.ok();
    let form = [("invoice_settings[default_payment_method]", method["id"].as_str().unwrap())];
    api.post(&format!("/v1/customers/{customer}"), &form).await.ok();
}

async fn subscription(api: &Api, id: &str) -> Value {
    api.get(&format!("/v1/subscriptions/{id}?expand[]=latest_invoice")).await.ok()
}

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

fn pass(hand: &ManualClock, seconds: u64) {
    hand.advance(Duration::from_secs(seconds));
}

fn on(clock: clock::Clock, after_retries: AfterRetries) -> Options {
    Options { clock, dunning: Dunning { retry_days: vec![1, 2], after_retries }, ..options() }
}

#[tokio::test]
async fn a_paid_subscription_renews_month_by_month() {
    let (clock, hand) = manual();
    let (_emulator, api) = start(on(clock, AfterRetries::Cancel)).await;
    let customer = with_card(&api, "pm_card_visa").await;
    let first = api.subscribe(&customer, &[]).await.ok();
    let turn = first["items"]["data"][0]["current_period_end"].as_i64().unwrap();
    pass(&hand, (turn - START_S) as u64);
    let renewed = subscription(&api, &id(&first)).await;
    let item = &renewed["items"]["data"][0];
    assert_eq!(item["current_period_start"], turn);
    assert!(item["current_period_end"].as_i64().unwrap() > turn + 27 * DAY as i64);
    let invoice = &renewed["latest_invoice"];
    assert_eq!((&invoice["status"], &invoice["billing_reason"]), (&json!("draft"), &json!("subscription_cycle")));
    assert_eq!((&invoice["created"], &invoice["period_end"]), (&json!(turn), &json!(turn)));
    assert_eq!(invoice["automatically_finalizes_at"], turn + HOUR as i64);
    pass(&hand, HOUR);
    let paid = subscription(&api, &id(&first)).await;
    assert_eq!((&paid["status"], &paid["latest_invoice"]["status"]), (&json!("active"), &json!("paid")));
    let events = api.get("/v1/events?limit=100&type=invoice.*").await.ok();
    let types: Vec<_> = events["data"].as_array().unwrap().iter().take(4).map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["invoice.payment_succeeded", "invoice.paid", "invoice.finalized", "invoice.created"]);
    assert_eq!(events["data"][0]["created"], turn + HOUR as i64);
    let updated = api.get("/v1/events?type=customer.subscription.updated&limit=1").await.ok();
    let previous = &updated["data"][0]["data"]["previous_attributes"];
    assert!(previous["items"]["data"][0]["current_period_end"] == turn && previous["latest_invoice"].is_string());
    assert!(!previous.as_object().unwrap().contains_key("status"));
}

#[tokio::test]
async fn a_renewal_that_fails_is_retried_and_then_ends_as_the_account_says() {
    for (after, status) in
        [(AfterRetries::Cancel, "canceled"), (AfterRetries::Unpaid, "unpaid"), (AfterRetries::PastDue, "past_due")]
    {
        let (clock, hand) = manual();
        let (_emulator, api) = start(on(clock, after)).await;
        let customer = with_card(&api, "pm_card_visa").await;
        let one = api.subscribe(&customer, &[]).await.ok();
        change_card(&api, &customer, "pm_card_chargeCustomerFail").await;
        pass(&hand, 31 * DAY + HOUR);
        let failing = subscription(&api, &id(&one)).await;
        assert_eq!(failing["status"], "past_due");
        let invoice = &failing["latest_invoice"];
        assert_eq!((&invoice["attempt_count"], &invoice["status"]), (&json!(1), &json!("open")));
        let finalized = invoice["status_transitions"]["finalized_at"].as_i64().unwrap();
        assert_eq!(invoice["next_payment_attempt"], finalized + DAY as i64);
        pass(&hand, DAY);
        assert_eq!(subscription(&api, &id(&one)).await["latest_invoice"]["attempt_count"], 2);
        pass(&hand, 2 * DAY);
        let ended = subscription(&api, &id(&one)).await;
        assert_eq!(ended["status"], status);
        assert_eq!(ended["latest_invoice"]["attempt_count"], 3);
        assert_eq!(ended["latest_invoice"]["next_payment_attempt"], json!(null));
        if after == AfterRetries::Cancel {
            assert_eq!(ended["cancellation_details"]["reason"], "payment_failed");
            assert_eq!(api.event_types().await.last().unwrap(), "customer.subscription.deleted");
        } else {
            let invoice = id(&ended["latest_invoice"]);
            api.post(&format!("/v1/invoices/{invoice}/pay"), &[("payment_method", "pm_card_visa")]).await.ok();
            assert_eq!(api.status_of(&id(&one)).await, "active");
        }
    }
}

#[tokio::test]
async fn a_trial_is_announced_to_end_and_then_paid_for() {
    let (clock, hand) = manual();
    let (_emulator, api) = start(on(clock, AfterRetries::Cancel)).await;
    let customer = with_card(&api, "pm_card_visa").await;
    let trial = id(&api.subscribe(&customer, &[("trial_period_days", "7")]).await.ok());
    pass(&hand, 4 * DAY - 1);
    assert_eq!(api.status_of(&trial).await, "trialing");
    assert!(!api.event_types().await.contains(&"customer.subscription.trial_will_end".to_owned()));
    pass(&hand, 1);
    assert_eq!(api.event_types().await.last().unwrap(), "customer.subscription.trial_will_end");
    pass(&hand, 3 * DAY);
    assert_eq!(api.status_of(&trial).await, "active");
    pass(&hand, HOUR);
    let paid = subscription(&api, &trial).await;
    assert_eq!(paid["latest_invoice"]["amount_paid"], 900);
    assert!(paid.get("_noticed").is_none());
}

#[tokio::test]
async fn a_trial_without_a_card_ends_as_it_was_told() {
    for (told, status) in [("pause", "paused"), ("cancel", "canceled"), ("create_invoice", "active")] {
        let (clock, hand) = manual();
        let (_emulator, api) = start(Options { default_card: None, ..on(clock, AfterRetries::Cancel) }).await;
        let customer = api.customer().await;
        let field = "trial_settings[end_behavior][missing_payment_method]";
        let more = [("trial_period_days", "2"), (field, told)];
        let trial = id(&api.subscribe(&customer, &more).await.ok());
        assert_eq!(
            api.event_types().await.last().unwrap(),
            "customer.subscription.trial_will_end",
            "short trials at once"
        );
        pass(&hand, 2 * DAY);
        assert_eq!(api.status_of(&trial).await, status, "{told}");
        if told == "create_invoice" {
            pass(&hand, HOUR);
            assert_eq!(api.status_of(&trial).await, "past_due");
        }
    }
}

#[tokio::test]
async fn waits_expire() {
    let (clock, hand) = manual();
    let (_emulator, api) = start(on(clock, AfterRetries::Cancel)).await;
    let customer = with_card(&api, "pm_card_chargeCustomerFail").await;
    let unpaid = id(&api.subscribe(&customer, &[]).await.ok());
    let form =
        [("mode", "subscription"), ("line_items[0][price]", "price_demo"), ("success_url", "https://shop.example/")];
    let session = id(&api.post("/v1/checkout/sessions", &form).await.ok());
    pass(&hand, 23 * HOUR - 1);
    assert_eq!(api.status_of(&unpaid).await, "incomplete");
    pass(&hand, 1);
    let expired = subscription(&api, &unpaid).await;
    assert_eq!(
        (&expired["status"], &expired["latest_invoice"]["status"]),
        (&json!("incomplete_expired"), &json!("void"))
    );
    pass(&hand, HOUR);
    assert_eq!(api.get(&format!("/v1/checkout/sessions/{session}")).await.ok()["status"], "expired");
    assert_eq!(api.event_types().await.last().unwrap(), "checkout.session.expired");
}

#[tokio::test]
async fn subscriptions_end_when_they_were_told_to() {
    let (clock, hand) = manual();
    let (_emulator, api) = start(on(clock, AfterRetries::Cancel)).await;
    let customer = with_card(&api, "pm_card_visa").await;
    let at = (START_S + DAY as i64).to_string();
    let soon = api.subscribe(&customer, &[("cancel_at", at.as_str())]).await.ok();
    assert_eq!(soon["cancel_at"], START_S + DAY as i64);
    let later = id(&api.subscribe(&customer, &[("cancel_at_period_end", "true")]).await.ok());
    pass(&hand, DAY);
    let ended = subscription(&api, &id(&soon)).await;
    assert_eq!((&ended["status"], &ended["ended_at"]), (&json!("canceled"), &json!(START_S + DAY as i64)));
    assert_eq!(api.status_of(&later).await, "active");
    pass(&hand, 31 * DAY);
    assert_eq!(api.status_of(&later).await, "canceled");
    assert_eq!(api.get("/v1/invoices?limit=100").await.ok()["data"].as_array().unwrap().len(), 2, "nothing renewed");
}

#[tokio::test]
async fn time_passes_while_nobody_asks() {
    let (clock, hand) = manual();
    let (_emulator, api) = start(on(clock, AfterRetries::Cancel)).await;
    let mut receiver = Receiver::start().await;
    let customer = with_card(&api, "pm_card_visa").await;
    api.subscribe(&customer, &[]).await.ok();
    receiver.register(&api, &["invoice.paid"]).await;
    for _ in 0..32 {
        pass(&hand, DAY);
    }
    assert_eq!(receiver.next().await.event()["data"]["object"]["billing_reason"], "subscription_cycle");
}

#[tokio::test]
async fn its_own_time_can_be_moved_ahead_of_its_clock() {
    let (clock, _hand) = manual();
    let (_emulator, api) = start(on(clock, AfterRetries::Cancel)).await;
    let mut receiver = Receiver::start().await;
    let (_, secret) = receiver.register(&api, &["invoice.paid"]).await;
    let customer = with_card(&api, "pm_card_visa").await;
    let one = id(&api.subscribe(&customer, &[]).await.ok());
    receiver.next().await;
    let moved = api.control("clock", json!({ "advance_s": 31 * DAY + HOUR })).await;
    assert_eq!(moved["now_s"], START_S + (31 * DAY + HOUR) as i64);
    let renewed = subscription(&api, &one).await;
    assert_eq!((&renewed["status"], &renewed["latest_invoice"]["status"]), (&json!("active"), &json!("paid")));
    let hook = receiver.next().await;
    assert_eq!(crate::webhooks::verified_at(&hook, &secret), START_MS / 1_000, "signed at the receiver's time");
    assert!(hook.event()["created"].as_i64().unwrap() > START_S + 30 * DAY as i64);
    let url = format!("{}/_emulator/clock", api.base);
    for bad in [0, -1, i64::MAX] {
        let reply = api.http.post(&url).json(&json!({ "advance_s": bad })).send().await.unwrap();
        assert!(reply.text().await.unwrap().contains("advance_s"), "{bad}");
    }
}

#[tokio::test]
async fn what_time_brings_at_one_go_is_bounded() {
    let (clock, hand) = manual();
    let limits = stripe_emulator::Limits { steps: 3, ..Default::default() };
    let (_emulator, api) = start(Options { limits, ..on(clock, AfterRetries::Cancel) }).await;
    let customer = with_card(&api, "pm_card_visa").await;
    let one = id(&api.subscribe(&customer, &[]).await.ok());
    pass(&hand, 365 * DAY);
    let end = async || {
        let found = subscription(&api, &one).await;
        found["items"]["data"][0]["current_period_end"].as_i64().unwrap()
    };
    let (mut last, mut rounds) = (end().await, 0);
    while last <= START_S + 365 * DAY as i64 {
        rounds += 1;
        assert!(rounds < 100, "it stands still at {last}");
        last = end().await;
    }
    assert!(rounds > 2, "a year of renewals came at one go");
}

async fn clock_with(api: &Api, card: &str) -> (String, String, String) {
    let form = [("frozen_time", "1700000000"), ("name", "billing")];
    let clock = id(&api.post("/v1/test_helpers/test_clocks", &form).await.ok());
    let form = [("payment_method", card), ("invoice_settings[default_payment_method]", card), ("test_clock", &clock)];
    let customer = id(&api.post("/v1/customers", &form).await.ok());
    let subscription = api.subscribe(&customer, &[]).await.ok();
    assert_eq!((&subscription["created"], &subscription["test_clock"]), (&json!(1_700_000_000), &json!(clock)));
    (clock, customer, id(&subscription))
}

async fn advance(api: &Api, clock: &str, to_s: i64) {
    let path = format!("/v1/test_helpers/test_clocks/{clock}");
    let form = [("frozen_time", to_s.to_string())];
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let on_its_way = api.post(&format!("{path}/advance"), &form).await.ok();
    assert_eq!(on_its_way["status"], "advancing");
    assert_eq!(on_its_way["status_details"]["advancing"]["target_frozen_time"], to_s);
    let there = api.get(&path).await.ok();
    assert_eq!((&there["status"], &there["frozen_time"]), (&json!("ready"), &json!(to_s)));
}

#[tokio::test]
async fn a_test_clock_moves_its_customers_alone() {
    let (clock, hand) = manual();
    let (_emulator, api) = start(on(clock, AfterRetries::Cancel)).await;
    let (test_clock, customer, moved) = clock_with(&api, "pm_card_visa").await;
    let other = with_card(&api, "pm_card_visa").await;
    let still = id(&api.subscribe(&other, &[]).await.ok());
    advance(&api, &test_clock, 1_700_000_000 + 31 * DAY as i64 + HOUR as i64).await;
    let renewed = subscription(&api, &moved).await;
    assert_eq!(renewed["latest_invoice"]["billing_reason"], "subscription_cycle");
    assert_eq!(renewed["latest_invoice"]["status"], "paid");
    assert_eq!(renewed["latest_invoice"]["test_clock"], test_clock.as_str());
    assert_eq!(subscription(&api, &still).await["latest_invoice"]["billing_reason"], "subscription_create");
    pass(&hand, 20 * DAY);
    assert_eq!(subscription(&api, &moved).await, renewed, "the emulator's own time is not its time");
    let types = api.event_types().await;
    assert_eq!(types.last().unwrap(), "test_helpers.test_clock.ready");

    let listed = async |path: String| api.get(&path).await.ok()["data"].as_array().unwrap().len();
    assert_eq!(listed("/v1/customers".to_owned()).await, 1);
    assert_eq!(listed(format!("/v1/customers?test_clock={test_clock}")).await, 1);
    assert_eq!(listed("/v1/subscriptions".to_owned()).await, 1);
    assert_eq!(listed(format!("/v1/subscriptions?customer={customer}")).await, 1);

    let path = format!("/v1/test_helpers/test_clocks/{test_clock}");
    let far = [("frozen_time", "1900000000")];
    assert_eq!(api.post(&format!("{path}/advance"), &far).await.refused(400)["param"], "frozen_time");
    let back = [("frozen_time", "1700000000")];
    assert_eq!(api.post(&format!("{path}/advance"), &back).await.refused(400)["param"], "frozen_time");
    assert_eq!(api.delete(&path).await.ok()["deleted"], true);
    assert_eq!(api.get(&format!("/v1/customers/{customer}")).await.ok()["deleted"], true);
    api.get(&path).await.refused(404);
}

#[tokio::test]
async fn dunning_on_a_test_clock() {
    let (_emulator, api) = start(options()).await;
    let (test_clock, customer, moved) = clock_with(&api, "pm_card_visa").await;
    api.control("settings", json!({ "retry_days": [1], "after_retries": "unpaid" })).await;
    change_card(&api, &customer, "pm_card_chargeCustomerFail").await;
    let renewal = 1_700_000_000 + 30 * DAY as i64;
    advance(&api, &test_clock, renewal + 2 * HOUR as i64).await;
    assert_eq!(api.status_of(&moved).await, "past_due");
    advance(&api, &test_clock, renewal + 2 * DAY as i64).await;
    assert_eq!(api.status_of(&moved).await, "unpaid");
    advance(&api, &test_clock, renewal + 40 * DAY as i64).await;
    let unpaid = subscription(&api, &moved).await;
    assert_eq!((&unpaid["status"], &unpaid["latest_invoice"]["status"]), (&json!("unpaid"), &json!("draft")));
    let url = format!("{}/_emulator/settings", api.base);
    let reply = api.http.post(url).json(&json!({ "retry_days": [0] })).send().await.unwrap();
    assert!(reply.text().await.unwrap().contains("retry_days"));
}
