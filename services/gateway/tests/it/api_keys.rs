//! API keys from their making to their end, at one gateway and at two.

use std::time::Duration;

use auth::{ApiKey, KeyKind, Role};
use clock::Entropy;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::harness::{ACME, SOON, World, run, run_with};

const JSON: &str = "Content-Type: application/json\r\n";

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// A call by `acme`'s administrator.
async fn admin(world: &World, line: &str, body: &str) -> Answer {
    let token = world.token_of(ACME, "root", Role::Admin, 3_600_000);
    world.http_as(line, &format!("{}{JSON}", bearer(&token)), body).await
}

fn parsed(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}

/// A new key: its secret and its id.
pub(crate) async fn issue(world: &World, body: &str) -> (String, String) {
    let answer = admin(world, "POST /v1/api-keys", body).await;
    assert_eq!((answer.status, answer.header("cache-control")), (201, Some("no-store")), "{answer:?}");
    let issued = parsed(&answer);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), Some(format!("/v1/api-keys/{}", text(&issued["key"]["key_id"])).as_str()));
    (text(&issued["secret"]), text(&issued["key"]["key_id"]))
}

async fn peers(world: &World, key: &str) -> Answer {
    world.http_as("GET /v1/peers", &bearer(key), "").await
}

const READ: &str = r#"{"name":"ci","scopes":["peers:read"]}"#;

#[tokio::test]
async fn a_key_is_shown_once_and_then_only_by_its_beginning() {
    run(async |world| {
        let (secret, id) =
            issue(world, r#"{"name":"ci","scopes":["peers:read","connect","connect"],"requests_per_minute":60}"#).await;
        assert!(ApiKey::parse(&secret).is_ok_and(|key| key.kind() == KeyKind::Test), "no production");
        assert_eq!(peers(world, &secret).await.status, 200);
        let list = admin(world, "GET /v1/api-keys", "").await;
        assert!(!list.body.contains(&secret[..20]) && !list.body.contains("hash"), "{list:?}");
        let key = &parsed(&list)["keys"][0];
        let now_ms = world.clock.now_ms();
        let expected = json!({
            "key_id": id, "name": "ci", "hint": secret[..13], "status": "active", "scopes": ["connect", "peers:read"],
            "role": "read_only", "user_id": "root", "created_at_ms": now_ms, "created_by": "root",
            "last_used_at_ms": now_ms, "requests_per_minute": 60,
        });
        assert_eq!(*key, expected);
        assert_eq!(parsed(&admin(world, &format!("GET /v1/api-keys/{id}"), "").await), expected);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_good_key_is_told_apart() {
    run(async |world| {
        let (secret, _) = issue(world, READ).await;
        let typed = format!("{}{}", &secret[..57], if secret.ends_with('0') { '1' } else { '0' });
        let stranger = ApiKey::generate(KeyKind::Test, &Entropy::system());
        let live = ApiKey::generate(KeyKind::Live, &Entropy::system());
        for (key, wanted) in [
            (typed.as_str(), "check digits"),
            ("syn_live_short", "is not an API key"),
            (stranger.expose(), "nobody has"),
            (live.expose(), "other kind of installation"),
        ] {
            let answer = peers(world, key).await;
            let problem = answer.is_refused(401, "authentication_invalid");
            assert!(problem.detail.unwrap().contains(wanted), "{answer:?}");
            assert!(answer.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
            assert!(!answer.body.contains(&key[9..]), "{answer:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_wish_that_breaks_rules_is_told_all_of_them() {
    run_with(&[("max_api_keys", "2")], async |world| {
        let bad = format!(r#"{{"name":"{}","scopes":[],"expires_at_ms":1,"requests_per_minute":0}}"#, "n".repeat(101));
        let problem = admin(world, "POST /v1/api-keys", &bad).await.is_refused(400, "validation_failed");
        let fields: Vec<&str> = problem.violations.iter().map(|broken| broken.field.as_str()).collect();
        assert_eq!(fields, ["name", "scopes", "expires_at_ms", "requests_per_minute"]);
        let unknown = r#"{"name":"ci","scopes":["everything"]}"#;
        let problem = admin(world, "POST /v1/api-keys", unknown).await.is_refused(400, "validation_failed");
        assert!(problem.violations[0].field.starts_with("scopes"), "{problem:?}");
        for line in [
            "GET /v1/api-keys?limit=0",
            "GET /v1/api-keys?limit=101",
            "GET /v1/api-keys?page=1",
            "GET /v1/api-keys/a%20b",
        ] {
            admin(world, line, "").await.is_refused(400, "validation_failed");
        }
        let (_, first) = issue(world, READ).await;
        issue(world, READ).await;
        admin(world, "POST /v1/api-keys", READ).await.is_refused(409, "conflict");
        // One that ended makes room.
        assert_eq!(admin(world, &format!("DELETE /v1/api-keys/{first}"), "").await.status, 204);
        issue(world, READ).await;
    })
    .await;
}

#[tokio::test]
async fn many_creations_at_once_do_not_pass_the_limit() {
    run_with(&[("max_api_keys", "3")], async |world| {
        let answers = futures::future::join_all((0..8).map(|_| admin(world, "POST /v1/api-keys", READ))).await;
        // Who lost too often against the others may try again.
        assert!(answers.iter().all(|answer| [201, 409, 503].contains(&answer.status)), "{answers:?}");
        let made = answers.iter().filter(|answer| answer.status == 201).count();
        let listed = parsed(&admin(world, "GET /v1/api-keys", "").await)["keys"].as_array().unwrap().len();
        assert!(made == listed && (1..=3).contains(&made), "{made} made, {listed} listed");
    })
    .await;
}

#[tokio::test]
async fn pages_list_every_key_once() {
    run(async |world| {
        for _ in 0..5 {
            issue(world, READ).await;
        }
        let (mut ids, mut after) = (Vec::new(), String::new());
        loop {
            let page = parsed(&admin(world, &format!("GET /v1/api-keys?limit=2{after}"), "").await);
            ids.extend(page["keys"].as_array().unwrap().iter().map(|key| key["key_id"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        // A page's token is of use in its own tenant alone.
        let page = parsed(&admin(world, "GET /v1/api-keys?limit=2", "").await);
        let stranger = bearer(&world.token_of("umbrella", "root", Role::Admin, 3_600_000));
        for after in [page["next"].as_str().unwrap(), "nonsense"] {
            let answer = world.http_as(&format!("GET /v1/api-keys?after={after}"), &stranger, "").await;
            assert_eq!(answer.is_refused(400, "validation_failed").violations[0].field, "after");
        }
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!((ids.len(), distinct.len()), (5, 5));
    })
    .await;
}

#[tokio::test]
async fn a_key_ends_when_it_was_said_to() {
    run(async |world| {
        let body = json!({"name": "ci", "scopes": ["peers:read"], "expires_at_ms": world.clock.now_ms() + 5_000});
        let (secret, id) = issue(world, &body.to_string()).await;
        world.hand.advance(Duration::from_millis(4_999));
        assert_eq!(peers(world, &secret).await.status, 200);
        // Although it is remembered as good.
        world.hand.advance(Duration::from_millis(1));
        peers(world, &secret).await.is_refused(401, "authentication_expired");
        assert_eq!(parsed(&admin(world, &format!("GET /v1/api-keys/{id}"), "").await)["status"], "expired");
        admin(world, &format!("POST /v1/api-keys/{id}/rotate"), "").await.is_refused(409, "conflict");
    })
    .await;
}

#[tokio::test]
async fn a_rotated_key_has_two_secrets_for_a_while() {
    run(async |world| {
        let (old, id) = issue(world, READ).await;
        let line = format!("POST /v1/api-keys/{id}/rotate");
        let answer = admin(world, &line, r#"{"overlap_ms":60000}"#).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
        let issued = parsed(&answer);
        let new = issued["secret"].as_str().unwrap().to_owned();
        assert_eq!(
            (&issued["key"]["key_id"], &issued["key"]["previous_until_ms"]),
            (&json!(id), &json!(world.clock.now_ms() + 60_000))
        );
        world.hand.advance(Duration::from_millis(59_999));
        assert_eq!((peers(world, &old).await.status, peers(world, &new).await.status), (200, 200));
        world.hand.advance(Duration::from_millis(1));
        assert_eq!((peers(world, &old).await.status, peers(world, &new).await.status), (401, 200));
        let newest = parsed(&admin(world, &line, r#"{"overlap_ms":0}"#).await)["secret"].as_str().unwrap().to_owned();
        assert_eq!((peers(world, &new).await.status, peers(world, &newest).await.status), (401, 200));
        admin(world, &line, r#"{"overlap_ms":604800001}"#).await.is_refused(400, "validation_failed");
        // Without a word: a day.
        let issued = parsed(&admin(world, &line, "").await);
        assert_eq!(issued["key"]["previous_until_ms"], json!(world.clock.now_ms() + 86_400_000));
    })
    .await;
}

#[tokio::test]
async fn another_tenants_keys_are_not_there() {
    run(async |world| {
        let (secret, id) = issue(world, READ).await;
        let stranger = bearer(&world.token_of("umbrella", "root", Role::Admin, 3_600_000));
        for line in ["GET /v1/api-keys/", "DELETE /v1/api-keys/"] {
            world.http_as(&format!("{line}{id}"), &stranger, "").await.is_refused(404, "not_found");
        }
        world.http_as(&format!("POST /v1/api-keys/{id}/rotate"), &stranger, "").await.is_refused(404, "not_found");
        let list = world.http_as("GET /v1/api-keys", &stranger, "").await;
        assert_eq!(parsed(&list)["keys"], json!([]));
        assert_eq!(peers(world, &secret).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_revoked_key_is_void_here_at_once_and_everywhere_within_the_cache_time() {
    run(async |world| {
        let replica = world.replica(&[]).await;
        let (secret, id) = issue(world, READ).await;
        let there = async || {
            let head = format!("GET /v1/peers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n", bearer(&secret));
            crate::client::raw(replica, &head).await.status
        };
        assert_eq!((peers(world, &secret).await.status, there().await), (200, 200));
        assert_eq!(admin(world, &format!("DELETE /v1/api-keys/{id}"), "").await.status, 204);
        assert_eq!(admin(world, &format!("DELETE /v1/api-keys/{id}"), "").await.status, 204, "again changes nothing");
        let answer = peers(world, &secret).await;
        assert!(answer.is_refused(401, "authentication_invalid").detail.unwrap().contains("revoked"));
        world.hand.advance(Duration::from_secs(10));
        assert_eq!(there().await, 401);
        assert_eq!(parsed(&admin(world, &format!("GET /v1/api-keys/{id}"), "").await)["status"], "revoked");
    })
    .await;
}

#[tokio::test]
async fn a_key_opens_connections_and_its_end_closes_them() {
    run_with(&[("heartbeat_ms", "300000")], async |world| {
        let (secret, id) = issue(world, r#"{"name":"bot","role":"user","user_id":"ada","scopes":["connect"]}"#).await;
        let proof = world.proof("alice", 2);
        let auth = json!({"type": "auth", "id": "1", "token": secret, "peer_id": "alice", "proof": proof});
        let mut client: Client = world.enter_with(&auth).await;
        for _ in 0..3 {
            world.hand.advance(Duration::from_secs(10));
            client.is_alive().await;
        }
        // By ticket, too.
        let ticket = parsed(&world.http_as("POST /v1/tickets", &bearer(&secret), "").await)["ticket"].clone();
        let by_ticket =
            json!({"type": "auth", "id": "1", "ticket": ticket, "peer_id": "bob", "proof": world.proof("bob", 2)});
        let mut other = world.enter_with(&by_ticket).await;
        assert_eq!(admin(world, &format!("DELETE /v1/api-keys/{id}"), "").await.status, 204);
        world.hand.advance(Duration::from_secs(10));
        assert_eq!((client.closed().await.code, other.closed().await.code), (Some(4401), Some(4401)));
        let mut again = world.connect().await;
        assert_eq!(again.refused(&auth).await.code, "authentication_invalid");
        assert_eq!(again.closed().await.code, Some(4401));
    })
    .await;
}

#[tokio::test]
async fn a_key_without_the_scope_connects_nowhere() {
    run(async |world| {
        let (secret, _) = issue(world, READ).await;
        let mut client = world.connect().await;
        let auth =
            json!({"type": "auth", "id": "1", "token": secret, "peer_id": "alice", "proof": world.proof("alice", 2)});
        let problem = client.refused(&auth).await;
        assert_eq!(problem.code, "forbidden");
        assert!(problem.detail.unwrap().contains("connect"));
        assert_eq!(client.closed().await.code, Some(4401));
    })
    .await;
}

#[tokio::test]
async fn when_a_key_was_last_used_is_written_once_a_minute() {
    run(async |world| {
        let (secret, id) = issue(world, READ).await;
        let used_at_ms = world.clock.now_ms() + 1_000;
        world.hand.set(used_at_ms);
        for _ in 0..5 {
            assert_eq!(peers(world, &secret).await.status, 200);
        }
        let written = store::Key::new(format!("api-key-used#{ACME}"), &id);
        let read = async || world.store().get(&written).await.unwrap();
        assert_eq!(read().await, None, "not with each call");
        world.hand.advance(Duration::from_secs(60));
        let item = testkit::eventually(SOON, "the last use to be written", read).await;
        assert_eq!(item.body, json!({"at_ms": used_at_ms}).to_string());
        assert_eq!(
            parsed(&admin(world, "GET /v1/api-keys", "").await)["keys"][0]["last_used_at_ms"],
            json!(used_at_ms)
        );
    })
    .await;
}
