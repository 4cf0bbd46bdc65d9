//! Sizes, slowness and wrong methods.

use std::time::Duration;

use serde_json::json;
use store::Key;
use tempfile::tempdir;
use testkit::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{NOW_S, PATIENCE, Running, SECRET, Setup, pretty, signed, subscription_event};

const MIB: usize = 1 << 20;

/// A well-formed event of exactly this many bytes.
fn event_of(id: &str, bytes: usize) -> String {
    let mut event = subscription_event(id, "active");
    let bare = event.to_string().len() + r#","description":"""#.len();
    let filler = bytes - bare;
    event["data"]["object"]["description"] =
        json!("\u{e9}".repeat(filler / 2) + if filler % 2 == 1 { "x" } else { "" });
    let body = event.to_string();
    assert_eq!(body.len(), bytes);
    body
}

#[tokio::test]
async fn one_mebibyte_is_kept_in_pieces_and_one_byte_more_is_refused() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let facts = service.reader().await;
    let body = event_of("evt_big", MIB);
    service.post(&body).await.ok();
    service.post(&body).await.ok();
    service.drained().await;
    assert_eq!(facts.envelopes().len(), 1);
    assert_eq!(service.event("evt_big").await.unwrap()["bytes"], MIB);
    for (number, there) in [(0, true), (3, true), (4, false)] {
        let key = Key::new("event#evt_big", format!("body#{number:02}"));
        assert_eq!(service.platform.outbox.store().get(&key).await.unwrap().is_some(), there, "piece {number}");
    }
    // Once more with another count of deliveries: compared with the body as it was put together again.
    service.post(body.replace("\"pending_webhooks\":1", "\"pending_webhooks\":0")).await.ok();
    assert_eq!(service.listed("quarantined").await.len(), 0);
    service.post(event_of("evt_bigger", MIB + 1)).await.refused(413, "payload_too_large");
    service.post(vec![b'x'; 3 * MIB / 2]).await.refused(413, "payload_too_large");
    assert_eq!(service.event("evt_bigger").await, None);
}

#[tokio::test]
async fn binary_rubbish_of_any_size_is_kept_too() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    service.post(vec![0_u8; MIB]).await.ok();
    service.post((0..=255).cycle().take(700_000).collect::<Vec<u8>>()).await.ok();
    assert_eq!(service.listed("quarantined").await.len(), 2);
}

/// Begins to send an event and stops in its middle.
async fn begin(service: &Running) -> TcpStream {
    let body = subscription_event("evt_slow", "active").to_string();
    let header = signed(SECRET, NOW_S, body.as_bytes());
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let head = format!(
        "POST /stripe/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nStripe-Signature: {header}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body.as_bytes()[..20]).await.unwrap();
    stream
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let mut stream = begin(&service).await;
    let reading = tokio::spawn(async move {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    });
    // The body's time begins when the request has arrived, which is not seen from here.
    eventually(PATIENCE, "the request to be given up", async || {
        service.hand.advance(Duration::from_millis(5_000));
        reading.is_finished().then_some(())
    })
    .await;
    let answer = reading.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"), "{answer}");
    assert_eq!(service.event("evt_slow").await, None);
}

#[tokio::test]
async fn more_requests_than_fit_are_asked_to_come_again() {
    let folder = tempdir().unwrap();
    let config = |config: &mut webhook::Config| config.max_in_flight = 1;
    let service = Running::with(folder.path(), Setup { config: Some(config), ..Setup::default() }).await;
    let body = pretty(&subscription_event("evt_1", "active"));
    let stream = begin(&service).await;
    let refused = eventually(PATIENCE, "the place to be taken", async || {
        let answer = service.post(&body).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    refused.refused(503, "unavailable");
    assert!(refused.retry_after.is_some());
    // A client that goes away frees its place.
    drop(stream);
    eventually(PATIENCE, "the place to be free", async || (service.post(&body).await.status == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/stripe/webhook", service.address);
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let answer = client.request(method.parse().unwrap(), &url).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["x-error-code"].as_bytes()),
            (405, &b"method_not_allowed"[..])
        );
        assert_eq!(answer.headers()["allow"], "POST");
    }
    assert_eq!(client.post(format!("{url}/x")).send().await.unwrap().status(), 404);
}
