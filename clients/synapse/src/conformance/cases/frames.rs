//! What a frame is, and what becomes of those that are none.

use anyhow::ensure;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::super::client::{Client, fields, refusal};
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    [whole(), fitting(), told(), too_many(), size()].into_iter().flatten().collect()
}

fn whole() -> Vec<Case> {
    vec![
        text("text that is no JSON", "nonsense"),
        text("a JSON list", r#"[{"type":"ping","id":"1"}]"#),
        text("a JSON text", r#""ping""#),
        text("half an object", r#"{"type":"ping","id":"1""#),
        text("nesting without end", &"[".repeat(5_000)),
        text("nothing", ""),
        refused("F-2", "an unknown type", json!({"type": "dance"}), &["type"]),
        refused("F-2", "no type", json!({}), &["type"]),
        refused("F-2", "a type that is no text", json!({"type": 1}), &["type"]),
        refused("F-4", "a field of another type", json!({"type": "ping", "to": "bob"}), &["to"]),
        refused(
            "F-4",
            "a sender that is not for the client to name",
            json!({"type": "session", "to": "b", "from": "a"}),
            &["from"],
        ),
    ]
}

fn fitting() -> Vec<Case> {
    vec![
        refused("F-9", "an action of another type", json!({"type": "presence", "action": "join"}), &["action"]),
        refused(
            "F-9",
            "a room action that is none",
            json!({"type": "room", "action": "list", "room": "r"}),
            &["action"],
        ),
        refused("F-9", "no action", json!({"type": "presence"}), &["action"]),
        refused(
            "F-9",
            "a status with list",
            json!({"type": "presence", "action": "list", "status": "away"}),
            &["status"],
        ),
        refused("F-9", "set_status without a status", json!({"type": "presence", "action": "set_status"}), &["status"]),
        refused(
            "F-9",
            "the status offline",
            json!({"type": "presence", "action": "set_status", "status": "offline"}),
            &["status"],
        ),
        refused(
            "F-9",
            "a page with subscribe",
            json!({"type": "presence", "action": "subscribe", "after": "x"}),
            &["after"],
        ),
        refused("F-10", "an unknown scope", note("broadcast", json!({"scope": "world"})), &["scope"]),
        refused("F-10", "a room scope without a room", note("broadcast", json!({"scope": "room"})), &["room"]),
        refused(
            "F-10",
            "a user scope with a room",
            note("broadcast", json!({"scope": "user", "user_id": "u", "room": "r"})),
            &["room"],
        ),
        refused(
            "F-10",
            "a tenant scope with a user",
            note("broadcast", json!({"scope": "tenant", "user_id": "u"})),
            &["user_id"],
        ),
    ]
}

fn told() -> Vec<Case> {
    vec![
        refused(
            "F-11",
            "four broken rules come in one answer",
            json!({"type": "message", "to": "a b", "action": "a-b", "message": "", "extra": 1}),
            &["extra", "to", "action", "message"],
        ),
        refused(
            "F-11",
            "two broken rules of one field come together",
            note("message", json!({"to": "b", "action": format!("{}-", "x".repeat(50))})),
            &["action", "action"],
        ),
        case("F-12", "each rule has its own message", async |suite| {
            let mut client = suite.enter().await?;
            let mut messages = Vec::new();
            for (number, action) in
                [json!(""), json!(1), json!("x".repeat(51)), json!("a-b"), Value::Null].into_iter().enumerate()
            {
                let mut frame = json!({"type": "message", "id": number.to_string(), "to": "b", "message": "m"});
                if !action.is_null() {
                    frame["action"] = action;
                }
                let problem = client.refused(&frame, "validation_failed").await?;
                messages.push(problem["violations"][0]["message"].to_string());
                client.ping().await?;
            }
            messages.sort();
            messages.dedup();
            ensure!(messages.len() == 5, "five rules, these messages: {messages:?}");
            Ok(())
        }),
        case("F-13", "after a bad frame the next good one is served", async |suite| {
            let mut client = suite.enter().await?;
            client.refused(&json!({"type": "dance", "id": "1"}), "validation_failed").await?;
            client.ping().await
        }),
    ]
}

fn too_many() -> Vec<Case> {
    vec![
        case("F-14", "too many malformed frames in a row are abuse", async |suite| {
            let mut client = suite.enter().await?;
            abuse(&mut client, 0).await?;
            let closed = client.closed().await?;
            ensure!(closed.code == 4400 && closed.reconnect_after_ms.is_none(), "{closed:?}");
            Ok(())
        }),
        case("F-14", "before auth they are as well", async |suite| {
            let mut client = suite.connect().await?;
            abuse(&mut client, 0).await?;
            let closed = client.closed().await?;
            ensure!(closed.code == 4400, "{closed:?}");
            Ok(())
        }),
        case("F-14", "one less is not, and a good one starts the count anew", async |suite| {
            let mut client = suite.enter().await?;
            abuse(&mut client, 1).await?;
            client.ping().await?;
            abuse(&mut client, 1).await?;
            client.ping().await
        }),
        case("F-15", "asking for what is not there is no abuse", async |suite| {
            let mut client = suite.enter().await?;
            for number in 0..client.limit("bad_frames")? + 2 {
                let frame =
                    json!({"type": "session", "id": number.to_string(), "to": format!("{}-nobody", client.peer)});
                client.refused(&frame, "peer_unknown").await?;
            }
            client.ping().await
        }),
    ]
}

fn size() -> Vec<Case> {
    vec![
        case("F-16", "a message over the limit ends its connection", async |suite| {
            let mut client = suite.connect().await?;
            let fill = "x".repeat(client.limit("frame_bytes")?);
            let message = Message::text(json!({"type": "ping", "id": "1", "fill": fill}).to_string());
            // The server may be gone before all of it was sent.
            let _ = client.send_raw(message).await;
            ensure!(client.outcome(None).await.is_err(), "it was answered");
            suite.connect().await.map(drop)
        }),
        case("F-16", "one that just fits is read", async |suite| {
            let mut client = suite.connect().await?;
            let empty = json!({"type": "ping", "id": "1", "fill": ""}).to_string().len();
            let fill = "x".repeat(client.limit("frame_bytes")? - empty);
            let problem =
                client.refused(&json!({"type": "ping", "id": "1", "fill": fill}), "validation_failed").await?;
            ensure!(fields(&problem) == ["fill"], "{problem}");
            Ok(())
        }),
    ]
}

/// All malformed frames that are allowed, less some.
async fn abuse(client: &mut Client, less: usize) -> anyhow::Result<()> {
    for number in less..client.limit("bad_frames")? {
        client.refused(&json!({"type": "dance", "id": format!("bad-{number}")}), "validation_failed").await?;
    }
    Ok(())
}

/// A frame with something to say.
fn note(kind: &str, more: Value) -> Value {
    let mut frame = json!({"type": kind, "action": "chat", "message": "hello"});
    super::super::suite::extend(&mut frame, &more);
    frame
}

/// A text that is no frame.
fn text(name: &str, text: &str) -> Case {
    let text = text.to_owned();
    case("F-1", &format!("{name} is no frame"), move |suite| {
        let text = text.clone();
        async move {
            let mut client = suite.enter().await?;
            client.send_raw(Message::text(text)).await?;
            let problem = refusal(&client.outcome(None).await?, "validation_failed")?;
            ensure!(fields(&problem) == ["frame"], "{problem}");
            client.ping().await
        }
    })
}

/// A frame that breaks rules of exactly these fields.
pub(super) fn refused(rule: &'static str, name: &str, mut frame: Value, broken: &'static [&'static str]) -> Case {
    if frame.get("id").is_none() {
        frame["id"] = "the-frame".into();
    }
    case(rule, name, move |suite| {
        let frame = frame.clone();
        async move {
            let mut client = suite.enter().await?;
            client.send(&frame).await?;
            let id = frame["id"].as_str().filter(|_| !broken.contains(&"id"));
            let problem = refusal(&client.outcome(id).await?, "validation_failed")?;
            ensure!(fields(&problem) == broken, "violations of {broken:?} were expected: {problem}");
            client.ping().await
        }
    })
}
