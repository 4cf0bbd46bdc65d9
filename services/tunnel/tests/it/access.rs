//! Who may open a tunnel, and for how long.

use std::sync::atomic::Ordering;
use std::time::Duration;

use agent::{Options, TunnelError};
use auth::{Entitlement, Role};
use clock::Clock;
use contracts::events::subscription::ProofRevokedV1;
use contracts::tunnels::close;

use crate::harness::{ACME, SOON, admitted, entitlement, token_of, world, world_with};
use crate::subscriptions::Subscriptions;

fn code(error: Option<TunnelError>) -> String {
    match error {
        Some(TunnelError::Refused(problem)) => problem.code,
        other => panic!("a refusal was expected: {other:?}"),
    }
}

#[tokio::test]
async fn without_a_good_proof_nobody_opens_a_tunnel() {
    let world = world_with(&[("proof_required", "true")]).await;
    let subscriptions = Subscriptions::start(&world).await;
    assert_eq!(code(agent::start(world.options("laptop")).await.err()), "proof_refused");
    let (others, _) = subscriptions.prover("somebody-else", 60_000);
    let options = Options { prover: Some(others), ..world.options("laptop") };
    assert_eq!(code(agent::start(options).await.err()), "proof_refused");
    let (own, _) = subscriptions.prover("laptop", 60_000);
    let options = Options { prover: Some(own), ..world.options("laptop") };
    let agent = admitted(&options).await;
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_plan_without_tunnels_opens_none() {
    let world = world_with(&[("proof_required", "true")]).await;
    let subscriptions = Subscriptions::start(&world).await;
    // The key is known.
    subscriptions.blue(&world).await.stop().await;
    let prover = subscriptions.prover_of(60_000, |now_ms| {
        let features = vec!["relay".to_owned()];
        Entitlement { features, ..entitlement("laptop", now_ms) }
    });
    let options = Options { prover: Some(prover), ..world.options("laptop") };
    assert_eq!(code(agent::start(options).await.err()), "forbidden");
    world.stop().await;
}

#[tokio::test]
async fn a_lost_entitlement_closes_the_tunnel_with_its_reason_and_for_good() {
    let world = world_with(&[("proof_required", "true")]).await;
    let subscriptions = Subscriptions::start(&world).await;
    let (prover, _) = subscriptions.prover("laptop", 60_000);
    let options = Options { prover: Some(prover), ..world.options("laptop") };
    let agent = admitted(&options).await;
    let until_ms = Clock::system().now_ms() + 300_000;
    let subscription_id = "sub-1".parse().unwrap();
    let revoked = ProofRevokedV1 { subscription_id, min_ver: 3, until_ms, reason: "canceled".into() };
    subscriptions.publish(2, &revoked.into()).await;
    let ended = tokio::time::timeout(SOON, agent.ended()).await.expect("the tunnel stays open");
    assert!(matches!(ended, Some(TunnelError::Closed(close::ENTITLEMENT_LOST, _))), "{ended:?}");
    world.stop().await;
}

#[tokio::test]
async fn proofs_are_renewed_before_they_end() {
    let world = world_with(&[("proof_required", "true")]).await;
    let subscriptions = Subscriptions::start(&world).await;
    let (prover, count) = subscriptions.prover("laptop", 50);
    let options = Options { prover: Some(prover), ..world.options("laptop") };
    let agent = admitted(&options).await;
    let opened = count.load(Ordering::Relaxed);
    testkit::eventually(SOON, "three renewals", async || {
        let renewed = count.load(Ordering::Relaxed) - opened;
        if renewed >= 3 { Ok(()) } else { Err(format!("{renewed}")) }
    })
    .await;
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn who_may_only_read_and_who_belongs_elsewhere_gets_nothing() {
    let world = world().await;
    let reader = Options { token: token_of(ACME, "ada", Role::ReadOnly), ..world.options("laptop") };
    assert_eq!(code(agent::start(reader).await.err()), "forbidden");
    let agent = world.agent("laptop").await;
    let colleague = Options { token: token_of(ACME, "bob", Role::User), ..world.options("laptop") };
    assert_eq!(code(agent::start(colleague).await.err()), "forbidden");
    // Another tenant's agent of the same id is another agent.
    let stranger = Options { token: token_of("umbrella", "ada", Role::User), ..world.options("laptop") };
    let stranger = agent::start(stranger).await.unwrap();
    assert_ne!(crate::harness::tunnel_id(&agent), crate::harness::tunnel_id(&stranger));
    agent.stop().await;
    stranger.stop().await;
    tokio::time::timeout(Duration::from_secs(20), world.stop()).await.unwrap();
}

#[tokio::test]
async fn who_is_unknown_is_told_how_to_authenticate() {
    let world = world().await;
    for (method, path) in [("GET", "/v1/tunnels/connect"), ("PUT", "/v1/tunnels/sessions/x/proof")] {
        for (token, code, error) in [
            (None, "authentication_missing", ""),
            (Some("a.b.c"), "authentication_invalid", ", error=\"invalid_token\", error_description=\"the token"),
        ] {
            let url = format!("http://{}{path}", world.edge);
            let request = world.http.request(method.parse().unwrap(), url).json(&serde_json::json!({"proof": "p"}));
            let request = token.iter().fold(request, |request, token| request.bearer_auth(token));
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 401);
            let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
            assert!(challenge.starts_with(&format!("Bearer realm=\"synapse\"{error}")), "{challenge}");
            assert_eq!(answer.headers()["x-error-code"], code);
        }
    }
    world.stop().await;
}
