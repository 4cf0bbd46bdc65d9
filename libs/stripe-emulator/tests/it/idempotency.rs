use std::time::Duration;

use serde_json::json;
use stripe_emulator::Options;

use crate::support::{Api, eventually, manual, options, start};

async fn count(api: &Api) -> usize {
    api.get("/v1/customers?limit=100").await.ok()["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_same_request_is_answered_from_memory() {
    let (_emulator, api) = start(options()).await;
    let form = [("email", "a@example.org"), ("metadata[a]", "1")];
    let first = api.post_once("/v1/customers", &form, "k1").await;
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_eq!(first.header("idempotency-key"), "k1");
    let same_in_another_order = [("metadata[a]", "1"), ("email", "a@example.org")];
    let second = api.post_once("/v1/customers", &same_in_another_order, "k1").await;
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(second.header("original-request"), first.header("request-id"));
    assert_ne!(second.header("request-id"), first.header("request-id"));
    assert_eq!(second.text, first.text);
    assert_eq!(count(&api).await, 1);
    let event = &api.get("/v1/events").await.ok()["data"][0];
    assert_eq!(event["request"]["idempotency_key"], "k1");
}

#[tokio::test]
async fn other_parameters_or_another_path_are_an_error() {
    let (_emulator, api) = start(options()).await;
    api.post_once("/v1/customers", &[("name", "A")], "k1").await.ok();
    for (path, form) in [("/v1/customers", [("name", "B")]), ("/v1/products", [("name", "A")])] {
        let error = api.post_once(path, &form, "k1").await.refused(400);
        assert_eq!(error["type"], "idempotency_error");
    }
    assert_eq!(count(&api).await, 1);
    let long = "k".repeat(256);
    assert_eq!(api.post_once("/v1/customers", &[], &long).await.refused(400)["param"], "Idempotency-Key");
    api.post_once("/v1/customers", &[], &long[1..]).await.ok();
}

#[tokio::test]
async fn a_key_is_in_use_while_its_request_runs() {
    let (clock, hand) = manual();
    let (_emulator, api) = start(Options { clock, ..options() }).await;
    api.control("faults", json!({ "kind": "slow", "delay_ms": 500 })).await;
    let slow = tokio::spawn({
        let api = api.clone();
        async move { api.post_once("/v1/customers", &[("name", "A")], "k1").await }
    });
    eventually(&api, "faults", |seen| seen["data"] == json!([])).await;
    let error = api.post_once("/v1/customers", &[("name", "A")], "k1").await.refused(409);
    assert_eq!(error["code"], "idempotency_key_in_use");
    // The sleeper may not have begun to wait when the fault was taken: move the clock until it is through.
    while !slow.is_finished() {
        hand.advance(Duration::from_millis(500));
        api.seen("health").await;
    }
    let first = slow.await.unwrap().ok();
    let again = api.post_once("/v1/customers", &[("name", "A")], "k1").await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.ok()["id"], first["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_at_once_make_one_subscription() {
    let (_emulator, api) = start(options()).await;
    let customer = api.customer().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (api, customer) = (api.clone(), customer.clone());
        tasks.spawn(async move {
            let form = [("customer", customer.as_str()), ("items[0][price]", "price_demo")];
            loop {
                let reply = api.post_once("/v1/subscriptions", &form, "sub-1").await;
                match reply.status {
                    409 => assert_eq!(reply.refused(409)["code"], "idempotency_key_in_use"),
                    _ => return reply.ok()["id"].as_str().unwrap().to_owned(),
                }
            }
        });
    }
    let mut ids = tasks.join_all().await;
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(api.get("/v1/subscriptions?status=all").await.ok()["data"].as_array().unwrap().len(), 1);
    let counts = api.seen("requests").await["by_key"]["sub-1"].clone();
    assert_eq!(counts["executed"], 1);
    let total = ["executed", "replayed", "conflicts"].map(|part| counts[part].as_u64().unwrap()).iter().sum::<u64>();
    assert_eq!(counts["requests"], total);
    assert!(total >= 100, "{counts}");
}

#[tokio::test]
async fn a_stored_500_is_replayed_and_another_key_works() {
    let (_emulator, api) = start(options()).await;
    api.control("faults", json!({ "kind": "error", "method": "POST", "path": "/v1/customers" })).await;
    let first = api.post_once("/v1/customers", &[], "k1").await;
    assert_eq!(first.refused(500)["type"], "api_error");
    let second = api.post_once("/v1/customers", &[], "k1").await;
    second.refused(500);
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(count(&api).await, 0);
    api.post_once("/v1/customers", &[], "k2").await.ok();
}

#[tokio::test]
async fn a_500_may_hide_that_it_worked() {
    let (_emulator, api) = start(options()).await;
    api.control("faults", json!({ "kind": "error", "stage": "after" })).await;
    api.post_once("/v1/customers", &[("metadata[op_id]", "7")], "k1").await.refused(500);
    api.post_once("/v1/customers", &[("metadata[op_id]", "7")], "k1").await.refused(500);
    let found = api.get("/v1/customers").await.ok();
    assert_eq!(found["data"].as_array().unwrap().len(), 1);
    assert_eq!(found["data"][0]["metadata"]["op_id"], "7");
}

#[tokio::test]
async fn refusals_before_the_work_are_not_kept() {
    let (_emulator, api) = start(options()).await;
    api.control("faults", json!({ "kind": "error", "status": 429, "retry_after_s": 2 })).await;
    let limited = api.post_once("/v1/customers", &[], "k1").await;
    assert_eq!(limited.header("retry-after"), "2");
    assert_eq!(limited.refused(429)["code"], "rate_limit");
    api.post_once("/v1/customers", &[], "k1").await.ok();
    api.post_once("/v1/products", &[("nme", "x")], "k2").await.refused(400);
    api.post_once("/v1/products", &[("nme", "x")], "k2").await.refused(400);
    let counts = api.seen("requests").await["by_key"]["k2"].clone();
    assert_eq!((&counts["executed"], &counts["replayed"]), (&json!(2), &json!(0)));
}

#[tokio::test]
async fn a_declined_card_is_kept_and_keys_end_after_a_day() {
    let (clock, hand) = manual();
    let (_emulator, api) = start(Options { clock, ..options() }).await;
    let form = [("payment_method", "pm_card_visa_chargeDeclined")];
    api.post_once("/v1/customers", &form, "k1").await.refused(402);
    let again = api.post_once("/v1/customers", &form, "k1").await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    hand.advance(Duration::from_secs(24 * 3_600));
    let later = api.post_once("/v1/customers", &form, "k1").await;
    assert_eq!((later.status, later.header("idempotent-replayed")), (402, ""));
}
