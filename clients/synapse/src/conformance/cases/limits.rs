//! Every limit of a text, at both edges. What is just allowed must come as far as its next question: nobody of that
//! name, no such session.

use anyhow::ensure;
use serde_json::{Value, json};

use super::frames::refused;
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    let id = |length: usize| "i".repeat(length);
    let mut cases = vec![
        taken("F-3", "an id of 1 character", json!({"type": "ping", "id": "_"}), None),
        taken("F-3", "an id of 100 characters", json!({"type": "ping", "id": id(100)}), None),
        refused("F-3", "an id of 101 characters", json!({"type": "ping", "id": id(101)}), &["id"]),
        refused("F-3", "an empty id", json!({"type": "ping", "id": ""}), &["id"]),
        refused("F-3", "an id with a space", json!({"type": "ping", "id": "a b"}), &["id"]),
        refused("F-3", "an id that is a number", json!({"type": "ping", "id": 1}), &["id"]),
        taken("F-7", "an action of 1 character", message("action", "a".into()), Some("peer_unknown")),
        taken("F-7", "an action of 50 characters", message("action", "Az09_".repeat(10)), Some("peer_unknown")),
        refused("F-7", "an action of 51 characters", message("action", "a".repeat(51)), &["action"]),
        refused("F-7", "an empty action", message("action", String::new()), &["action"]),
        refused("F-7", "an action with a hyphen", message("action", "a-b".into()), &["action"]),
        taken("F-8", "a message of 1 character", message("message", "m".into()), Some("peer_unknown")),
        taken("F-8", "a message of 10,000 characters", message("message", "m".repeat(10_000)), Some("peer_unknown")),
        taken(
            "F-8",
            "10,000 characters of two bytes each",
            message("message", "é".repeat(10_000)),
            Some("peer_unknown"),
        ),
        refused("F-8", "a message of 10,001 characters", message("message", "m".repeat(10_001)), &["message"]),
        refused("F-8", "an empty message", message("message", String::new()), &["message"]),
    ];
    for (field, long) in [("to", "100"), ("session_id", "100")] {
        let edge = message(field, id(100));
        cases.push(taken("F-6", &format!("a {field} of {long} characters"), edge, Some("peer_unknown")));
    }
    cases.extend([
        refused("F-6", "a to of 101 characters", message("to", id(101)), &["to"]),
        refused("F-6", "an empty to", message("to", String::new()), &["to"]),
        refused("F-6", "a to with a dot", message("to", "a.b".into()), &["to"]),
        refused("F-6", "a session_id of 101 characters", message("session_id", id(101)), &["session_id"]),
        refused(
            "F-6",
            "a room of 101 characters",
            json!({"type": "room", "action": "join", "room": id(101)}),
            &["room"],
        ),
        taken("F-6", "a room of 100 characters", json!({"type": "room", "action": "join", "room": id(100)}), None),
        refused(
            "F-6",
            "a user_id of 101 characters",
            json!({"type": "broadcast", "scope": "user", "user_id": id(101), "action": "a", "message": "m"}),
            &["user_id"],
        ),
        paper("a token of 10,000 characters is looked at", "token", "x".repeat(10_000), false),
        paper("a token of 10,001 characters is not", "token", "x".repeat(10_001), true),
        paper("an empty token is not", "token", String::new(), true),
        paper("a token with other characters is not", "token", "a+b".into(), true),
        paper("a proof of 10,001 characters is not looked at", "proof", "x".repeat(10_001), true),
        paper("a proof of 10,000 characters is", "proof", "x".repeat(10_000), false),
    ]);
    cases
}

/// A message to nobody, with one field of the case's own.
fn message(field: &str, value: String) -> Value {
    let mut frame = json!({"type": "message", "to": "nobody-of-that-name", "action": "chat", "message": "hello"});
    frame[field] = value.into();
    frame
}

/// A frame that breaks no rule: it is accepted, or refused for another reason.
fn taken(rule: &'static str, name: &str, mut frame: Value, code: Option<&'static str>) -> Case {
    if frame.get("id").is_none() {
        frame["id"] = "the-frame".into();
    }
    case(rule, name, move |suite| {
        let frame = frame.clone();
        async move {
            let mut client = suite.enter().await?;
            match code {
                None => client.accepted(&frame).await.map(drop),
                Some(code) => client.refused(&frame, code).await.map(drop),
            }
        }
    })
}

/// A token or proof in an auth frame: refused for its shape, or looked at and not good.
fn paper(name: &str, field: &'static str, value: String, shape: bool) -> Case {
    case("F-5", name, move |suite| {
        let value = value.clone();
        async move {
            let mut client = suite.connect().await?;
            let mut auth = suite.auth(&suite.peer()).await?;
            auth[field] = value.into();
            let outcome = client.ask(&auth).await?;
            let code = outcome["problem"]["code"].as_str().unwrap_or("");
            ensure!((code == "validation_failed") == shape, "{outcome}");
            ensure!(outcome["outcome"] == "refused", "{outcome}");
            Ok(())
        }
    })
}
