//! The compact form: CBOR in binary messages, beside peers that speak JSON.

use contracts::frames::{ClientFrame, Outcome, ServerFrame};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::client::Client;
use crate::harness::{World, run};
use crate::messages::{heard, message};

fn encode(frame: &Value) -> Message {
    let mut bytes = Vec::new();
    ciborium::into_writer(frame, &mut bytes).unwrap();
    Message::Binary(bytes.into())
}

async fn enter(world: &World, peer: &str) -> Client {
    let offered = [("sec-websocket-protocol", "synapse.v1.cbor, synapse.v1")];
    let (mut client, response) = Client::try_connect(world.address, &offered).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "synapse.v1.cbor");
    match client.next_binary().await {
        ServerFrame::Hello { protocol, .. } => assert_eq!(protocol, "synapse.v1.cbor"),
        other => panic!("{other:?}"),
    }
    assert_eq!(ask(&mut client, &world.auth_frame(peer)).await, Outcome::Accepted);
    client
}

async fn ask(client: &mut Client, frame: &Value) -> Outcome {
    client.send_raw(encode(frame)).await;
    match client.next_binary().await {
        ServerFrame::Outcome { id, outcome, .. } => {
            assert_eq!(id.as_deref(), frame["id"].as_str());
            outcome
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn peers_of_both_forms_understand_each_other() {
    run(async |world| {
        let mut compact = enter(world, "alice").await;
        let mut plain = world.enter("bob").await;
        let text = "grüße\u{1f600}\"\n";
        assert_eq!(ask(&mut compact, &message("1", "bob", text)).await, Outcome::Delivered);
        assert_eq!(heard(&mut plain).await.2, text);
        plain.ask(&message("1", "alice", text)).await;
        match compact.next_binary().await {
            ServerFrame::Message { note, .. } => assert_eq!(note.message, text),
            other => panic!("{other:?}"),
        }
        // Typed frames, as another SDK would write them.
        let frame = serde_json::to_value(ClientFrame::Ack { id: "2".into(), offset: 1 }).unwrap();
        assert_eq!(ask(&mut compact, &frame).await, Outcome::Accepted);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_frame_is_refused_in_the_same_form() {
    run(async |world| {
        let mut client = enter(world, "alice").await;
        for bad in [
            Message::Binary(vec![0xff].into()),
            Message::Binary(vec![0x81; 100_000].into()),
            Message::Binary(vec![0xa1, 0x01, 0x02].into()),
            Message::Text(r#"{"type":"ping","id":"1"}"#.into()),
        ] {
            client.send_raw(bad).await;
            match client.next_binary().await {
                ServerFrame::Outcome { id: None, outcome: Outcome::Refused, problem: Some(problem), .. } => {
                    assert_eq!(problem.violations[0].field, "frame");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(ask(&mut client, &json!({"type": "ping", "id": "1"})).await, Outcome::Accepted);
    })
    .await;
}
