//! Every operation of the gateway's table by every kind of caller. What is expected stands here a second time on purpose:
//! a row that is added or changed there must be meant.

use auth::Role;
use contracts::frames::{Outcome, ServerFrame};
use gateway::{Operation, Surface};
use serde_json::{Value, json};

use crate::api_keys::issue;
use crate::client::{Answer, Client};
use crate::harness::{ACME, World, run};

const JSON: &str = "Content-Type: application/json\r\n";
const KEYED: &str = "Content-Type: application/json\r\nIdempotency-Key: k-1\r\n";

const CHECKOUT: &str = r#"{"price_id":"p","success_url":"https://a.example/ok","cancel_url":"https://a.example/no"}"#;
const KEY: &str = r#"{"name":"ci","scopes":["connect"]}"#;
const PAGE: &str = r#"{"return_url":"https://a.example/"}"#;

/// Operation; request line, headers, body of a good call; the statuses that callers get, in the order of [`callers`].
/// Keys that nobody has give 404 to whoever may ask for them, bad requests 400 where nobody need be known.
#[rustfmt::skip]
const HTTP: [(Operation, &str, &str, &str, &str); 31] = [
    (Operation::ReadProofKeys, "GET /.well-known/jwks.json", "", "",               "200 200 200 200 200 200 200 200 200"),
    (Operation::ReadDocument, "GET /openapi.json", "", "",                         "200 200 200 200 200 200 200 200 200"),
    (Operation::ReadDocs, "GET /docs", "", "",                                     "200 200 200 200 200 200 200 200 200"),
    (Operation::ReadErrorDocs, "GET /docs/errors", "", "",                         "200 200 200 200 200 200 200 200 200"),
    (Operation::ReadDocsStyle, "GET /docs/page.css", "", "",                       "200 200 200 200 200 200 200 200 200"),
    (Operation::ReadDocsScript, "GET /docs/page.js", "", "",                       "200 200 200 200 200 200 200 200 200"),
    (Operation::ListPlans, "GET /v1/plans", "", "",                                "401 200 200 200 200 401 401 403 200"),
    (Operation::CheckPlans, "POST /v1/plans/check", "", "",                        "401 403 403 200 200 401 401 403 403"),
    (Operation::CreateSubscription, "POST /v1/subscriptions", KEYED, r#"{"price_id":"p"}"#, "401 403 201 201 201 401 401 403 201"),
    (Operation::ListSubscriptions, "GET /v1/subscriptions", "", "",                "401 200 200 200 200 401 401 403 200"),
    (Operation::OpenCheckout, "POST /v1/subscriptions/checkout", KEYED, CHECKOUT,  "401 403 201 201 201 401 401 403 201"),
    (Operation::OpenPortal, "POST /v1/subscriptions/portal", JSON, PAGE,           "401 403 201 201 201 401 401 403 201"),
    (Operation::ChangePlan, "POST /v1/subscriptions/sub-01/plan", KEYED, r#"{"price_id":"p"}"#, "401 403 200 200 200 401 401 403 200"),
    (Operation::CancelSubscription, "POST /v1/subscriptions/sub-01/cancel", JSON, r#"{"at_period_end":true}"#, "401 403 200 200 200 401 401 403 200"),
    (Operation::ResumeSubscription, "POST /v1/subscriptions/sub-01/resume", "", "", "401 403 200 200 200 401 401 403 200"),
    (Operation::ReadSubscription, "GET /v1/subscriptions/sub-01", "", "",          "401 200 200 200 200 401 401 403 200"),
    (Operation::ReadUsage, "GET /v1/subscriptions/sub-01/usage", "", "",           "401 200 200 200 200 401 401 403 200"),
    (Operation::IssueProof, "POST /v1/subscriptions/sub-01/verify", JSON, r#"{"peer_id":"alice"}"#, "401 403 200 200 200 401 401 403 200"),
    (Operation::ListPeers, "GET /v1/peers", "", "",                                "401 200 200 200 200 401 401 403 200"),
    (Operation::ReadPeer, "GET /v1/peers/alice", "", "",                           "401 200 200 200 200 401 401 403 200"),
    (Operation::CountPeers, "GET /v1/presence", "", "",                            "401 200 200 200 200 401 401 403 200"),
    (Operation::ListIceServers, "GET /v1/ice-servers?peer_id=alice", "Synapse-Proof: p\r\n", "", "401 200 200 200 200 401 401 403 200"),
    (Operation::IssueTicket, "POST /v1/tickets", "", "",                           "401 201 201 201 201 401 401 403 201"),
    (Operation::CreateApiKey, "POST /v1/api-keys", JSON, KEY,                      "401 403 403 201 201 401 401 403 403"),
    (Operation::ListApiKeys, "GET /v1/api-keys", "", "",                           "401 403 403 200 200 401 401 403 403"),
    (Operation::ReadApiKey, "GET /v1/api-keys/key_0", "", "",                      "401 403 403 404 404 401 401 403 403"),
    (Operation::RevokeApiKey, "DELETE /v1/api-keys/key_0", "", "",                 "401 403 403 404 404 401 401 403 403"),
    (Operation::RotateApiKey, "POST /v1/api-keys/key_0/rotate", "", "",            "401 403 403 404 404 401 401 403 403"),
    (Operation::OpenSocket, "GET /v1/ws", "", "",                                  "400 400 400 400 400 400 400 400 400"),
    (Operation::OpenStream, "GET /v1/stream?token=x", "", "",                      "400 400 400 400 400 400 400 400 400"),
    (Operation::PostFrames, "POST /v1/frames", JSON, "{}",                         "400 400 400 400 400 400 400 400 400"),
];

/// Frames of a connection that stands, by: read-only, user, admin, a user's key with the scope `connect`.
#[rustfmt::skip]
const FRAMES: [(Operation, &str, &str); 12] = [
    (Operation::Attend, r#"{"type":"ping"}"#,                                                            "ok ok ok ok"),
    (Operation::Attend, r#"{"type":"presence","action":"list"}"#,                                        "ok ok ok ok"),
    (Operation::Attend, r#"{"type":"presence","action":"count"}"#,                                       "ok ok ok ok"),
    (Operation::Describe, r#"{"type":"presence","action":"describe","tags":["t"]}"#,                     "no ok ok ok"),
    (Operation::SetStatus, r#"{"type":"presence","action":"set_status","status":"away"}"#,               "no ok ok ok"),
    (Operation::OpenSession, r#"{"type":"session","to":"bob"}"#,                                         "no ok ok ok"),
    (Operation::Signal, r#"{"type":"signal","session_id":"s","signal":{"type":"bye"}}"#,                 "no ok ok ok"),
    (Operation::AskIceServers, r#"{"type":"ice_servers"}"#,                                              "no ok ok ok"),
    (Operation::SendMessage, r#"{"type":"message","to":"bob","action":"chat","message":"m"}"#,           "no ok ok ok"),
    (Operation::Broadcast, r#"{"type":"broadcast","scope":"user","user_id":"ada","action":"chat","message":"m"}"#, "no ok ok ok"),
    (Operation::BroadcastToUser, r#"{"type":"broadcast","scope":"user","user_id":"eve","action":"chat","message":"m"}"#, "no no ok no"),
    (Operation::BroadcastToTenant, r#"{"type":"broadcast","scope":"tenant","action":"chat","message":"m"}"#, "no no ok no"),
];

/// What is looked at by tests of their own.
const ELSEWHERE: [Operation; 3] = [Operation::SeeOthersSubscriptions, Operation::Enter, Operation::Renew];

#[test]
fn every_row_of_the_table_is_looked_at() {
    for operation in Operation::ALL {
        let rule = operation.rule();
        let line = HTTP.iter().find(|row| row.0 == *operation).map(|row| row.1);
        let is_known = match rule.surface {
            Surface::Http(method, path) => {
                let line = line.unwrap_or_else(|| panic!("{operation:?} has no row in this test"));
                // The path with ids for its parameters.
                let path = path
                    .replace("api-keys/{id}", "api-keys/key_0")
                    .replace("subscriptions/{id}", "subscriptions/sub-01");
                line.split('?').next().unwrap() == format!("{method} {}", path.replace("{id}", "alice"))
            }
            Surface::Frame(_) => ELSEWHERE.contains(operation) || FRAMES.iter().any(|row| row.0 == *operation),
            Surface::Within(_) => ELSEWHERE.contains(operation),
        };
        assert!(is_known, "{operation:?} is not looked at as the table has it");
    }
    let names: std::collections::BTreeSet<_> = Operation::ALL.iter().map(|operation| operation.rule().name).collect();
    assert_eq!(names.len(), Operation::ALL.len(), "each has its own name");
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// anonymous, read-only, user, admin, another tenant's admin, expired, a revoked key, a key without the scope, a user's
/// key with every scope.
async fn callers(world: &World) -> [(&'static str, String); 9] {
    let token = |tenant, user, role| bearer(&world.token_of(tenant, user, role, 3_600_000));
    let all = r#"["connect","peers:read","proofs:issue","subscriptions:read","subscriptions:write"]"#;
    let (revoked, revoked_id) = issue(world, &format!(r#"{{"name":"r","role":"admin","scopes":{all}}}"#)).await;
    let admin = token(ACME, "root", Role::Admin);
    let gone = world.http_as(&format!("DELETE /v1/api-keys/{revoked_id}"), &admin, "").await;
    assert_eq!(gone.status, 204, "{gone:?}");
    let (key, _) = issue(world, &format!(r#"{{"name":"k","role":"user","user_id":"ada","scopes":{all}}}"#)).await;
    let expired = world.token_of(ACME, "ada", Role::Admin, 1_000);
    world.hand.advance(std::time::Duration::from_secs(60));
    [
        ("anonymous", String::new()),
        ("read-only", token(ACME, "ada", Role::ReadOnly)),
        ("user", token(ACME, "ada", Role::User)),
        ("admin", token(ACME, "root", Role::Admin)),
        ("another tenant's admin", token("umbrella", "eve", Role::Admin)),
        ("expired", bearer(&expired)),
        ("revoked", bearer(&revoked)),
        ("without the scope", String::new()),
        ("key", bearer(&key)),
    ]
}

#[tokio::test]
async fn every_route_by_every_caller() {
    run(async |world| {
        let callers = callers(world).await;
        // Two keys that lack what the other has.
        let (connect, _) = issue(world, r#"{"name":"c","role":"admin","scopes":["connect"]}"#).await;
        let (read, _) = issue(world, r#"{"name":"r","role":"admin","scopes":["peers:read"]}"#).await;
        for (operation, line, headers, body, expected) in HTTP {
            let expected: Vec<u16> = expected.split(' ').map(|status| status.parse().unwrap()).collect();
            for ((caller, credential), expected) in callers.iter().zip(expected) {
                let is_connect = operation.rule().scope == Some(contracts::http::ApiKeyScope::Connect);
                let credential = match *caller {
                    "without the scope" => bearer(if is_connect { &read } else { &connect }),
                    _ => credential.clone(),
                };
                let before = world.doubles.asked();
                let answer: Answer = world.http_as(line, &format!("{credential}{headers}"), body).await;
                assert_eq!(answer.status, expected, "{line} by {caller}: {answer:?}");
                if [401, 403].contains(&expected) {
                    assert_eq!(world.doubles.asked(), before, "{line} by {caller}: nobody is bothered");
                    let is_told = answer.header("www-authenticate").is_some();
                    assert!(is_told || expected == 403, "{line} by {caller}: {answer:?}");
                }
                let tenant = if caller.starts_with("another") { "umbrella" } else { ACME };
                let asked = world.doubles.tenants().split_off(before);
                assert!(asked.iter().all(|of| of == tenant), "{line} by {caller} was asked for {asked:?}");
            }
        }
    })
    .await;
}

async fn entered(world: &World, token: &str, peer: &str) -> Client {
    let proof = world.proof(peer, 2);
    world.enter_with(&json!({"type": "auth", "id": "a", "token": token, "peer_id": peer, "proof": proof})).await
}

#[tokio::test]
async fn every_frame_by_every_role() {
    run(async |world| {
        let token = |user, role| world.token_of(ACME, user, role, 3_600_000);
        let (key, _) = issue(world, r#"{"name":"k","role":"user","user_id":"ada","scopes":["connect"]}"#).await;
        let roles = [token("ada", Role::ReadOnly), token("ada", Role::User), token("root", Role::Admin), key];
        // Whom messages go to; takes what comes.
        let mut bob = entered(world, &token("bob", Role::User), "bob").await;
        for (number, token) in roles.iter().enumerate() {
            let mut client = entered(world, token, &format!("peer-{number}")).await;
            for (operation, frame, expected) in FRAMES {
                let mut frame: Value = serde_json::from_str(frame).unwrap();
                frame["id"] = "1".into();
                client.send(&frame).await;
                let outcome = loop {
                    match client.next().await {
                        ServerFrame::Outcome { outcome, problem, .. } => break (outcome, problem),
                        // What it said to its own user or tenant.
                        _ => continue,
                    }
                };
                let (outcome, problem) = outcome;
                let is_forbidden = problem.as_ref().is_some_and(|problem| problem.code == "forbidden");
                let may = expected.split(' ').nth(number).unwrap() == "ok";
                assert_eq!(is_forbidden, !may, "{operation:?} by {number}: {outcome:?} {problem:?}");
                assert!(!may || outcome != Outcome::Refused, "{operation:?} by {number}: {problem:?}");
            }
        }
        bob.send(&json!({"type": "ping", "id": "end"})).await;
    })
    .await;
}

#[tokio::test]
async fn others_subscriptions_are_for_administrators() {
    run(async |world| {
        let (key, _) = issue(world, r#"{"name":"k","role":"admin","scopes":["subscriptions:read"]}"#).await;
        let user = world.token_of(ACME, "eve", Role::User, 3_600_000);
        for line in ["GET /v1/subscriptions?all=true", "GET /v1/subscriptions?user_id=somebody"] {
            world.http_as(line, &bearer(&user), "").await.is_refused(403, "forbidden");
            assert_eq!(world.http_as(line, &bearer(&key), "").await.status, 200);
        }
    })
    .await;
}

#[tokio::test]
async fn a_cookie_counts_only_for_pages_of_ours() {
    crate::harness::run_with(
        &[("allowed_origins", "https://app.example.com"), ("token_cookie", "sid")],
        async |world| {
            let cookie = format!("Cookie: a=b; sid={}\r\n", world.token());
            let status =
                async |line: &str, more: &str| world.http_as(line, &format!("{cookie}{more}"), "").await.status;
            // The host of these requests is "x".
            for good in [
                "Origin: https://app.example.com\r\n",
                "Origin: https://x\r\n",
                "Origin: http://x\r\n",
                "Sec-Fetch-Site: same-origin\r\n",
            ] {
                assert_eq!(status("POST /v1/tickets", good).await, 201, "{good}");
                assert_eq!(status("GET /v1/peers", good).await, 200, "{good}");
            }
            for bad in ["Origin: https://evil.test\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
                assert_eq!(status("POST /v1/tickets", bad).await, 403, "{bad}");
                assert_eq!(status("GET /v1/peers", bad).await, 403, "{bad}");
            }
            assert_eq!(status("GET /v1/peers", "").await, 200, "no browser asks");
            assert_eq!(status("POST /v1/tickets", "").await, 403, "a browser says where the page is from");
            // A token in the header is sent by whoever has it, from wherever; it goes before the cookie.
            let header = format!("Authorization: Bearer {}\r\nOrigin: https://evil.test\r\n", world.token());
            assert_eq!(world.http_as("POST /v1/tickets", &header, "").await.status, 201);
            let other = format!("Cookie: synapse_token={}\r\n", world.token());
            assert_eq!(world.http_as("GET /v1/peers", &other, "").await.status, 401, "another name is another cookie");
            // Keys don't go along by themselves.
            let (key, _) = issue(world, r#"{"name":"k","scopes":["peers:read"]}"#).await;
            assert_eq!(world.http_as("GET /v1/peers", &format!("Cookie: sid={key}\r\n"), "").await.status, 401);
        },
    )
    .await;
}
