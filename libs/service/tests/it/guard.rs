//! What every answer says to browsers, what no request may say, and who it is said to come from.

use axum::Router;
use axum::routing::{get, post};
use clock::{Clock, Entropy};
use http::HeaderMap;
use service::config::Mode;
use service::http::{ClientAddress, ForwardedHeader, HttpSettings, ServeOptions, Shell, TrustedProxies, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::client::{Server, production};

fn router() -> Router {
    let names = async |headers: HeaderMap| headers.keys().map(|name| name.as_str()).collect::<Vec<_>>().join(" ");
    let client = async |axum::Extension(ClientAddress(address)): axum::Extension<ClientAddress>| address.to_string();
    Router::new()
        .route("/names", get(names))
        .route("/client", get(client))
        .route("/body", post(async |body: String| body))
}

async fn behind_a_proxy() -> Server {
    let proxies = TrustedProxies::parse(&["127.0.0.1".into()], ForwardedHeader::XForwardedFor).unwrap();
    let shell = Shell::of("test", Mode::Production, &HttpSettings::default(), Clock::system(), Entropy::system());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let router = shell.behind(proxies).wrap(router());
    let served = tokio::spawn(serve(listener, router, stop.clone(), ServeOptions::default()));
    Server { address, stop, served }
}

#[tokio::test]
async fn every_answer_is_protected_errors_too() {
    let server = production(router()).await;
    for path in ["/names", "/nowhere", "/../x"] {
        let answer = server.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'; frame-ancestors 'none'"));
        assert_eq!(answer.header("strict-transport-security"), None, "not without TLS");
    }
}

#[tokio::test]
async fn nobody_says_from_outside_who_calls() {
    let server = production(router()).await;
    let lies = "X-Synapse-User: root\r\nX_Synapse_Tenant: acme\r\nX-Auth-Request-User: root\r\nRemote-User: root\r\n";
    let names = server.send("GET /names", &format!("{lies}X-Request-ID: r\r\n"), "").await.body;
    assert_eq!(names, "host connection content-length x-request-id");
}

#[tokio::test]
async fn what_two_servers_could_read_in_two_ways_is_refused() {
    let server = production(router()).await;
    let head = |lines: &str| format!("POST /body HTTP/1.1\r\n{lines}\r\n");
    assert_eq!(server.raw(&head("Host: x\r\nHost: y\r\nConnection: close\r\n")).await.code(), "malformed_request");
    assert_eq!(server.raw(&head("Connection: close\r\n")).await.code(), "malformed_request");
    // These hyper refuses by itself.
    for lines in [
        "Host: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "Host: x\r\nContent-Length: +5\r\n",
        "Host: x\r\nTransfer-Encoding: gzip\r\n",
        "Host: x\r\nTransfer-Encoding: chunked, identity\r\n",
        "Host : x\r\n",
        "Host: x\r\nX-Folded: a\r\n b\r\n",
        "Host: x\r\nX\0Y: a\r\n",
    ] {
        let answer = server.raw(&format!("{}12345", head(lines))).await;
        assert_eq!(answer.status, 400, "{lines:?}: {answer:?}");
    }
}

#[tokio::test]
async fn nothing_follows_a_chunked_request_on_its_connection() {
    let server = production(router()).await;
    let smuggled = "GET /names HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    // With both lengths, whoever forwards by Content-Length takes what follows for another client's request.
    for lengths in [
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let first = format!("POST /body HTTP/1.1\r\nHost: x\r\n{lengths}\r\n5\r\nhello\r\n0\r\n\r\n");
        let answer = server.raw(&format!("{first}{smuggled}")).await;
        assert_eq!((answer.status, answer.header("connection"), answer.body.as_str()), (200, Some("close"), "hello"));
    }
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is_and_nobody_else() {
    let lines = "X-Forwarded-For: 9.9.9.9, 198.51.100.7\r\nX-Forwarded-Proto: https\r\n";
    let answer = behind_a_proxy().await.send("GET /client", lines, "").await;
    assert_eq!(
        (answer.body.as_str(), answer.header("strict-transport-security")),
        ("198.51.100.7", Some("max-age=63072000"))
    );
    let answer = production(router()).await.send("GET /client", lines, "").await;
    assert_eq!((answer.body.as_str(), answer.header("strict-transport-security")), ("127.0.0.1", None));
}

#[tokio::test]
async fn what_is_far_over_a_limit_has_the_same_status() {
    // hyper refuses these before the shell sees them.
    let server = production(router()).await;
    let headers: String = (0..150).map(|number| format!("h{number}: v\r\n")).collect();
    assert_eq!(server.send("GET /names", &headers, "").await.status, 431);
    assert_eq!(server.send("GET /names", &format!("h: {}\r\n", "v".repeat(600_000)), "").await.status, 431);
    assert_eq!(server.send("GET /names", &format!("{}: v\r\n", "n".repeat(70_000)), "").await.status, 431);
    assert_eq!(server.get(&format!("/{}", "x".repeat(70_000))).await.status, 414);
}
