//! A program behind a tunnel.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Path, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;

/// How often `/count` was asked.
static COUNTED: AtomicU64 = AtomicU64::new(0);

pub(crate) async fn start() -> SocketAddr {
    let routes = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", any(echo))
        .route("/echo/{*rest}", any(echo))
        .route(
            "/bytes/{length}",
            get(|Path(length): Path<usize>| async move { Body::from_stream(pattern_stream(length)) }),
        )
        .route("/status/{code}", any(|Path(code): Path<u16>| async move { StatusCode::from_u16(code).unwrap() }))
        .route("/sse/{count}", get(events))
        .route("/slow", get(|| async { std::future::pending::<&str>().await }))
        .route("/trailers", any(trailers))
        .route("/count", any(|| async { COUNTED.fetch_add(1, Ordering::Relaxed).to_string() }))
        .route("/hash", any(hash))
        .route("/ws", any(websocket));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes.layer(axum::extract::DefaultBodyLimit::disable())).await });
    address
}

pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8).collect()
}

fn pattern_stream(length: usize) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> {
    let bytes = Bytes::from(pattern(length));
    futures::stream::iter((0..length).step_by(8_192).map(move |at| Ok(bytes.slice(at..(at + 8_192).min(length)))))
}

/// Everything that came, as JSON.
async fn echo(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &parts.headers {
        headers.entry(name.to_string()).or_default().push(value.to_str().unwrap().to_owned());
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let said = json!({
        "method": parts.method.as_str(),
        "uri": parts.uri.to_string(),
        "version": format!("{:?}", parts.version),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    let mut answer = Json(said).into_response();
    answer.headers_mut().insert("connection", HeaderValue::from_static("x-private"));
    answer.headers_mut().insert("x-private", HeaderValue::from_static("1"));
    answer.headers_mut().append("set-cookie", HeaderValue::from_static("a=1"));
    answer.headers_mut().append("set-cookie", HeaderValue::from_static("b=2"));
    answer
}

/// The length and a hash of what came, without holding it.
async fn hash(request: Request) -> String {
    let (mut length, mut hash) = (0u64, 0xcbf2_9ce4_8422_2325u64);
    let mut body = request.into_body().into_data_stream();
    while let Some(Ok(chunk)) = body.next().await {
        length += chunk.len() as u64;
        hash = fnv(hash, &chunk);
    }
    format!("{length} {hash:x}")
}

pub(crate) fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Events that come one by one: the next when the one before was certainly sent on its own.
async fn events(Path(count): Path<u32>) -> Response {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    tokio::spawn(async move {
        for number in 0..count {
            if sender.send(Ok(Bytes::from(format!("id: {number}\ndata: {number}\n\n")))).await.is_err() {
                return;
            }
            clock::Clock::system().sleep(Duration::from_millis(2)).await;
        }
    });
    let stream =
        futures::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    ([("content-type", "text/event-stream")], Body::from_stream(stream)).into_response()
}

async fn trailers(request: Request) -> Response {
    let collected = request.into_body().collect().await.unwrap();
    let seen = collected.trailers().and_then(|map| map.get("x-sum").cloned());
    let mut end = HeaderMap::new();
    end.insert("grpc-status", HeaderValue::from_static("0"));
    end.insert("x-seen", seen.unwrap_or(HeaderValue::from_static("none")));
    let data = collected.to_bytes();
    let frames = [Ok::<_, std::io::Error>(Frame::data(data)), Ok(Frame::trailers(end))];
    let mut answer = Response::new(Body::new(StreamBody::new(futures::stream::iter(frames))));
    answer.headers_mut().insert(HeaderName::from_static("trailer"), HeaderValue::from_static("grpc-status, x-seen"));
    answer
}

async fn websocket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.protocols(["chat.v2"]).on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            let echoed = matches!(message, Message::Text(_) | Message::Binary(_));
            if echoed && socket.send(message).await.is_err() {
                return;
            }
        }
    })
}
