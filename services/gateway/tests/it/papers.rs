//! Token and proof on a socket: at the beginning, renewed, over.

use std::time::Duration;

use auth::Role;
use contracts::requests::presence::ConnectV1;
use contracts::requests::signaling::OpenSessionV1;
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{ACME, SOON, World, run, run_with};

fn auth(token: String, peer: &str, proof: Option<String>) -> Value {
    let mut frame = json!({"type": "auth", "id": "auth-1", "token": token, "peer_id": peer});
    if let Some(proof) = proof {
        frame["proof"] = proof.into();
    }
    frame
}

async fn turned_away(world: &World, frame: &Value, code: &str, close: u16) -> String {
    let mut client = world.connect().await;
    let problem = client.refused(frame).await;
    assert_eq!(problem.code, code, "{problem:?}");
    assert_eq!(client.closed().await.code, Some(close));
    problem.detail.unwrap_or_default()
}

#[tokio::test]
async fn with_good_papers_the_peer_takes_its_place_at_presence() {
    run(async |world| {
        let mut client = world.connect().await;
        let result = client.accepted(&world.auth_frame("alice")).await;
        let mut result = result.unwrap();
        let epoch = result.as_object_mut().unwrap().remove("epoch").unwrap();
        assert!(epoch.as_str().unwrap().starts_with(&format!("{}.", world.node)), "{epoch}");
        assert_eq!(result, json!({"peer_id": "alice", "generation": 1, "offset": 0}));
        let seen = world.doubles.seen::<ConnectV1>();
        assert_eq!((seen.len(), seen[0].tenant.as_str()), (1, ACME));
        let mut body = seen[0].body.clone();
        assert!(body.as_object_mut().unwrap().remove("connection_id").is_some());
        let expected = json!({
            "peer_id": "alice", "user_id": "ada", "node_id": world.node, "subscription_id": "sub-alice", "proof_ver": 2,
            "max_peers": 50, "address": "127.0.0.1",
        });
        assert_eq!(body, expected);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_not_good_ends_the_connection() {
    run(async |world| {
        let proof = || Some(world.proof("alice", 2));
        turned_away(world, &auth("nonsense".into(), "alice", proof()), "authentication_invalid", 4401).await;
        let old = world.token_of(ACME, "ada", Role::User, 1_000);
        world.hand.advance(Duration::from_secs(60));
        turned_away(world, &auth(old, "alice", proof()), "authentication_expired", 4401).await;
        assert!(world.doubles.seen::<ConnectV1>().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_proof_that_is_not_good_ends_the_connection_and_says_how_to_get_one() {
    run(async |world| {
        let detail = turned_away(world, &auth(world.token(), "alice", None), "proof_refused", 4403).await;
        assert!(detail.starts_with("proof: is missing") && detail.contains("verify"), "{detail}");
        for proof in [
            "a.b.c".to_owned(),
            world.proof("bob", 2),
            world.proof_of("umbrella", "alice", "sub-alice", 2),
            world.token(),
        ] {
            turned_away(world, &auth(world.token(), "alice", Some(proof)), "proof_refused", 4403).await;
        }
        world.revoke("sub-alice", 3).await;
        let revoked = auth(world.token(), "alice", Some(world.proof("alice", 2)));
        turned_away(world, &revoked, "entitlement_lost", 4403).await;
        assert!(world.doubles.seen::<ConnectV1>().is_empty());
        world.enter_with(&auth(world.token(), "alice", Some(world.proof("alice", 3)))).await;
    })
    .await;
}

#[tokio::test]
async fn who_does_not_authenticate_in_time_is_closed() {
    run(async |world| {
        let mut client = world.connect().await;
        world.hand.advance(Duration::from_millis(9_999));
        assert_eq!(client.refused(&json!({"type": "ping", "id": "1"})).await.code, "authentication_missing");
        world.hand.advance(Duration::from_millis(1));
        let closed = client.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (Some(4401), "unauthenticated"));
    })
    .await;
}

#[tokio::test]
async fn papers_are_renewed_on_a_live_connection() {
    run_with(&[("heartbeat_ms", "300000")], async |world| {
        let token = world.token_of(ACME, "ada", Role::User, 60_000);
        let mut client = world.enter_with(&auth(token, "alice", Some(world.proof("alice", 2)))).await;
        world.hand.advance(Duration::from_secs(30));
        let newer = world.proof("alice", 3);
        let renewal = json!({"type": "refresh", "id": "r", "token": world.token(), "proof": newer});
        client.accepted(&renewal).await;
        assert_eq!(world.doubles.seen::<ConnectV1>().len(), 1, "it is the same connection");
        // What it asks from now on carries the newer proof, and revoking the older ones does not end it.
        client.accepted(&json!({"type": "session", "id": "1", "to": "bob"})).await;
        assert_eq!(world.doubles.seen::<OpenSessionV1>()[0].body["proof"], newer);
        world.revoke("sub-alice", 3).await;
        world.hand.advance(Duration::from_secs(60));
        client.is_alive().await;
    })
    .await;
}

fn refresh(token: Option<String>, proof: Option<String>) -> Value {
    let mut frame = json!({"type": "refresh", "id": "refresh-1"});
    for (name, value) in [("token", token), ("proof", proof)] {
        if let Some(value) = value {
            frame[name] = value.into();
        }
    }
    frame
}

#[tokio::test]
async fn a_renewal_for_somebody_else_is_refused_and_the_connection_stays() {
    run(async |world| {
        let mut client = world.enter("alice").await;
        let tenant = world.token_of("umbrella", "ada", Role::User, 60_000);
        let user = world.token_of(ACME, "eve", Role::User, 60_000);
        let others = [
            ("another tenant", refresh(Some(tenant), Some(world.proof_of("umbrella", "alice", "sub-alice", 2)))),
            ("another user", refresh(Some(user), Some(world.proof("alice", 2)))),
            ("another subscription", refresh(None, Some(world.proof_of(ACME, "alice", "sub-x", 2)))),
            ("once more", auth(world.token(), "bob", Some(world.proof("bob", 2)))),
        ];
        for (name, frame) in others {
            assert_eq!(client.refused(&frame).await.code, "conflict", "{name}");
        }
        client.is_alive().await;
    })
    .await;
}

#[tokio::test]
async fn a_renewal_with_bad_papers_ends_the_connection() {
    run(async |world| {
        let mut client = world.enter("alice").await;
        assert_eq!(client.refused(&refresh(None, Some(world.proof("bob", 2)))).await.code, "proof_refused");
        assert_eq!(client.closed().await.code, Some(4403));
        assert_eq!(world.leaves(1).await, [("alice".to_owned(), 1, "left".to_owned())]);
        let mut client = world.enter("bob").await;
        assert_eq!(client.refused(&refresh(Some("a.b.c".into()), None)).await.code, "authentication_invalid");
        assert_eq!(client.closed().await.code, Some(4401));
    })
    .await;
}

#[tokio::test]
async fn an_expired_token_closes_with_a_hint() {
    run_with(&[("heartbeat_ms", "300000")], async |world| {
        let token = world.token_of(ACME, "ada", Role::User, 60_000);
        let mut client = world.enter_with(&auth(token, "alice", Some(world.proof("alice", 2)))).await;
        world.hand.advance(Duration::from_millis(59_999));
        client.is_alive().await;
        world.hand.advance(Duration::from_millis(1));
        let closed = client.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (Some(4410), "token_expired"));
        assert_eq!(closed.reconnect_after_ms, Some(0));
        assert_eq!(world.leaves(1).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_busy_client_can_not_outlive_its_token() {
    run_with(&[("heartbeat_ms", "300000")], async |world| {
        let token = world.token_of(ACME, "ada", Role::User, 60_000);
        let mut client = world.enter_with(&auth(token, "alice", Some(world.proof("alice", 2)))).await;
        world.hand.advance(Duration::from_secs(60));
        // Its frames are there before anybody looks at the time.
        for _ in 0..50 {
            if client.try_send(&json!({"type": "ping", "id": "1"})).await.is_err() {
                break;
            }
        }
        assert_eq!(client.closed().await.code, Some(4410));
    })
    .await;
}

#[tokio::test]
async fn without_any_news_a_connection_ends_with_its_proof_after_five_minutes() {
    run_with(&[("heartbeat_ms", "300000")], async |world| {
        let mut client = world.enter("alice").await;
        world.hand.advance(Duration::from_millis(299_999));
        client.is_alive().await;
        world.hand.advance(Duration::from_millis(1));
        let closed = client.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (Some(4403), "proof_refused"));
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_while_it_enters_leaves_no_ghost() {
    run(async |world| {
        for number in 0..20 {
            let peer = format!("peer-{number}");
            let mut client: Client = world.connect().await;
            client.send(&world.auth_frame(&peer)).await;
            drop(client);
        }
        // Each that took its place at presence gave it back.
        testkit::eventually(SOON, "every place to be given back", async || {
            let came = world.doubles.seen::<ConnectV1>().len();
            let left = world.leaves(0).await.len();
            if came == 20 && left == 20 { Ok(()) } else { Err(format!("{came} came, {left} left")) }
        })
        .await;
    })
    .await;
}
