//! A client that sends exactly what it is told to.

use std::net::SocketAddr;

use axum::Router;
use clock::{Clock, Entropy};
use serde_json::Value;
use service::config::Mode;
use service::http::{HttpSettings, ServeOptions, Served, Shell, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<Served>,
}

pub(crate) async fn start(router: Router, mode: Mode, settings: HttpSettings, options: ServeOptions) -> Server {
    let shell = Shell::of("test", mode, &settings, Clock::system(), Entropy::system());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, shell.wrap(router), stop.clone(), options));
    Server { address, stop, served }
}

pub(crate) async fn production(router: Router) -> Server {
    start(router, Mode::Production, HttpSettings::default(), ServeOptions::default()).await
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The problem, which must be a complete one.
    pub(crate) fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], self.status, "{self:?}");
        assert_eq!(problem["code"].as_str(), self.header("x-error-code"), "{self:?}");
        assert_eq!(problem["correlation_id"].as_str(), self.header("x-correlation-id"), "{self:?}");
        assert!(self.header("x-request-id").is_some() && problem["error_id"].is_string(), "{self:?}");
        assert!(problem["suggestion"].is_string() && problem["timestamp"].is_string(), "{self:?}");
        problem
    }

    pub(crate) fn code(&self) -> String {
        self.problem()["code"].as_str().unwrap().to_owned()
    }
}

impl Server {
    /// Sends a request as text and reads until the server closes.
    pub(crate) async fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may answer and close before it has read all of it.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        parse(&String::from_utf8_lossy(&answer))
    }

    pub(crate) async fn send(&self, line: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n");
        self.raw(&format!("{head}{headers}\r\n{body}")).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), "", "").await
    }
}

fn parse(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
