use std::time::Duration;

use contracts::events::subscription::Status;
use contracts::{Answer, Failure};
use serde_json::{Value, json};

use crate::harness::{World, prove, wish};

fn at_subscriptions(fault: Value) -> Value {
    let mut fault = fault;
    fault["path"] = json!("/v1/subscriptions");
    fault["method"] = json!("POST");
    fault
}

async fn failed(world: &World, key: &str) -> Failure {
    match world.service.ask("acme", &wish("ada", key)).await {
        Answer::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_trouble_is_retried_under_the_same_key() {
    let world = World::start(&[("stripe.request_timeout_ms", "400")]).await;
    let faults = [
        json!({"kind": "error", "status": 429, "retry_after_s": 1}),
        json!({"kind": "error", "status": 409}),
        json!({"kind": "error", "status": 400, "should_retry": true}),
        json!({"kind": "reset"}),
        json!({"kind": "reset", "stage": "after"}),
        json!({"kind": "html", "status": 502}),
        json!({"kind": "html", "status": 502, "stage": "after"}),
        json!({"kind": "timeout", "delay_ms": 2_000}),
        json!({"kind": "timeout", "stage": "after", "delay_ms": 2_000}),
    ];
    for (number, fault) in faults.iter().enumerate() {
        world.fault(at_subscriptions(fault.clone())).await;
        let begun = world.service.platform.clock.monotonic();
        let view = world.service.create(&wish("ada", &format!("key-{number}"))).await;
        assert_eq!(view.unwrap().status, Status::Active, "{fault}");
        assert_eq!(world.at_stripe().await.len(), number + 1, "{fault}");
        if fault["retry_after_s"] == 1 {
            let waited = world.service.platform.clock.monotonic().saturating_sub(begun);
            assert!(waited >= Duration::from_secs(1), "Retry-After was not heeded: {waited:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_500_that_stripe_replays_is_reconciled() {
    let world = World::start(&[]).await;
    for (number, stage) in ["after", "before"].iter().enumerate() {
        world.fault(at_subscriptions(json!({"kind": "error", "status": 500, "stage": stage}))).await;
        let view = world.service.create(&wish("ada", &format!("key-{stage}"))).await.unwrap();
        assert_eq!(view.status, Status::Active);
        assert_eq!(world.at_stripe().await.len(), number + 1, "{stage}");
    }
    world.fault(json!({"kind": "error", "status": 500, "path": "/v1/customers", "method": "POST"})).await;
    assert_eq!(world.service.create(&wish("bob", "key-1")).await.unwrap().status, Status::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn stripes_no_is_not_repeated() {
    let world = World::start(&[]).await;
    world.fault(at_subscriptions(json!({"kind": "error", "status": 500, "should_retry": false, "times": 9}))).await;
    assert!(failed(&world, "key-1").await.retryable);
    assert_eq!(world.asked("POST /v1/subscriptions").await, 1);
    let world = World::start(&[]).await;
    world.fault(at_subscriptions(json!({"kind": "error", "status": 403}))).await;
    assert!(!failed(&world, "key-1").await.retryable);
    assert_eq!(world.asked("POST /v1/subscriptions").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_retry_after_is_passed_on_to_the_caller() {
    let world = World::start(&[]).await;
    world.fault(at_subscriptions(json!({"kind": "error", "status": 429, "retry_after_s": 60, "times": 9}))).await;
    let failure = failed(&world, "key-1").await;
    assert_eq!((failure.retryable, failure.retry_after_ms), (true, Some(60_000)));
    assert_eq!(world.asked("POST /v1/subscriptions").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_stripe_is_away_callers_are_told_at_once_and_proofs_go_on() {
    let world = World::start(&[("stripe.max_retries", "0"), ("stripe.breaker.failure_threshold", "3")]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    world.fault(json!({"kind": "reset", "times": 100})).await;
    for number in 0..3 {
        assert!(failed(&world, &format!("lost-{number}")).await.retryable);
    }
    let before = world.stripe_get("/_emulator/requests").await["total"].clone();
    let failure = failed(&world, "key-2").await;
    assert!(failure.retryable && failure.retry_after_ms.is_some_and(|wait| wait > 10_000), "{failure:?}");
    assert_eq!(world.stripe_get("/_emulator/requests").await["total"], before, "Stripe was left alone");
    assert!(matches!(world.service.ask("acme", &prove(&view, "ada")).await, Answer::Ok(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_the_operators_problem_and_is_never_shown() {
    let options = stripe_emulator::Options { api_key: Some("sk_test_another".into()), ..Default::default() };
    let world = World::on(clock::Clock::system(), &[], options).await;
    let failure = failed(&world, "key-1").await;
    assert!(!failure.retryable && !failure.message.contains("sk_test"), "{failure:?}");
}
