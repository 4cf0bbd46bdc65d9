//! Client frames: what each asks, and what becomes of bad ones.

use contracts::frames::Outcome;
use contracts::requests::presence::{ListV1, SetStatusV1};
use contracts::requests::signaling::{Forwarded, IceServersV1, OpenSessionRefusal, OpenSessionV1, SendV1, Whereabouts};
use contracts::{Answer, Request};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{run, run_with};

fn fields(problem: &contracts::http::Problem) -> Vec<&str> {
    problem.violations.iter().map(|violation| violation.field.as_str()).collect()
}

#[tokio::test]
async fn before_auth_every_other_frame_is_refused() {
    run(async |world| {
        let mut client = world.connect().await;
        for frame in [
            json!({"type": "ping", "id": "1"}),
            json!({"type": "presence", "id": "2", "action": "list"}),
            json!({"type": "session", "id": "3", "to": "bob"}),
            json!({"type": "signal", "id": "4", "session_id": "s", "signal": {"type": "bye"}}),
        ] {
            assert_eq!(client.refused(&frame).await.code, "authentication_missing");
        }
        client.accepted(&world.auth_frame("alice")).await;
        assert!(world.doubles.seen::<ListV1>().is_empty() && world.doubles.seen::<SendV1>().is_empty());
    })
    .await;
}

#[tokio::test]
async fn each_frame_asks_its_owner_in_the_peers_name() {
    run(async |world| {
        let mut client = world.enter("alice").await;
        assert_eq!(client.accepted(&json!({"type": "ping", "id": "1"})).await, None);
        let page = client.accepted(&json!({"type": "presence", "id": "2", "action": "list", "after": "abc"})).await;
        assert_eq!(page.unwrap()["peers"][0]["peer_id"], "alice");
        assert_eq!(world.doubles.seen::<ListV1>()[0].body, json!({"limit": 100, "after": "abc"}));

        let away = json!({"type": "presence", "id": "3", "action": "set_status", "status": "away"});
        client.accepted(&away).await;
        let asked = json!({"peer_id": "alice", "generation": 1, "status": "away"});
        assert_eq!(world.doubles.seen::<SetStatusV1>()[0].body, asked);

        let opened = client.accepted(&json!({"type": "session", "id": "4", "to": "bob"})).await.unwrap();
        assert_eq!(opened, json!({"session_id": "session-01", "polite": false}));
        let seen = &world.doubles.seen::<OpenSessionV1>()[0];
        assert_eq!((&seen.body["from"], &seen.body["to"]), (&"alice".into(), &"bob".into()));

        let signal = json!({"type": "restart", "generation": 2});
        let frame = json!({"type": "signal", "id": "5", "session_id": "s", "signal": signal});
        let (outcome, result, problem) = client.ask(&frame).await;
        let forwarded = json!({"to": "bob", "outcome": "delivered", "signal_id": "0190-0001"});
        assert_eq!((outcome, result, problem), (Outcome::Delivered, Some(forwarded), None));
        let seen = &world.doubles.seen::<SendV1>()[0];
        assert_eq!(
            (&seen.body["from"], &seen.body["signal"], seen.tenant.as_str()),
            (&"alice".into(), &signal, "acme")
        );
        for (whereabouts, expected) in
            [(Whereabouts::Queued, Outcome::Queued), (Whereabouts::Expired, Outcome::Expired)]
        {
            let kept = Forwarded { outcome: Some(whereabouts), ..SendV1::replies().remove(0) };
            world.doubles.script::<SendV1>(&Answer::Ok(kept));
            assert_eq!(client.ask(&frame).await.0, expected);
        }

        let binding = json!({"public_key": "k", "issued_at_s": 1, "signature": "s"});
        let frame = json!({"type": "signal", "id": "6", "session_id": "s", "to": "carol", "binding": binding,
            "signal": {"type": "offer", "sdp": "v=0", "generation": 1}});
        client.ask(&frame).await;
        let seen = &world.doubles.seen::<SendV1>()[3];
        assert_eq!((&seen.body["to"], &seen.body["binding"]), (&"carol".into(), &binding));

        let several = json!({"type": "session", "id": "7", "to": "bob", "others": ["carol", "dave"]});
        client.accepted(&several).await;
        assert_eq!(world.doubles.seen::<OpenSessionV1>()[1].body["others"], json!(["carol", "dave"]));

        let servers = client.accepted(&json!({"type": "ice_servers", "id": "8"})).await.unwrap();
        assert_eq!(servers["ice_servers"][0]["urls"], json!(["stun:stun.example.com"]));
        assert_eq!(world.doubles.seen::<IceServersV1>()[0].body["peer_id"], "alice");
    })
    .await;
}

#[tokio::test]
async fn nobody_speaks_for_another_peer() {
    run(async |world| {
        let mut client = world.enter("alice").await;
        let mut frame = json!({"type": "signal", "id": "1", "session_id": "s", "signal": {"type": "bye"}});
        frame["from"] = "bob".into();
        assert_eq!(fields(&client.refused(&frame).await), ["from"]);
        assert!(world.doubles.seen::<SendV1>().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_bad_frame_gets_one_outcome_with_every_violation() {
    run(async |world| {
        let mut client = world.enter("alice").await;
        let bad = json!({"type": "signal", "id": "7", "session_id": "a b", "signal": 1, "extra": true});
        let problem = client.refused(&bad).await;
        assert_eq!((problem.code.as_str(), problem.status), ("validation_failed", 400));
        assert_eq!(fields(&problem), ["extra", "session_id", "signal"]);
        for (text, expected) in [
            ("nonsense", &["frame"][..]),
            ("[1]", &["frame"]),
            ("{}", &["id", "type"]),
            (r#"{"type":"dance","id":"a b"}"#, &["id", "type"]),
        ] {
            client.send_raw(Message::Text(text.into())).await;
            let (outcome, _, problem) = client.outcome_of(None).await;
            assert_eq!((outcome, fields(&problem.unwrap())), (Outcome::Refused, expected.to_vec()), "{text}");
        }
        client.is_alive().await;
    })
    .await;
}

#[tokio::test]
async fn a_binary_message_is_a_bad_frame() {
    run(async |world| {
        let mut client = world.enter("alice").await;
        client.send_raw(Message::Binary(br#"{"type":"ping","id":"1"}"#.to_vec().into())).await;
        let (outcome, _, problem) = client.outcome_of(None).await;
        assert_eq!((outcome, fields(&problem.unwrap())), (Outcome::Refused, vec!["frame"]));
        client.is_alive().await;
    })
    .await;
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_connection() {
    run_with(&[("max_frame_bytes", "1024")], async |world| {
        let mut client = world.connect().await;
        let _ = client.try_send(&json!({"type": "ping", "id": "1", "fill": "x".repeat(2_000)})).await;
        client.closed().await;
        // Nobody but that one is harmed.
        world.connect().await.refused(&json!({"type": "ping", "id": "1"})).await;
    })
    .await;
}

#[tokio::test]
async fn too_many_bad_frames_in_a_row_are_abuse() {
    run_with(&[("max_bad_frames", "3")], async |world| {
        let bad = json!({"type": "dance", "id": "1"});
        let mut client = world.enter("alice").await;
        for _ in 0..4 {
            client.refused(&bad).await;
            client.refused(&bad).await;
            client.is_alive().await;
        }
        for _ in 0..3 {
            client.refused(&bad).await;
        }
        let closed = client.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (Some(4400), "protocol_abuse"));
        assert_eq!(world.leaves(1).await[0].0, "alice");
        // Who has not authenticated is not more patient with us.
        let mut stranger = world.connect().await;
        for _ in 0..3 {
            stranger.refused(&bad).await;
        }
        assert_eq!(stranger.closed().await.code, Some(4400));
    })
    .await;
}

#[tokio::test]
async fn calling_peers_that_are_away_is_no_abuse() {
    run_with(&[("max_bad_frames", "3")], async |world| {
        let mut client = world.enter("alice").await;
        let call: Value = json!({"type": "session", "id": "1", "to": "bob"});
        world.doubles.script::<OpenSessionV1>(&Answer::Refused(OpenSessionRefusal::PeerOffline));
        for _ in 0..10 {
            assert_eq!(client.refused(&call).await.code, "peer_offline");
        }
        client.is_alive().await;
    })
    .await;
}
