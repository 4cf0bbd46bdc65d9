//! A tunnel under a bought plan: what it carries is counted against the plan, and refused once the plan is used up.

use agent::{Options, Origin, Proved, Prover, Status};
use axum::Router;
use axum::routing::get;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::child::PATIENCE;
use crate::running::{Running, set};

const PLANS: &str = r#"[{ name = "team", price_ids = { test = ["price_team_monthly"] }, features = ["tunnels"],
    limits = { tunnel_bytes_day = 5000, tunnel_requests_minute = 1000 } }]"#;
/// What the local program answers.
const ANSWER: &str =
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

/// What was used of the day's bytes, and what is allowed.
async fn day(running: &Running, subscription_id: &str) -> (u64, u64) {
    let url = running.url(&format!("/v1/subscriptions/{subscription_id}/usage"));
    let usage: Value = running.http.get(url).bearer_auth(running.token()).send().await.unwrap().json().await.unwrap();
    let windows = usage["windows"].as_array().unwrap().iter();
    let mut day = windows.filter(|line| line["meter"] == "tunnel_bytes" && line["window"] == "day");
    let line = day.next().unwrap_or_else(|| panic!("{usage}"));
    (line["used"].as_u64().unwrap(), line["allowed"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_metered_against_its_plan_and_refused_when_that_is_used_up() {
    let running = Running::start(|overrides, _| {
        set(overrides, "SUBSCRIPTION__PLANS", PLANS);
        set(overrides, "TUNNEL__USAGE_INTERVAL_MS", "200");
    })
    .await;
    running.point_webhooks().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = Origin::try_new(&listener.local_addr().unwrap().to_string()).unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", get(|| async { ANSWER }))).await });

    let proof = running.proof("metered", "laptop").await;
    let list = running.http.get(running.url("/v1/subscriptions")).bearer_auth(running.token());
    let list: Value = list.send().await.unwrap().json().await.unwrap();
    let subscription_id = list["subscriptions"][0]["subscription_id"].as_str().unwrap();
    assert_eq!(day(&running, subscription_id).await, (0, 5_000));
    let prover = Prover::new(move || {
        let proof = proof.clone();
        Box::pin(async move { Ok(Proved { proof, refresh_at_ms: u64::MAX }) })
    });
    let options = Options::new(running.url(""), running.token(), "laptop".parse().unwrap(), origin);
    let agent = agent::start(Options { prover: Some(prover), ..options }).await.unwrap();
    let tunnel_id = match &*agent.status().borrow() {
        Status::Online { tunnel, .. } => tunnel.tunnel_id.to_string(),
        other => panic!("{other:?}"),
    };
    let url = running.url(&format!("/t/{tunnel_id}/"));

    let mut carried = 0;
    let refused = testkit::eventually(PATIENCE, "the quota to be used up", async || {
        let answer = running.http.get(&url).send().await.unwrap();
        if answer.status() == 429 {
            return Ok(answer);
        }
        assert_eq!(answer.status(), 200);
        carried += answer.bytes().await.unwrap().len() as u64;
        Err(format!("{carried} bytes passed"))
    })
    .await;
    assert!(carried >= 5_000, "{carried}");
    assert_eq!(refused.headers()["x-error-code"], "quota_exceeded");
    assert!(refused.headers().contains_key("retry-after"));
    testkit::eventually(PATIENCE, "every byte to be counted, and once", async || {
        let (used, allowed) = day(&running, subscription_id).await;
        if (used, allowed) == (carried, 5_000) { Ok(()) } else { Err(format!("{used} of {carried}")) }
    })
    .await;
    agent.stop().await;
    running.stop().await;
}
