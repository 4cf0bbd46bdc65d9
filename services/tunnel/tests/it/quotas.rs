//! What is used up is refused until it is restored or its window ends.

use clock::Clock;
use contracts::events::subscription::{QuotaExceededV1, QuotaRestoredV1, RestoredBecause, SubscriptionEvent};
use contracts::plans::limit;
use reqwest::Response;
use serde_json::Value;

use crate::harness::{SOON, World, world_with};
use crate::subscriptions::Subscriptions;

const PROVED: &[(&str, &str)] = &[("proof_required", "true")];
const HOUR_MS: u64 = 3_600_000;

fn used_up(limit: &str, lasts_ms: u64) -> SubscriptionEvent {
    let now_ms = Clock::system().now_ms();
    QuotaExceededV1 {
        subscription_id: "sub-1".parse().unwrap(),
        limit: limit.into(),
        allowed: 1_000,
        used: 1_010,
        window_from_ms: now_ms + lasts_ms - 24 * HOUR_MS,
        resets_at_ms: now_ms + lasts_ms,
    }
    .into()
}

fn restored(limit: &str) -> SubscriptionEvent {
    let reason = RestoredBecause::PlanGrew;
    QuotaRestoredV1 { subscription_id: "sub-1".parse().unwrap(), limit: limit.into(), reason }.into()
}

async fn answers(world: &World, status: u16) -> Response {
    testkit::eventually(SOON, &format!("{status}"), async || {
        let answer = world.get("/").send().await.unwrap();
        if answer.status() == status { Ok(answer) } else { Err(answer.status().to_string()) }
    })
    .await
}

#[tokio::test]
async fn a_tunnel_whose_quota_is_used_up_says_so_until_it_is_restored() {
    let world = world_with(PROVED).await;
    let subscriptions = Subscriptions::start(&world).await;
    let agent = subscriptions.blue(&world).await;
    answers(&world, 200).await;
    subscriptions.publish(1, &used_up(limit::TUNNEL_BYTES_DAY, HOUR_MS)).await;
    let answer = answers(&world, 429).await;
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let wait_s: u64 = header("retry-after").parse().unwrap();
    assert!((3_500..=3_600).contains(&wait_s), "{wait_s}");
    assert_eq!(header("x-error-code"), "quota_exceeded");
    assert_eq!(header("ratelimit-policy"), r#""tunnel_bytes_day";q=1000;w=86400"#);
    assert_eq!(header("ratelimit"), format!(r#""tunnel_bytes_day";r=0;t={wait_s}"#));
    let problem: Value = answer.json().await.unwrap();
    assert_eq!((&problem["code"], &problem["status"]), (&"quota_exceeded".into(), &429.into()));
    assert_eq!((&problem["limit"], &problem["allowed"]), (&"tunnel_bytes_day".into(), &1_000.into()));
    assert!(problem["suggestion"].as_str().unwrap().contains("larger plan"), "{problem}");

    // Another limit's end is not this one's, and what is not about tunnels is not ours.
    subscriptions.publish(2, &used_up(limit::TUNNEL_REQUESTS_MINUTE, HOUR_MS)).await;
    subscriptions.publish(3, &restored(limit::TUNNEL_REQUESTS_MINUTE)).await;
    subscriptions.publish(4, &used_up(limit::RELAY_BYTES_MONTH, 2 * HOUR_MS)).await;
    subscriptions.publish(5, &restored(limit::TUNNEL_BYTES_DAY)).await;
    answers(&world, 200).await;
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_used_up_quota_survives_a_restart_and_ends_with_its_window() {
    let world = world_with(PROVED).await;
    let subscriptions = Subscriptions::start(&world).await;
    let agent = subscriptions.blue(&world).await;
    subscriptions.publish(1, &used_up(limit::TUNNEL_BYTES_MONTH, HOUR_MS)).await;
    answers(&world, 429).await;
    agent.stop().await;

    let world = world.restarted(PROVED).await;
    let subscriptions = Subscriptions::start(&world).await;
    let agent = subscriptions.blue(&world).await;
    assert_eq!(world.get("/").send().await.unwrap().status(), 429, "from the first request on");
    // The next window's excess lasts a moment, and nobody has to say that it is over.
    subscriptions.publish(2, &used_up(limit::TUNNEL_BYTES_MONTH, 1_500)).await;
    answers(&world, 200).await;
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_fact_that_comes_late_does_not_undo_a_newer_one() {
    let world = world_with(PROVED).await;
    let subscriptions = Subscriptions::start(&world).await;
    let agent = subscriptions.blue(&world).await;
    subscriptions.publish(2, &restored(limit::TUNNEL_BYTES_DAY)).await;
    subscriptions.publish(1, &used_up(limit::TUNNEL_BYTES_DAY, HOUR_MS)).await;
    // Behind both, so they have been read when it takes effect.
    subscriptions.publish(3, &used_up(limit::TUNNEL_BYTES_MONTH, HOUR_MS)).await;
    answers(&world, 429).await;
    subscriptions.publish(4, &restored(limit::TUNNEL_BYTES_MONTH)).await;
    answers(&world, 200).await;
    agent.stop().await;
    world.stop().await;
}
