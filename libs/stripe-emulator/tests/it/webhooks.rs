use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use stripe_emulator::{DeliveryPlan, Limits, Options, Order, RetryPolicy, SeedWebhook};

use crate::support::{Hook, Receiver, START_MS, eventually, manual, options, start};

const LIFE: [&str; 8] = [
    "customer.subscription.created",
    "payment_intent.created",
    "invoice.created",
    "invoice.finalized",
    "payment_intent.succeeded",
    "invoice.paid",
    "invoice.payment_succeeded",
    "customer.subscription.updated",
];

/// Stripe's documented check, written apart from the emulator's code.
pub(crate) fn verified_at(hook: &Hook, secret: &str) -> u64 {
    let (time, macs) = hook.signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let signed = [time.as_bytes(), b".", &hook.body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let holds = |mac: &str| hmac::verify(&key, &signed, &unhex(mac)).is_ok();
    assert!(macs.split(",v1=").any(holds), "no signature of {} holds for {secret}", hook.signature);
    time.parse().unwrap()
}

fn unhex(mac: &str) -> Vec<u8> {
    (0..mac.len()).step_by(2).map(|at| u8::from_str_radix(&mac[at..at + 2], 16).unwrap()).collect()
}

fn types(hooks: &[Hook]) -> Vec<String> {
    hooks.iter().map(Hook::event_type).collect()
}

fn quick_retries() -> RetryPolicy {
    RetryPolicy { max_attempts: 3, base_ms: 1, cap_ms: 2, timeout_ms: 2_000 }
}

#[tokio::test]
async fn a_lifecycle_arrives_signed_and_in_order() {
    let (clock, _hand) = manual();
    let (_emulator, api) = start(Options { clock, ..options() }).await;
    let mut receiver = Receiver::start().await;
    let (_, secret) = receiver.register(&api, &["*"]).await;
    assert!(secret.starts_with("whsec_"));
    let customer = api.customer().await;
    let subscription = api.subscribe(&customer, &[]).await.ok();
    let hooks = receiver.take(9).await;
    assert_eq!(types(&hooks)[1..], LIFE);
    for hook in &hooks {
        assert_eq!(verified_at(hook, &secret), START_MS / 1_000);
        let event = hook.event();
        assert_eq!(event["object"], "event");
        assert_eq!(event["api_version"], "2025-11-17.clover");
        assert_eq!(event["pending_webhooks"], 1);
        assert!(event["data"]["object"].get("confirmation_secret").is_none());
    }
    assert_eq!(hooks[8].event()["data"]["object"], subscription);
    let listed = api.get("/v1/events?limit=1").await.ok();
    assert_eq!(listed["data"][0], hooks[8].event());
}

#[tokio::test]
async fn events_arrive_twice_and_backwards_when_asked() {
    let (_emulator, api) = start(options()).await;
    let mut receiver = Receiver::start().await;
    receiver.register(&api, &["customer.subscription.*", "invoice.*", "payment_intent.*"]).await;
    let plan = json!({ "copies": 2, "order": "reverse", "window": 8, "window_ms": 60_000 });
    let set = api.control("delivery", plan).await;
    assert_eq!(set["order"], "reverse");
    let customer = api.customer().await;
    api.subscribe(&customer, &[]).await.ok();
    let hooks = receiver.take(16).await;
    let backwards: Vec<_> = LIFE.iter().rev().chain(LIFE.iter().rev()).collect();
    assert_eq!(types(&hooks).iter().collect::<Vec<_>>(), backwards);
    let mut copies: HashMap<String, Vec<&Hook>> = HashMap::new();
    for hook in &hooks {
        copies.entry(hook.event()["id"].as_str().unwrap().to_owned()).or_default().push(hook);
    }
    assert!(copies.values().all(|copies| copies.len() == 2 && copies[0].body == copies[1].body));
    let seen = eventually(&api, "deliveries", |seen| seen["pending"] == 0).await;
    assert_eq!(seen["data"].as_array().unwrap().len(), 16);
    receiver.nothing_more();
}

#[tokio::test]
async fn a_shuffle_repeats_with_its_seed() {
    let mut orders = Vec::new();
    for _ in 0..2 {
        let delivery = DeliveryPlan { order: Order::Shuffle, window: 9, window_ms: 60_000, ..DeliveryPlan::default() };
        let mut receiver = Receiver::start().await;
        let hook = SeedWebhook {
            url: receiver.url.clone(),
            secret: "whsec_0123456789".to_owned(),
            enabled_events: vec!["*".to_owned()],
        };
        let (_emulator, api) = start(Options { delivery, webhooks: vec![hook], ..options() }).await;
        let customer = api.customer().await;
        api.subscribe(&customer, &[]).await.ok();
        let hooks = receiver.take(9).await;
        verified_at(&hooks[0], "whsec_0123456789");
        orders.push(types(&hooks));
    }
    let mut sorted = orders[0].clone();
    sorted.sort();
    let mut expected: Vec<_> = LIFE.iter().copied().chain(["customer.created"]).collect();
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    assert_ne!(orders[0][1..], LIFE);
}

#[tokio::test]
async fn a_window_that_does_not_fill_is_delivered_all_the_same() {
    let (_emulator, api) = start(options()).await;
    let mut receiver = Receiver::start().await;
    receiver.register(&api, &["*"]).await;
    api.control("delivery", json!({ "order": "reverse", "window": 1000, "window_ms": 20 })).await;
    api.customer().await;
    assert_eq!(receiver.next().await.event_type(), "customer.created");
}

#[tokio::test]
async fn failed_deliveries_are_tried_again_and_then_given_up() {
    let (_emulator, api) = start(Options { retry: quick_retries(), ..options() }).await;
    let mut receiver = Receiver::start().await;
    let (endpoint, secret) = receiver.register(&api, &["*"]).await;
    for statuses in [[500, 302, 200], [400, 404, 500]] {
        receiver.answer(&statuses);
        api.customer().await;
        let hooks = receiver.take(3).await;
        for hook in &hooks {
            verified_at(hook, &secret);
            assert_eq!(hook.body, hooks[0].body);
        }
    }
    let seen = eventually(&api, "deliveries", |seen| seen["pending"] == 0).await;
    let log = seen["data"].as_array().unwrap();
    let outcomes: Vec<_> = log.iter().map(|entry| entry["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["retrying", "retrying", "delivered", "retrying", "retrying", "gave_up"]);
    let statuses: Vec<_> = log.iter().map(|entry| entry["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [500, 302, 200, 400, 404, 500]);
    assert!(log.iter().all(|entry| entry["endpoint"] == endpoint.as_str()));
    receiver.nothing_more();
}

#[tokio::test]
async fn a_rolled_secret_signs_beside_the_old_one_until_that_expires() {
    let (clock, hand) = manual();
    let (_emulator, api) = start(Options { clock, ..options() }).await;
    let mut receiver = Receiver::start().await;
    let (id, old) = receiver.register(&api, &["customer.created"]).await;
    let rolled = api.control(&format!("webhook_endpoints/{id}/roll"), json!({ "expire_in_s": 60 })).await;
    let new = rolled["secret"].as_str().unwrap();
    assert_ne!(new, old);
    api.customer().await;
    let both = receiver.next().await;
    assert_eq!(both.signature.matches(",v1=").count(), 2);
    verified_at(&both, &old);
    verified_at(&both, new);
    hand.advance(Duration::from_secs(60));
    api.customer().await;
    let one = receiver.next().await;
    assert_eq!(one.signature.matches(",v1=").count(), 1);
    verified_at(&one, new);
}

#[tokio::test]
async fn delays_follow_the_clock() {
    let (clock, hand) = manual();
    let (_emulator, api) = start(Options { clock, ..options() }).await;
    let mut receiver = Receiver::start().await;
    receiver.register(&api, &["*"]).await;
    api.control("delivery", json!({ "delay_ms": 5_000 })).await;
    api.customer().await;
    let seen = api.seen("deliveries").await;
    assert_eq!((&seen["pending"], &seen["data"]), (&json!(1), &json!([])));
    receiver.nothing_more();
    hand.advance(Duration::from_secs(5));
    assert_eq!(receiver.next().await.event_type(), "customer.created");
}

#[tokio::test]
async fn events_can_be_lost_for_good_and_sent_again() {
    let (_emulator, api) = start(options()).await;
    let mut receiver = Receiver::start().await;
    receiver.register(&api, &["*"]).await;
    api.control("delivery", json!({ "drop_every": 2 })).await;
    for name in ["a", "b", "c"] {
        api.post("/v1/customers", &[("name", name)]).await.ok();
    }
    let names: Vec<Value> =
        receiver.take(2).await.iter().map(|hook| hook.event()["data"]["object"]["name"].clone()).collect();
    assert_eq!(names, ["a", "c"]);
    let seen = eventually(&api, "deliveries", |seen| seen["pending"] == 0).await;
    let dropped = seen["data"].as_array().unwrap().iter().find(|entry| entry["outcome"] == "dropped").unwrap();
    api.control("delivery", json!({})).await;
    api.control(&format!("events/{}/resend", dropped["event"].as_str().unwrap()), json!({})).await;
    assert_eq!(receiver.next().await.event()["data"]["object"]["name"], "b");
}

#[tokio::test]
async fn an_endpoint_gets_its_types_in_its_version() {
    let (_emulator, api) = start(options()).await;
    let mut receiver = Receiver::start().await;
    let form = [
        ("url", receiver.url.as_str()),
        ("enabled_events[]", "customer.subscription.updated"),
        ("api_version", "2024-06-20"),
    ];
    let endpoint = api.post("/v1/webhook_endpoints", &form).await.ok();
    let path = format!("/v1/webhook_endpoints/{}", endpoint["id"].as_str().unwrap());
    assert!(api.get(&path).await.ok().get("secret").is_none(), "the secret is shown once");
    let customer = api.customer().await;
    api.subscribe(&customer, &[]).await.ok();
    let event = receiver.next().await.event();
    assert_eq!(event["type"], "customer.subscription.updated");
    assert_eq!(event["api_version"], "2024-06-20");
    assert!(event["data"]["object"]["current_period_end"].is_i64());
    api.post(&path, &[("disabled", "true")]).await.ok();
    api.subscribe(&customer, &[]).await.ok();
    api.post(&path, &[("disabled", "false")]).await.ok();
    let last = api.subscribe(&customer, &[]).await.ok();
    assert_eq!(receiver.next().await.event()["data"]["object"]["id"], last["id"]);
    api.delete(&path).await.ok();
    assert_eq!(api.get("/v1/webhook_endpoints").await.ok()["data"], json!([]));
    api.subscribe(&customer, &[]).await.ok();
    assert_eq!(api.seen("deliveries").await["pending"], 0);
    receiver.nothing_more();
}

#[tokio::test]
async fn a_full_queue_drops_and_says_so() {
    let (clock, _hand) = manual();
    let limits = Limits { delivery_queue: 2, deliveries_kept: 3, ..Limits::default() };
    let (_emulator, api) = start(Options { clock, limits, ..options() }).await;
    let receiver = Receiver::start().await;
    receiver.register(&api, &["*"]).await;
    api.control("delivery", json!({ "delay_ms": 1_000 })).await;
    for _ in 0..7 {
        api.customer().await;
    }
    let seen = api.seen("deliveries").await;
    assert_eq!(seen["pending"], 2);
    let log = seen["data"].as_array().unwrap();
    assert_eq!(log.len(), 3, "five overflowed, three records are kept");
    assert!(log.iter().all(|entry| entry["outcome"] == "overflow"));
}
