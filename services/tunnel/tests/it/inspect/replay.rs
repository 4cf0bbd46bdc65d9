//! Requests sent again, as they were and changed.

use agent::InspectOptions;
use serde_json::{Value, json};

use super::{inspected, inspected_with};
use crate::origin::pattern;

/// What the echo said to the newest exchange.
async fn echoed(page: &super::Inspected, replay: u64) -> Value {
    let exchange = page.newest(|exchange| exchange["id"] == replay && !exchange["took_ms"].is_null()).await;
    serde_json::from_slice(&page.body(&exchange, "response").await).unwrap()
}

#[tokio::test]
async fn a_request_is_sent_again_as_it_was_and_marked() {
    let page = inspected().await;
    let sent = page.world.http.post(page.world.url("/echo/orders?page=2")).header("x-mine", "1");
    let first: Value =
        sent.header("authorization", "Bearer s3cret").body("{\"n\":1}").send().await.unwrap().json().await.unwrap();
    let original = page.ended().await;
    let answer = page.replay(&original).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let id = answer.json::<Value>().await.unwrap()["id"].as_u64().unwrap();
    let again = echoed(&page, id).await;
    for field in ["method", "uri", "body"] {
        assert_eq!(again[field], first[field], "{field}");
    }
    for header in ["x-mine", "authorization", "host", "content-length"] {
        assert_eq!(again["headers"][header], first["headers"][header], "{header}");
    }
    assert_eq!(page.list("").await[0]["replay_of"], original["id"]);
    assert!(original["replay_of"].is_null());
    page.stop().await;
}

#[tokio::test]
async fn a_request_is_changed_and_keeps_the_secrets_that_nobody_touched() {
    let page = inspected().await;
    let sent = page.world.get("/echo?access_token=s3cret").header("authorization", "Bearer s3cret");
    sent.header("x-mine", "1").send().await.unwrap().bytes().await.unwrap();
    let original = page.ended().await;
    let edit = json!({
        "method": "PUT",
        "path": "/echo/changed?access_token=[redacted]&more=1",
        "headers": [["authorization", "Bearer [redacted]"], ["x-new", "2"], ["host", "other.test"]],
        "body": "changed",
    });
    let answer = page.replay(&original).json(&edit).send().await.unwrap();
    let id = answer.json::<Value>().await.unwrap()["id"].as_u64().unwrap();
    let again = echoed(&page, id).await;
    assert_eq!((again["method"].as_str(), again["body"].as_str()), (Some("PUT"), Some("changed")));
    assert_eq!(again["uri"], "/echo/changed?access_token=s3cret&more=1");
    assert_eq!(again["headers"]["authorization"], json!(["Bearer s3cret"]));
    assert_eq!(again["headers"]["x-new"], json!(["2"]));
    assert_eq!(again["headers"]["host"], json!(["other.test"]));
    assert!(again["headers"]["x-mine"].is_null(), "a header that was taken out stays out");
    page.stop().await;
}

#[tokio::test]
async fn an_edit_that_can_t_be_is_refused_by_its_field() {
    let page = inspected().await;
    page.world.get("/").send().await.unwrap().bytes().await.unwrap();
    let original = page.ended().await;
    for (edit, field) in [
        (json!({"method": "G T"}), "method:"),
        (json!({"path": "no/slash"}), "path:"),
        (json!({"headers": [["a b", "1"]]}), "headers:"),
        (json!({"headers": [["a", "1\n2"]]}), "headers: a:"),
        (json!({"body_base64": "%"}), "body_base64:"),
        (json!({"body": "", "body_base64": ""}), "body, body_base64:"),
        (json!({"nonsense": 1}), "nonsense"),
    ] {
        let answer = page.replay(&original).json(&edit).send().await.unwrap();
        assert_eq!(answer.status(), 422, "{edit}");
        let said = answer.text().await.unwrap();
        assert!(said.contains(field), "{edit}: {said}");
    }
    assert_eq!(page.list("").await.len(), 1);
    page.stop().await;
}

#[tokio::test]
async fn a_body_that_was_cut_is_not_sent_as_if_it_were_whole() {
    let page = inspected_with(InspectOptions { max_body_bytes: 1_000, ..InspectOptions::default() }).await;
    page.world.http.post(page.world.url("/hash")).body(pattern(5_000)).send().await.unwrap().bytes().await.unwrap();
    let original = page.ended().await;
    let answer = page.replay(&original).send().await.unwrap();
    assert_eq!(answer.status(), 409);
    assert!(answer.text().await.unwrap().contains("first 1000 of its body's 5000 bytes"));
    let answer = page.replay(&original).json(&json!({"body": "all of it"})).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    page.stop().await;
}

#[tokio::test]
async fn a_switched_connection_and_a_closed_tunnel_can_t_be_asked_again() {
    let page = inspected().await;
    let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/t/blue/ws", page.world.edge)).await.unwrap();
    drop(socket);
    let exchange = page.newest(|exchange| exchange["kind"] == "websocket").await;
    assert_eq!(page.replay(&exchange).send().await.unwrap().status(), 409);
    page.stop().await;
}
