//! Every refusal there is, as the public API says it.

use contracts::http::Problem;
use contracts::requests::billing::UsageV1;
use contracts::requests::presence::{
    ConnectV1, CountV1, DescribeV1, DisconnectV1, ListV1, LookupRefusal, LookupV1, SetStatusV1,
};
use contracts::requests::signaling::{IceServersV1, OpenSessionV1, SendV1};
use contracts::requests::subscription::{
    self, CancelV1, ChangePlanV1, CreateCheckoutV1, CreatePortalV1, CreateV1, GetV1, ResumeV1, VerifyV1,
};
use contracts::{Answer, Request};
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{World, run};
use crate::routes;

const JSON: &str = "Content-Type: application/json\r\nIdempotency-Key: k-1\r\n";

/// The expectations of `R`: each of its refusals' codes with the status and code that clients see.
async fn check<R: Request>(world: &World, expected: &[(&str, u16, &str)], call: impl AsyncFn() -> Problem) {
    let known: Vec<Value> = routes::refusals::<R>();
    let named: Vec<&str> = known.iter().map(|refusal| refusal["code"].as_str().unwrap()).collect();
    assert_eq!(named, expected.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), "{}", R::KIND);
    for (refusal, (name, status, code)) in R::refusals().into_iter().zip(expected) {
        world.doubles.script::<R>(&Answer::Refused(refusal));
        let problem = call().await;
        assert_eq!((problem.status, problem.code.as_str()), (*status, *code), "{} {name}", R::KIND);
        assert!(problem.suggestion.is_some());
    }
    world.doubles.script::<R>(&Answer::Ok(R::replies().remove(0)));
}

#[tokio::test]
async fn over_http() {
    run(async |world| {
        let create = r#"{"price_id":"p"}"#;
        let expected = [
            ("unknown_price", 422, "unknown_price"),
            ("invalid_metadata", 400, "validation_failed"),
            ("invalid", 400, "validation_failed"),
            ("idempotency_mismatch", 422, "idempotency_mismatch"),
            ("payment_failed", 402, "payment_failed"),
            ("payment_action_required", 402, "payment_action_required"),
        ];
        check::<CreateV1>(world, &expected, async || {
            let problem = world.http("POST /v1/subscriptions", JSON, create).await.problem();
            if problem.code == "validation_failed" {
                assert!(["metadata.team", "email"].contains(&problem.violations[0].field.as_str()));
            }
            problem
        })
        .await;
        subscription_changes(world).await;
        check::<GetV1>(world, &[("not_found", 404, "not_found")], async || {
            world.http("GET /v1/subscriptions/s", "", "").await.problem()
        })
        .await;
        check::<UsageV1>(world, &[("not_found", 404, "not_found")], async || {
            world.http("GET /v1/subscriptions/s/usage", "", "").await.problem()
        })
        .await;
        let expected = [
            ("not_found", 404, "not_found"),
            // Whether it exists is nobody else's business.
            ("not_owner", 404, "not_found"),
            ("not_entitled", 402, "entitlement_lost"),
        ];
        check::<VerifyV1>(world, &expected, async || {
            world.http("POST /v1/subscriptions/s/verify", JSON, r#"{"peer_id":"alice"}"#).await.problem()
        })
        .await;
        check::<ListV1>(world, &[("invalid_page", 400, "validation_failed")], async || {
            let problem = world.http("GET /v1/peers", "", "").await.problem();
            assert_eq!(problem.violations[0].field, "limit");
            problem
        })
        .await;
        check::<LookupV1>(world, &[("unknown_peer", 404, "peer_unknown")], async || {
            world.http("GET /v1/peers/alice", "", "").await.problem()
        })
        .await;
    })
    .await;
}

async fn subscription_changes(world: &World) {
    let expected = [
        ("not_found", 404, "not_found"),
        ("not_owner", 404, "not_found"),
        ("illegal_transition", 403, "illegal_transition"),
        ("unknown_price", 422, "unknown_price"),
        ("idempotency_mismatch", 422, "idempotency_mismatch"),
        ("payment_failed", 402, "payment_failed"),
    ];
    check::<ChangePlanV1>(world, &expected, async || {
        world.http("POST /v1/subscriptions/s/plan", JSON, r#"{"price_id":"p"}"#).await.problem()
    })
    .await;
    check::<CancelV1>(world, &expected[..3], async || {
        world.http("POST /v1/subscriptions/s/cancel", JSON, r#"{"at_period_end":true}"#).await.problem()
    })
    .await;
    let resumed = [expected[0], expected[1], expected[2], expected[5]];
    check::<ResumeV1>(world, &resumed, async || {
        let problem = world.http("POST /v1/subscriptions/s/resume", "", "").await.problem();
        assert!(problem.code != "illegal_transition" || problem.detail.as_ref().unwrap().contains("canceled"));
        problem
    })
    .await;
    let checkout = [expected[3], ("invalid", 400, "validation_failed"), expected[4]];
    check::<CreateCheckoutV1>(world, &checkout, async || {
        let body = r#"{"price_id":"p","success_url":"https://a","cancel_url":"https://a"}"#;
        world.http("POST /v1/subscriptions/checkout", JSON, body).await.problem()
    })
    .await;
    let portal = [("no_customer", 404, "not_found"), ("invalid", 400, "validation_failed")];
    check::<CreatePortalV1>(world, &portal, async || {
        world.http("POST /v1/subscriptions/portal", JSON, r#"{"return_url":"https://a"}"#).await.problem()
    })
    .await;
    check::<subscription::ListV1>(world, &[("invalid_page", 400, "validation_failed")], async || {
        world.http("GET /v1/subscriptions?limit=0", "", "").await.problem()
    })
    .await;
}

#[tokio::test]
async fn over_a_socket() {
    run(async |world| {
        let client = tokio::sync::Mutex::new(world.enter("alice").await);
        let frame = async |frame: Value| client.lock().await.refused(&frame).await;
        let expected = [
            ("unknown_peer", 404, "peer_unknown"),
            ("stale_generation", 409, "conflict"),
            ("invalid_transition", 409, "conflict"),
        ];
        check::<SetStatusV1>(world, &expected, async || {
            frame(json!({"type": "presence", "id": "1", "action": "set_status", "status": "away"})).await
        })
        .await;
        let expected = [
            ("unknown_peer", 404, "peer_unknown"),
            ("stale_generation", 409, "conflict"),
            ("invalid", 400, "validation_failed"),
        ];
        check::<DescribeV1>(world, &expected, async || {
            frame(json!({"type": "presence", "id": "1", "action": "describe", "tags": ["blue"]})).await
        })
        .await;
        check::<CountV1>(world, &[("invalid", 400, "validation_failed")], async || {
            frame(json!({"type": "presence", "id": "1", "action": "count", "room": "lobby"})).await
        })
        .await;
        check::<ListV1>(world, &[("invalid_page", 400, "validation_failed")], async || {
            frame(json!({"type": "presence", "id": "1", "action": "list"})).await
        })
        .await;
        let expected = [
            ("unknown_peer", 404, "peer_unknown"),
            ("peer_offline", 409, "peer_offline"),
            ("same_peer", 400, "validation_failed"),
            ("too_many_peers", 400, "validation_failed"),
            ("proof_refused", 403, "proof_refused"),
        ];
        check::<OpenSessionV1>(world, &expected, async || {
            frame(json!({"type": "session", "id": "1", "to": "bob"})).await
        })
        .await;
        let expected = [
            ("unknown_session", 404, "session_unknown"),
            ("not_member", 403, "not_member"),
            ("peer_offline", 409, "peer_offline"),
            ("target_needed", 400, "validation_failed"),
            ("mailbox_full", 429, "mailbox_full"),
            ("identity_mismatch", 403, "identity_mismatch"),
            ("invalid_signal", 400, "invalid_signal"),
            ("stale_generation", 409, "stale_generation"),
            ("proof_refused", 403, "proof_refused"),
        ];
        check::<SendV1>(world, &expected, async || {
            let problem =
                frame(json!({"type": "signal", "id": "1", "session_id": "s", "signal": {"type": "bye"}})).await;
            if problem.code == "invalid_signal" {
                assert_eq!(problem.violations[0].field, "candidate");
            }
            problem
        })
        .await;
        check::<IceServersV1>(world, &[("proof_refused", 403, "proof_refused")], async || {
            frame(json!({"type": "ice_servers", "id": "1"})).await
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn of_a_connection() {
    run(async |world| {
        let expected = [
            ("not_owner", 403, "forbidden"),
            ("too_many_peers", 429, "quota_exceeded"),
            ("invalid_transition", 409, "conflict"),
            ("invalid", 400, "validation_failed"),
        ];
        check::<ConnectV1>(world, &expected, async || {
            let mut client: Client = world.connect().await;
            let problem = client.refused(&world.auth_frame("alice")).await;
            let close = if problem.code == "quota_exceeded" { 4411 } else { 4401 };
            assert_eq!(client.closed().await.code, Some(close));
            problem
        })
        .await;
        // A leave is nobody's answer: the refusal is only logged, and the connection ends as it would.
        for refusal in DisconnectV1::refusals() {
            world.doubles.script::<DisconnectV1>(&Answer::Refused(refusal));
            drop(world.enter("bob").await);
        }
        assert_eq!(world.leaves(DisconnectV1::refusals().len()).await.len(), DisconnectV1::refusals().len());
    })
    .await;
}

#[tokio::test]
async fn a_refusal_newer_than_this_gateway_is_a_conflict() {
    run(async |world| {
        world.doubles.script::<LookupV1>(&Answer::Refused(LookupRefusal::Unknown));
        world.http("GET /v1/peers/alice", "", "").await.is_refused(409, "conflict");
    })
    .await;
}

#[tokio::test]
async fn a_frames_problem_names_the_trail_of_what_it_asked() {
    run(async |world| {
        let mut client = world.enter("alice").await;
        world.doubles.script::<OpenSessionV1>(&Answer::Refused(OpenSessionV1::refusals().remove(0)));
        let problem = client.refused(&json!({"type": "session", "id": "1", "to": "bob"})).await;
        assert_eq!(world.doubles.seen::<OpenSessionV1>()[0].trail.correlation_id, problem.correlation_id);
    })
    .await;
}
