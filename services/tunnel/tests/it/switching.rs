//! Connections that switch protocols.

use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::world;

/// What a server answers to these bytes until it closes the connection.
pub(crate) async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_websocket_goes_through_with_its_subprotocol() {
    let world = world().await;
    let agent = world.blue().await;
    let mut request = format!("ws://{}/t/blue/ws", world.edge).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "chat.v1, chat.v2".parse().unwrap());
    let (mut socket, answer) = connect_async(request).await.unwrap();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat.v2");
    for length in [0, 1, 125, 126, 65_535, 65_536, 300_000] {
        let message = Message::binary(crate::origin::pattern(length));
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_refused_switch_is_an_ordinary_answer() {
    let world = world().await;
    let agent = world.blue().await;
    let request = "GET /t/blue/status/403 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut stream = TcpStream::connect(world.edge).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 403");
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_switch_that_nobody_makes_is_an_ordinary_request() {
    let world = world().await;
    let agent = world.blue().await;
    let ask = async |first: &str, rest: &str| {
        let head = format!("{first} HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade, HTTP2-Settings\r\n{rest}");
        raw(world.edge, &head).await
    };
    // The program knows nothing of WebSockets there.
    let answer = ask("GET /t/blue/", "Upgrade: websocket\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    assert!(!answer.contains("synapse-"), "{answer}");
    // As `curl --http2` asks.
    let answer = ask("GET /t/blue/", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    let answer = ask("POST /t/blue/echo", "Upgrade: chat\r\nContent-Length: 4\r\n\r\nword").await;
    assert!(answer.contains(r#""body":"word""#) && answer.contains(r#""method":"POST""#), "{answer}");
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_websocket_survives_a_connection_that_breaks() {
    let world = world().await;
    let agent = world.blue().await;
    let (mut socket, _) = connect_async(format!("ws://{}/t/blue/ws", world.edge)).await.unwrap();
    for round in 0..5 {
        for number in 0..20 {
            socket.send(Message::text(format!("{round}.{number}"))).await.unwrap();
        }
        world.proxy.sever();
        for number in 0..20 {
            let message = socket.next().await.unwrap().unwrap();
            assert_eq!(message, Message::text(format!("{round}.{number}")));
        }
    }
    agent.stop().await;
    world.stop().await;
}
