//! Every attempt to be somebody and every decision leaves a record, and no record holds a secret.

use std::sync::{Arc, Mutex};

use auth::Role;
use serde_json::{Value, json};
use service::telemetry::{TelemetrySettings, build, memory_sink};

use crate::api_keys::issue;
use crate::harness::{ACME, World, run};

/// The records since the last look.
fn records(lines: &Arc<Mutex<Vec<String>>>) -> Vec<Value> {
    let lines = std::mem::take(&mut *lines.lock().unwrap());
    let parsed = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    parsed.filter(|line| line["target"] == "audit").collect()
}

/// Action, outcome, reason, via.
fn told(record: &Value) -> [&str; 4] {
    ["action", "outcome", "reason", "via"].map(|name| record[name].as_str().unwrap())
}

#[tokio::test]
async fn every_attempt_and_decision_is_one_record() {
    run(async |world: &World| {
        let (sink, lines) = memory_sink();
        // Whoever silences the logs does not silence these.
        let settings = TelemetrySettings { log_filter: "off".into(), ..json_logs() };
        let (dispatch, _telemetry) = build(&settings, "gateway", &world.clock, sink).unwrap();
        let _guard = tracing::dispatcher::set_default(&dispatch);
        let token = world.token();
        for (line, headers, wanted) in [
            ("GET /v1/peers", String::new(), ["peers.list", "unauthenticated", "token_missing", ""]),
            ("GET /v1/peers", bearer("a.b.c"), ["peers.list", "unauthenticated", "token_malformed", "header"]),
            ("GET /v1/peers", bearer("syn_live_x"), ["peers.list", "unauthenticated", "api_key_malformed", "header"]),
            ("GET /v1/peers", bearer(&token), ["peers.list", "allowed", "", "header"]),
            ("GET /v1/peers", format!("Cookie: synapse_token={token}\r\n"), ["peers.list", "allowed", "", "cookie"]),
            ("POST /v1/plans/check", bearer(&token), ["plans.check", "denied", "not_admin", "header"]),
        ] {
            let answer = world.http_as(line, &format!("{headers}X-Correlation-ID: c-7\r\n"), "").await;
            let records = records(&lines);
            assert_eq!((records.len(), told(&records[0])), (1, wanted), "{answer:?}");
            assert_eq!(records[0]["correlation_id"], "c-7");
            if wanted[1] != "unauthenticated" {
                let who = ["tenant", "user", "role", "token_id"].map(|name| records[0][name].as_str().unwrap());
                assert_eq!(who, [ACME, "ada", "user", "t-1"]);
            }
        }
        // What is denied within a call that is allowed.
        world.http("GET /v1/subscriptions?all=true", "", "").await.is_refused(403, "forbidden");
        let denied = records(&lines);
        assert_eq!(told(&denied[0])[..2], ["subscriptions.list", "allowed"]);
        assert_eq!(told(&denied[1])[..3], ["subscriptions.see_others", "denied", "not_admin"]);
    })
    .await;
}

#[tokio::test]
async fn what_happens_to_keys_and_connections_is_recorded_without_their_secrets() {
    run(async |world: &World| {
        let (sink, lines) = memory_sink();
        let (dispatch, _telemetry) = build(&json_logs(), "gateway", &world.clock, sink).unwrap();
        let _guard = tracing::dispatcher::set_default(&dispatch);
        let (secret, id) =
            issue(world, r#"{"name":"bot","role":"read_only","user_id":"ada","scopes":["connect"]}"#).await;
        let made = records(&lines);
        assert_eq!(told(&made[1])[..3], ["api_keys.create", "allowed", "done"]);
        let proof = world.proof("alice", 2);
        let auth = json!({"type": "auth", "id": "1", "token": secret, "peer_id": "alice", "proof": proof});
        let mut client = world.enter_with(&auth).await;
        let entered = records(&lines);
        assert_eq!(told(&entered[0]), ["peers.enter", "allowed", "", "frame"]);
        assert_eq!((&entered[0]["key_id"], &entered[0]["subject"]), (&json!(id), &json!("alice")));
        let message = json!({"type": "message", "id": "2", "to": "bob", "action": "chat", "message": "m"});
        assert_eq!(client.refused(&message).await.code, "forbidden");
        assert_eq!(told(&records(&lines)[0])[..3], ["messages.send", "denied", "read_only"]);
        let admin = bearer(&world.token_of(ACME, "root", Role::Admin, 3_600_000));
        assert_eq!(world.http_as(&format!("DELETE /v1/api-keys/{id}"), &admin, "").await.status, 204);
        assert_eq!(told(&records(&lines)[1])[..3], ["api_keys.revoke", "allowed", "done"]);
        world.http_as("POST /v1/tickets", &bearer(&secret), "").await.is_refused(401, "authentication_invalid");
        let used = records(&lines);
        assert_eq!(told(&used[0]), ["tickets.issue", "unauthenticated", "api_key_revoked", "header"]);
        assert_eq!((&used[0]["key_id"], &used[0]["tenant"]), (&json!(id), &json!(ACME)), "whose key somebody tries");
        let all = format!("{made:?}{entered:?}{used:?}");
        assert!(!all.contains(&secret[9..30]) && !all.contains(&proof[..40]), "{all}");
    })
    .await;
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn json_logs() -> TelemetrySettings {
    TelemetrySettings { log_format: service::telemetry::LogFormat::Json, ..TelemetrySettings::default() }
}
