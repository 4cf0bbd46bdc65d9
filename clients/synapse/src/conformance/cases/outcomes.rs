use anyhow::ensure;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::super::suite::is_text;
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("O-1", "a hundred frames have a hundred outcomes", async |suite| {
            let mut client = suite.enter().await?;
            for number in 0..100 {
                client.send(&json!({"type": "ping", "id": format!("n-{number}")})).await?;
            }
            for number in 0..100 {
                client.outcome(Some(&format!("n-{number}"))).await?;
            }
            client.ping().await
        }),
        case("O-1", "an id used twice has two outcomes", async |suite| {
            let mut client = suite.enter().await?;
            for _ in 0..2 {
                client.send(&json!({"type": "ping", "id": "same"})).await?;
            }
            client.outcome(Some("same")).await?;
            client.outcome(Some("same")).await?;
            client.ping().await
        }),
        case("O-2", "outcomes come in the order of the frames, refused or not", async |suite| {
            let mut client = suite.enter().await?;
            let kinds = ["ping", "dance", "presence", "ping", "room"];
            for (number, kind) in kinds.iter().enumerate() {
                let mut frame = json!({"type": kind, "id": format!("n-{number}")});
                match *kind {
                    "presence" => frame["action"] = "list".into(),
                    "room" => super::super::suite::extend(&mut frame, &json!({"action": "join", "room": "r"})),
                    _ => {}
                }
                client.send(&frame).await?;
            }
            for number in 0..kinds.len() {
                let outcome = client.next_outcome().await?;
                ensure!(outcome["id"] == format!("n-{number}"), "number {number} was expected: {outcome}");
            }
            Ok(())
        }),
        case("O-3", "what can't be named has an outcome without a name", async |suite| {
            let mut client = suite.enter().await?;
            client.send_raw(Message::text("{}")).await?;
            let outcome = client.outcome(None).await?;
            ensure!(outcome.get("id").is_none() && outcome["outcome"] == "refused", "{outcome}");
            Ok(())
        }),
        case("O-4", "a refusal has a whole problem", async |suite| {
            let mut client = suite.enter().await?;
            let problem = client.refused(&json!({"type": "dance", "id": "1"}), "validation_failed").await?;
            for name in ["code", "title", "error_id", "correlation_id", "timestamp", "type"] {
                is_text(&problem[name])?;
            }
            ensure!(problem["status"] == 400, "{problem}");
            Ok(())
        }),
        case("O-4", "two refusals have ids of their own", async |suite| {
            let mut client = suite.enter().await?;
            let one = client.refused(&json!({"type": "dance", "id": "1"}), "validation_failed").await?;
            let two = client.refused(&json!({"type": "dance", "id": "2"}), "validation_failed").await?;
            ensure!(one["error_id"] != two["error_id"], "both are {}", one["error_id"]);
            Ok(())
        }),
        case("H-1", "a ping is accepted", async |suite| suite.enter().await?.ping().await),
    ]
}
