use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use service::config::Mode;
use service::http::{HttpSettings, ServeOptions, Served};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::client::{Server, production, start};

/// `/wait` says that it has begun and answers when it is let go.
struct Gate {
    begun: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

impl Gate {
    fn new() -> (Self, Router) {
        let (begun, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (told, waits) = (Arc::clone(&begun), Arc::clone(&go));
        let wait = async move || {
            told.add_permits(1);
            waits.acquire().await.unwrap().forget();
            "done"
        };
        (Self { begun, go }, Router::new().route("/wait", get(wait)).route("/", get(async || "hello")))
    }

    async fn begun(&self) {
        self.begun.acquire().await.unwrap().forget();
    }
}

async fn with(router: Router, options: ServeOptions) -> Server {
    start(router, Mode::Production, HttpSettings::default(), options).await
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_accepts_no_more() {
    let (gate, router) = Gate::new();
    let server = production(router).await;
    let address = server.address;
    let mut waiting = TcpStream::connect(address).await.unwrap();
    waiting.write_all(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    gate.begun().await;
    server.stop.cancel();
    testkit::eventually(Duration::from_secs(5), "the listener to close", async || {
        TcpStream::connect(address).await.is_err().then_some(()).ok_or("still accepting")
    })
    .await;
    gate.go.add_permits(1);
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
    assert_eq!(server.served.await.unwrap(), Served { cut: 0 });
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_and_counted() {
    let (gate, router) = Gate::new();
    let server = with(router, ServeOptions { drain_ms: 50, ..ServeOptions::default() }).await;
    let mut waiting = TcpStream::connect(server.address).await.unwrap();
    waiting.write_all(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    gate.begun().await;
    server.stop.cancel();
    assert_eq!(server.served.await.unwrap(), Served { cut: 1 });
    assert_eq!(waiting.read(&mut [0; 16]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn clients_that_do_not_send_headers_are_dropped() {
    let (_gate, router) = Gate::new();
    let server = with(router, ServeOptions { header_read_timeout_ms: 100, ..ServeOptions::default() }).await;
    // Nothing at all; the beginning of HTTP/2's preface, which may still become HTTP/1; headers without an end.
    for begin in ["", "PRI * HT", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow:"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{begin:?} was kept");
    }
    assert_eq!(server.get("/").await.status, 200);
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_their_turn() {
    let (gate, router) = Gate::new();
    let server = with(router, ServeOptions { max_connections: 1, ..ServeOptions::default() }).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET /wait HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    gate.begun().await;
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.read(&mut [0; 1])).await;
    assert!(early.is_err(), "served beside the first");
    gate.go.add_permits(1);
    let mut answer = String::new();
    second.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn http_2_and_the_clients_address_work() {
    let address = async |ConnectInfo(address): ConnectInfo<std::net::SocketAddr>| address.ip().to_string();
    let server = production(Router::new().route("/", get(address))).await;
    assert_eq!(server.get("/").await.body, "127.0.0.1");
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let answer = client.get(format!("http://{}/", server.address)).send().await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    assert_eq!(answer.text().await.unwrap(), "127.0.0.1");
}
