use serde_json::json;

use super::*;

fn broken(frame: Value) -> Vec<(String, String)> {
    let bad = parse(frame).expect_err("the frame is bad");
    bad.violations.into_iter().map(|violation| (violation.field, violation.message)).collect()
}

fn fields(frame: Value) -> Vec<String> {
    broken(frame).into_iter().map(|(field, _)| field).collect()
}

#[test]
fn good_frames_are_read() {
    for good in [
        json!({"type": "ping", "id": "1"}),
        json!({"type": "auth", "id": "1", "token": "a.b.c", "peer_id": "alice"}),
        json!({"type": "auth", "id": "1", "peer_id": "alice", "proof": null, "acks": true}),
        json!({"type": "auth", "id": "1", "ticket": "n.0", "peer_id": "a", "resume": {"epoch": "n.1", "offset": 7}}),
        json!({"type": "refresh", "id": "1", "proof": "x.y.z"}),
        json!({"type": "presence", "id": "1", "action": "list", "after": "abc"}),
        json!({"type": "presence", "id": "1", "action": "set_status", "status": "away"}),
        json!({"type": "presence", "id": "1", "action": "unsubscribe"}),
        json!({"type": "presence", "id": "1", "action": "list", "room": "r", "tag": "a:b", "same_network": true}),
        json!({"type": "presence", "id": "1", "action": "subscribe", "capability": "video.v2"}),
        json!({"type": "presence", "id": "1", "action": "count"}),
        json!({"type": "presence", "id": "1", "action": "describe", "tags": [], "transports": [{"kind": "webrtc"}]}),
        json!({"type": "presence", "id": "1", "action": "describe", "identity_keys": null}),
        json!({"type": "session", "id": "1", "to": "bob"}),
        json!({"type": "signal", "id": "1", "session_id": "s", "signal": {"type": "bye"}}),
        json!({"type": "message", "id": "1", "to": "bob", "action": "chat", "message": "hi", "session_id": "s"}),
        json!({"type": "broadcast", "id": "1", "scope": "tenant", "action": "chat", "message": "hi"}),
        json!({"type": "broadcast", "id": "1", "scope": "user", "user_id": "ada", "action": "x", "message": "hi"}),
        json!({"type": "broadcast", "id": "1", "scope": "room", "room": "r", "action": "x", "message": "hi"}),
        json!({"type": "room", "id": "1", "action": "join", "room": "lobby"}),
        json!({"type": "ack", "id": "1", "offset": 0}),
        json!({"type": "ice_servers", "id": "1"}),
        json!({"type": "session", "id": "1", "to": "bob", "others": ["carol"]}),
        json!({"type": "signal", "id": "1", "session_id": "s", "to": "carol", "signal": {"type": "restart", "generation": 2},
            "binding": {"public_key": "k", "issued_at_s": 1, "signature": "s"}}),
    ] {
        let frame = parse(good.clone()).unwrap_or_else(|bad| panic!("{good}: {bad:?}"));
        assert_eq!(frame.id(), "1");
    }
}

#[test]
fn all_violations_come_at_once_with_the_frames_id() {
    let bad = parse(json!({"type": "auth", "id": "7", "token": "a b", "peer_id": "", "extra": 1})).unwrap_err();
    assert_eq!(bad.id.as_deref(), Some("7"));
    let named: Vec<&str> = bad.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(named, ["extra", "token", "peer_id"]);
}

#[test]
fn each_rule_of_a_text_has_its_own_words() {
    let action = |action: Value| {
        let found = broken(json!({"type": "message", "id": "1", "to": "b", "message": "m", "action": action}));
        found.into_iter().map(|(_, message)| message).collect::<Vec<_>>()
    };
    let long = format!("{}-", "x".repeat(50));
    let told = [action(json!("")), action(json!(1)), action(json!("x".repeat(51))), action(json!("a-b"))].concat();
    assert_eq!(told.len(), 4);
    let distinct: std::collections::BTreeSet<&String> = told.iter().collect();
    assert_eq!(distinct.len(), 4, "{told:?}");
    assert_eq!(action(json!(long)).len(), 2, "too long, and another character");
}

#[test]
fn limits_hold_at_both_edges() {
    let message =
        |text: String| parse(json!({"type": "message", "id": "1", "to": "b", "action": "a", "message": text}));
    assert!(message("é".repeat(10_000)).is_ok(), "characters count, not bytes");
    assert!(message("é".repeat(10_001)).is_err());
    let action = |length| "a".repeat(length);
    let named =
        |action: String| parse(json!({"type": "message", "id": "1", "to": "b", "action": action, "message": "m"}));
    assert!(named(action(50)).is_ok() && named(action(51)).is_err() && named(action(0)).is_err());
    let token = |length| parse(json!({"type": "auth", "id": "1", "peer_id": "a", "token": "x".repeat(length)}));
    assert!(token(10_000).is_ok() && token(10_001).is_err() && token(0).is_err());
    let session = |length| parse(json!({"type": "session", "id": "1", "to": "s".repeat(length)}));
    assert!(session(100).is_ok() && session(101).is_err());
}

#[test]
fn a_field_must_fit_its_type_action_and_scope() {
    assert_eq!(fields(json!({"type": "ping", "id": "1", "token": "x"})), ["token"]);
    assert_eq!(fields(json!({"type": "presence", "id": "1", "action": "join"})), ["action"]);
    let bad = json!({"type": "presence", "id": "1", "action": "list", "tag": "a b", "same_network": 1, "tags": []});
    assert_eq!(fields(bad), ["tags", "tag", "same_network"]);
    assert_eq!(fields(json!({"type": "presence", "id": "1", "action": "list", "status": "away"})), ["status"]);
    assert_eq!(fields(json!({"type": "presence", "id": "1", "action": "subscribe", "after": "x"})), ["after"]);
    assert_eq!(fields(json!({"type": "presence", "id": "1", "action": "set_status", "status": "offline"})), ["status"]);
    assert_eq!(fields(json!({"type": "signal", "id": "1", "session_id": "s", "signal": {"type": "wave"}})), ["signal"]);
    let broadcast =
        json!({"type": "broadcast", "id": "1", "scope": "room", "user_id": "u", "action": "a", "message": "m"});
    assert_eq!(fields(broadcast), ["room", "user_id"]);
    assert_eq!(fields(json!({"type": "auth", "id": "1", "peer_id": "a", "token": "t", "ticket": "t"})), ["ticket"]);
    assert_eq!(fields(json!({"type": "refresh", "id": "1"})), ["token"]);
    let others = |others: Value| fields(json!({"type": "session", "id": "1", "to": "b", "others": others}));
    assert_eq!(others(json!(["ok", "a b"])), ["others.1"]);
    assert_eq!(others(json!("bob")), ["others"]);
    assert_eq!(others(json!(vec!["p"; 64])), ["others"]);
    let bound = json!({"type": "signal", "id": "1", "session_id": "s", "to": "", "signal": {"type": "bye"},
        "binding": {"issued_at_s": "now"}});
    assert_eq!(fields(bound), ["to", "binding.public_key", "binding.signature", "binding.issued_at_s"]);
    let resume = json!({"type": "auth", "id": "1", "peer_id": "a", "resume": {"epoch": "a b", "offset": -1}});
    assert_eq!(fields(resume), ["resume.epoch", "resume.offset"]);
}

#[test]
fn what_is_no_frame_is_told_so() {
    assert_eq!(fields(json!([])), ["frame"]);
    assert_eq!(fields(json!({})), ["id", "type"]);
    assert_eq!(fields(json!({"type": "dance", "id": "1"})), ["type"]);
    assert_eq!(fields(json!({"type": "ack", "id": "1", "offset": 1.5})), ["offset"]);
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        if let Ok(value) = super::super::codec::read_json(&text) {
            let _ = parse(value);
        }
    }
}
