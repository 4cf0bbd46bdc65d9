use std::sync::Arc;

use anyhow::ensure;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::super::client::{Client, fields, refusal};
use super::super::suite::Suite;
use super::messages::{delivered, message};
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("B-1", "a connection in the compact form", async |suite| {
            let mut client = compact(&suite).await?;
            ensure!(client.hello["protocol"] == "synapse.v1.cbor", "{}", client.hello);
            client.ping().await
        }),
        case("B-1", "a refusal reads the same", async |suite| {
            let mut client = compact(&suite).await?;
            let problem = client.refused(&json!({"type": "ping", "id": "1", "to": "bob"}), "validation_failed").await?;
            ensure!(fields(&problem) == ["to"] && problem["status"] == 400, "{problem}");
            Ok(())
        }),
        bad("bytes that are no CBOR", Message::binary(vec![0xff])),
        bad("a map with numbers for names", Message::binary(vec![0xa1, 0x01, 0x02])),
        bad("nesting without end", Message::binary(vec![0x81; 5_000])),
        bad("half a map", Message::binary(vec![0xa2, 0x64, b't', b'y', b'p', b'e'])),
        bad("a text message", Message::text(r#"{"type":"ping","id":"1"}"#)),
        case("B-3", "a binary message on a connection with JSON", async |suite| {
            let mut client = suite.enter().await?;
            client.send_raw(Message::binary(r#"{"type":"ping","id":"1"}"#)).await?;
            let problem = refusal(&client.outcome(None).await?, "validation_failed")?;
            ensure!(fields(&problem) == ["frame"], "{problem}");
            client.ping().await
        }),
        case("B-4", "peers of both forms reach each other", async |suite| {
            let (mut plain, mut compact) = (suite.enter().await?, compact(&suite).await?);
            let text = "grüße \u{1f600} \"quoted\"\n";
            delivered(&plain.ask(&message("1", &compact.peer, text)).await?)?;
            delivered(&compact.ask(&message("1", &plain.peer, text)).await?)?;
            for client in [&mut plain, &mut compact] {
                ensure!(client.message().await?["message"] == text, "something else came");
            }
            Ok(())
        })
        .peers(2),
        case("B-4", "a resume goes on in the other form", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, compact(&suite).await?);
            delivered(&one.ask(&message("1", &two.peer, "first")).await?)?;
            two.message().await?;
            let (peer, resume) = (two.peer.clone(), two.resume(two.offset - 1));
            two.cut();
            let mut back = suite.enter_as(&peer, resume).await?;
            ensure!(back.session["resume"] == "recovered", "{}", back.session);
            ensure!(back.message().await?["message"] == "first", "something else came");
            Ok(())
        })
        .peers(2),
    ]
}

async fn compact(suite: &Arc<Suite>) -> anyhow::Result<Client> {
    let client = Client::connect(&suite.base, &["synapse.v1.cbor"], &[]).await?;
    suite.authenticate(client, &suite.peer(), json!({})).await
}

fn bad(name: &str, message: Message) -> Case {
    case("B-2", name, move |suite| {
        let message = message.clone();
        async move {
            let mut client = compact(&suite).await?;
            client.send_raw(message).await?;
            let problem = refusal(&client.outcome(None).await?, "validation_failed")?;
            ensure!(fields(&problem) == ["frame"], "{problem}");
            client.ping().await
        }
    })
}
