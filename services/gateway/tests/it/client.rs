//! Clients: HTTP as text, WebSocket through an independent library.

use std::net::SocketAddr;
use std::time::Duration;

use contracts::frames::{Outcome, ServerFrame};
use contracts::http::Problem;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::harness::SOON;

pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// How a connection ended: the closing frame, and the close frame's code where there was one.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) code: Option<u16>,
    pub(crate) reason: String,
    pub(crate) reconnect_after_ms: Option<u64>,
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.unwrap_or_else(|_| panic!("waited {SOON:?} for {what}"))
}

impl Client {
    pub(crate) async fn try_connect(
        address: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<(Self, Response), Error> {
        let mut request = format!("ws://{address}/v1/ws").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let (socket, response) = within("the handshake", connect_async(request)).await?;
        Ok((Self { socket }, response))
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address, &[("sec-websocket-protocol", "synapse.v1")]).await.unwrap().0
    }

    pub(crate) async fn send(&mut self, frame: &Value) {
        self.send_raw(Message::Text(frame.to_string().into())).await;
    }

    /// The same where the server may have closed already.
    pub(crate) async fn try_send(&mut self, frame: &Value) -> Result<(), Error> {
        within("the send", self.socket.send(Message::Text(frame.to_string().into()))).await
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        within("the send", self.socket.send(message)).await.unwrap();
    }

    async fn message(&mut self) -> Option<Result<Message, Error>> {
        within("a message", self.socket.next()).await
    }

    /// The next frame; the connection must be open.
    pub(crate) async fn next(&mut self) -> ServerFrame {
        loop {
            match self.message().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("a frame was expected: {other:?}"),
            }
        }
    }

    /// The same on a connection that speaks CBOR.
    pub(crate) async fn next_binary(&mut self) -> ServerFrame {
        loop {
            match self.message().await {
                Some(Ok(Message::Binary(bytes))) => return ciborium::from_reader(&bytes[..]).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("a frame was expected: {other:?}"),
            }
        }
    }

    /// Sends a frame and reads its outcome; it must be the next thing that comes.
    pub(crate) async fn ask(&mut self, frame: &Value) -> (Outcome, Option<Value>, Option<Problem>) {
        self.send(frame).await;
        self.outcome_of(frame["id"].as_str()).await
    }

    pub(crate) async fn outcome_of(&mut self, id: Option<&str>) -> (Outcome, Option<Value>, Option<Problem>) {
        match self.next().await {
            ServerFrame::Outcome { id: named, outcome, result, problem } => {
                assert_eq!(named.as_deref(), id);
                (outcome, result, problem.map(|problem| *problem))
            }
            other => panic!("an outcome was expected: {other:?}"),
        }
    }

    pub(crate) async fn refused(&mut self, frame: &Value) -> Problem {
        let (outcome, result, problem) = self.ask(frame).await;
        assert_eq!((outcome, result), (Outcome::Refused, None));
        problem.unwrap()
    }

    pub(crate) async fn accepted(&mut self, frame: &Value) -> Option<Value> {
        let (outcome, result, problem) = self.ask(frame).await;
        assert_eq!((outcome, problem), (Outcome::Accepted, None));
        result
    }

    /// Whether the connection answers: everything that was sent to it before has come.
    pub(crate) async fn is_alive(&mut self) {
        self.accepted(&json!({"type": "ping", "id": "alive"})).await;
    }

    /// Reads to the end, whatever comes before it.
    pub(crate) async fn closed(&mut self) -> Closed {
        let mut closed = Closed { code: None, reason: String::new(), reconnect_after_ms: None };
        let mut announced = None;
        loop {
            match self.message().await {
                Some(Ok(Message::Text(text))) => {
                    if let ServerFrame::Closing { code, reason, reconnect_after_ms } =
                        serde_json::from_str(&text).unwrap()
                    {
                        announced = Some(code);
                        closed = Closed { reason, reconnect_after_ms, ..closed };
                    }
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    closed.code = Some(frame.code.into());
                    assert_eq!(announced, closed.code, "the closing frame names the code that follows");
                    assert_eq!(frame.reason.as_str(), closed.reason);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return closed,
            }
        }
    }
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
    pub(crate) fn problem(&self) -> Problem {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: Problem = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem.status, self.status, "{self:?}");
        assert_eq!(Some(problem.code.as_str()), self.header("x-error-code"), "{self:?}");
        assert_eq!(Some(problem.correlation_id.as_str()), self.header("x-correlation-id"), "{self:?}");
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "{self:?}");
        assert!(problem.kind.ends_with(&problem.code) && !problem.title.is_empty(), "{self:?}");
        assert!(!problem.error_id.is_empty() && problem.timestamp.ends_with('Z'), "{self:?}");
        assert!(problem.suggestion.as_ref().is_some_and(|text| !text.is_empty()), "{self:?}");
        problem
    }

    pub(crate) fn is_refused(&self, status: u16, code: &str) -> Problem {
        let problem = self.problem();
        assert_eq!((self.status, problem.code.as_str()), (status, code), "{self:?}");
        problem
    }
}

/// Sends a request exactly as written, and reads until the server closes.
pub(crate) async fn raw(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read all of it.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer));
    let _ = reading.await.expect("the server answers");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
