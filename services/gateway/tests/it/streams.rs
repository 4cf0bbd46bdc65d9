//! The protocol without WebSockets: events out, posted frames in.

use std::net::SocketAddr;

use contracts::events::presence::PeerStatus;
use contracts::frames::{Outcome, ServerFrame};
use serde_json::{Value, json};

use crate::harness::{ACME, SOON, World, run, run_with};
use crate::messages::message;

/// An event stream and its way back.
struct Stream {
    http: reqwest::Client,
    address: SocketAddr,
    response: reqwest::Response,
    read: Vec<u8>,
    key: String,
    last_id: Option<String>,
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("it comes soon")
}

impl Stream {
    async fn open(address: SocketAddr, headers: &[(&str, &str)]) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = http.get(format!("http://{address}/v1/stream"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = within(request.send()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let mut stream = Self { http, address, response, read: Vec::new(), key: String::new(), last_id: None };
        match stream.next().await {
            ServerFrame::Hello { stream_key: Some(key), protocol, .. } => {
                assert_eq!(protocol, "synapse.v1");
                stream.key = key;
            }
            other => panic!("{other:?}"),
        }
        stream
    }

    async fn enter(world: &World, address: SocketAddr, peer: &str) -> Self {
        let mut stream = Self::open(address, &[]).await;
        stream.ask(&world.auth_frame(peer)).await;
        stream
    }

    /// The next event; `None` at the end.
    async fn event(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.read.drain(..end + 2).collect();
                return Some(String::from_utf8(event).unwrap());
            }
            let chunk = within(self.response.chunk()).await.unwrap()?;
            self.read.extend_from_slice(&chunk);
        }
    }

    async fn next(&mut self) -> ServerFrame {
        let event = self.event().await.expect("the stream is open");
        let mut frame = None;
        for line in event.lines() {
            match line.split_once(": ") {
                Some(("data", data)) => frame = Some(serde_json::from_str(data).unwrap()),
                Some(("id", id)) => self.last_id = Some(id.to_owned()),
                Some(("retry", _)) | None => {}
                other => panic!("{other:?}"),
            }
        }
        frame.unwrap()
    }

    async fn post(&self, body: &Value) -> reqwest::Response {
        let request = self.http.post(format!("http://{}/v1/frames", self.address));
        within(request.header("synapse-stream", &self.key).json(body).send()).await.unwrap()
    }

    async fn ask(&mut self, frame: &Value) -> (Outcome, Option<Value>) {
        assert_eq!(self.post(frame).await.status(), 202);
        match self.next().await {
            ServerFrame::Outcome { id, outcome, result, .. } => {
                assert_eq!(id.as_deref(), frame["id"].as_str());
                (outcome, result)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_stream_and_posts_are_a_connection_like_any_other() {
    run(async |world| {
        let mut alice = Stream::enter(world, world.address, "alice").await;
        let mut bob = world.enter("bob").await;
        assert_eq!(alice.ask(&message("1", "bob", "from a stream")).await.0, Outcome::Delivered);
        assert_eq!(crate::messages::heard(&mut bob).await.2, "from a stream");
        bob.ask(&message("1", "alice", "two\nlines")).await;
        match alice.next().await {
            ServerFrame::Message { offset: 1, note, .. } => assert_eq!(note.message, "two\nlines"),
            other => panic!("{other:?}"),
        }
        assert!(alice.last_id.as_ref().unwrap().ends_with(":1"));
        let both = json!([{"type": "ping", "id": "a"}, {"type": "dance", "id": "b"}]);
        assert_eq!(alice.post(&both).await.status(), 202);
        for (expected, outcome) in [("a", Outcome::Accepted), ("b", Outcome::Refused)] {
            match alice.next().await {
                ServerFrame::Outcome { id, outcome: told, .. } => {
                    assert_eq!((id.as_deref(), told), (Some(expected), outcome))
                }
                other => panic!("{other:?}"),
            }
        }
        drop(alice);
        world.leaves(1).await;
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_comes_back_with_its_last_event_id_misses_nothing() {
    run(async |world| {
        let mut alice = Stream::enter(world, world.address, "alice").await;
        world.tell(ACME, ACME, &crate::fan_out::changed("bob", 1, PeerStatus::Online)).await;
        assert_eq!(alice.next().await.offset(), Some(1));
        let last = alice.last_id.clone().unwrap();
        drop(alice);
        world.leaves(1).await;
        world.tell(ACME, ACME, &crate::fan_out::changed("carol", 1, PeerStatus::Online)).await;
        let mut alice = Stream::open(world.address, &[("last-event-id", &last)]).await;
        let (_, result) = alice.ask(&world.auth_frame("alice")).await;
        assert_eq!(result.unwrap()["resume"], "recovered");
        assert_eq!(alice.next().await.offset(), Some(2));
    })
    .await;
}

#[tokio::test]
async fn frames_may_be_posted_to_any_gateway() {
    run(posted_anywhere).await;
}

/// A stream at one gateway, its frames at another.
pub(crate) async fn posted_anywhere(world: &World) {
    let neighbour = world.neighbour(&[]).await;
    let mut alice = Stream::open(neighbour.address, &[]).await;
    alice.address = world.address;
    alice.ask(&world.auth_frame("alice")).await;
    assert_eq!(alice.ask(&json!({"type": "ping", "id": "1"})).await.0, Outcome::Accepted);
    drop(alice);
    world.leaves(1).await;
    neighbour.host.drain().await;
}

#[tokio::test]
async fn the_request_may_bring_the_token() {
    run(async |world| {
        let bearer = format!("Bearer {}", world.token());
        let mut alice = Stream::open(world.address, &[("authorization", &bearer)]).await;
        let auth = json!({"type": "auth", "id": "1", "peer_id": "alice", "proof": world.proof("alice", 2)});
        assert_eq!(alice.ask(&auth).await.0, Outcome::Accepted);
    })
    .await;
}

#[tokio::test]
async fn what_can_not_be_posted_is_told_in_the_answer() {
    run_with(&[("max_frame_bytes", "1024"), ("allowed_origins", r#"["https://app.example.com"]"#)], async |world| {
        let alice = Stream::enter(world, world.address, "alice").await;
        let http = &alice.http;
        let url = format!("http://{}/v1/frames", world.address);
        let code = async |request: reqwest::RequestBuilder| {
            let answer = within(request.send()).await.unwrap();
            let problem: Value = answer.json().await.unwrap();
            problem["code"].as_str().unwrap().to_owned()
        };
        let ping = json!({"type": "ping", "id": "1"});
        assert_eq!(code(http.post(&url).json(&ping)).await, "validation_failed", "no stream is named");
        let to = |key: &str| http.post(&url).header("synapse-stream", key);
        assert_eq!(code(to("nonsense").json(&ping)).await, "not_found");
        assert_eq!(code(to(&format!("{}.00", world.node)).json(&ping)).await, "not_found");
        assert_eq!(code(to(&alice.key).json(&json!([]))).await, "validation_failed");
        assert_eq!(code(to(&alice.key).json(&vec![&ping; 65])).await, "validation_failed");
        assert_eq!(
            code(to(&alice.key).header("content-type", "application/json").body("{")).await,
            "malformed_request"
        );
        let long = json!({"type": "ping", "id": "1", "fill": "x".repeat(2_000)});
        assert_eq!(code(to(&alice.key).json(&long)).await, "payload_too_large");
        let evil = to(&alice.key).header("origin", "https://evil.example.com").json(&ping);
        assert_eq!(code(evil).await, "forbidden");
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_with_a_word_and_a_hint() {
    run(async |world| {
        let mut alice = Stream::enter(world, world.address, "alice").await;
        let host = world.host.clone();
        let draining = tokio::spawn(async move { host.drain().await });
        let event = alice.event().await.unwrap();
        assert!(event.contains("\"code\":1012") && event.starts_with("retry: "), "{event}");
        assert_eq!(alice.event().await, None);
        draining.await.unwrap();
    })
    .await;
}
