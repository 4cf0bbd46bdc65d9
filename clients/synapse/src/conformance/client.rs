//! A client that takes nothing for granted: whatever it reads is checked against what the protocol promises.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use contracts::frames::{SUBPROTOCOL_CBOR, ServerFrame};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::http::EventStream;

/// Longest wait for something that should come at once.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// How frames travel.
enum Road {
    Socket { socket: Box<WebSocketStream<MaybeTlsStream<TcpStream>>>, cbor: bool },
    Stream(Box<EventStream>),
}

/// A connection of the suite.
pub(crate) struct Client {
    road: Road,
    pub(crate) hello: Value,
    /// The auth frame's result.
    pub(crate) session: Value,
    pub(crate) peer: String,
    /// The number of the last pushed frame.
    pub(crate) offset: u64,
    /// Whether a ping is sent when it would be silent for too long.
    pub(crate) keeps_alive: bool,
    /// Ids that were sent and have no outcome.
    open: HashMap<String, usize>,
    outcomes: VecDeque<Value>,
    pushed: VecDeque<Value>,
    closing: Option<Value>,
    pings: u64,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) reconnect_after_ms: Option<u64>,
}

/// What comes on a road.
pub(super) enum Read {
    Frame(Value),
    Close { code: u16, reason: String },
    Over,
}

/// The handshake as it was answered.
pub(crate) async fn handshake(
    base: &str,
    query: &str,
    headers: &[(&'static str, &str)],
) -> Result<(WebSocketStream<MaybeTlsStream<TcpStream>>, Response), Error> {
    let url = format!("{}/v1/ws{query}", base.replacen("http", "ws", 1));
    let mut request = url.into_client_request()?;
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).map_err(|error| Error::HttpFormat(error.into()))?;
        request.headers_mut().insert(*name, value);
    }
    connect_async(request).await
}

impl Client {
    /// Connects with these protocols and headers, and reads the hello.
    pub(crate) async fn connect(
        base: &str,
        protocols: &[&str],
        headers: &[(&'static str, &str)],
    ) -> anyhow::Result<Self> {
        let offered = protocols.join(", ");
        let mut all = vec![("sec-websocket-protocol", offered.as_str())];
        all.extend_from_slice(headers);
        let (socket, response) = within("the handshake", handshake(base, "", &all)).await??;
        let chosen = response.headers().get("sec-websocket-protocol").and_then(|name| name.to_str().ok());
        let cbor = chosen == Some(SUBPROTOCOL_CBOR);
        Self::greet(Road::Socket { socket: Box::new(socket), cbor }).await
    }

    /// The same by an event stream.
    pub(crate) async fn stream(stream: EventStream) -> anyhow::Result<Self> {
        Self::greet(Road::Stream(Box::new(stream))).await
    }

    async fn greet(road: Road) -> anyhow::Result<Self> {
        let mut client = Self {
            road,
            hello: Value::Null,
            session: Value::Null,
            peer: String::new(),
            offset: 0,
            keeps_alive: true,
            open: HashMap::new(),
            outcomes: VecDeque::new(),
            pushed: VecDeque::new(),
            closing: None,
            pings: 0,
        };
        let Read::Frame(hello) = within("the hello", client.road.read()).await?? else {
            bail!("it closed before hello")
        };
        ensure!(hello["type"] == "hello", "hello was expected, {hello} came");
        if let Road::Stream(stream) = &mut client.road {
            stream.key = hello["stream_key"].as_str().context("hello has no stream_key")?.to_owned();
        }
        client.hello = hello;
        Ok(client)
    }

    /// Sends the auth frame; it must be accepted.
    pub(crate) async fn authenticate(&mut self, auth: &Value) -> anyhow::Result<()> {
        let result = self.accepted(auth).await?;
        self.offset = result["offset"].as_u64().with_context(|| format!("no offset in {result}"))?;
        self.peer = auth["peer_id"].as_str().unwrap_or("").to_owned();
        self.session = result;
        if let Road::Stream(stream) = &mut self.road {
            self.session["epoch"].as_str().unwrap_or("").clone_into(&mut stream.epoch);
        }
        Ok(())
    }

    /// What a later connection resumes with, having taken in everything up to `offset`.
    pub(crate) fn resume(&self, offset: u64) -> Value {
        json!({"resume": {"epoch": self.session["epoch"], "offset": offset}})
    }

    /// A limit that hello told.
    pub(crate) fn limit(&self, name: &str) -> anyhow::Result<usize> {
        let limit = self.hello["limits"][name].as_u64().with_context(|| format!("hello has no limits.{name}"))?;
        Ok(usize::try_from(limit)?)
    }

    /// Sends a frame; its outcome is awaited from now on.
    pub(crate) async fn send(&mut self, frame: &Value) -> anyhow::Result<()> {
        if let Some(id) = frame["id"].as_str() {
            *self.open.entry(id.to_owned()).or_default() += 1;
        }
        within("the send", self.road.write(frame)).await?
    }

    /// The secret of the event stream.
    pub(crate) fn stream_key(&self) -> &str {
        self.hello["stream_key"].as_str().unwrap_or("")
    }

    /// The id of the last event that had one.
    pub(crate) fn last_event_id(&self) -> Option<String> {
        match &self.road {
            Road::Stream(stream) => stream.last_id.clone(),
            Road::Socket { .. } => None,
        }
    }

    /// Posts several frames at once.
    pub(crate) async fn send_list(&mut self, frames: &[Value]) -> anyhow::Result<()> {
        for id in frames.iter().filter_map(|frame| frame["id"].as_str()) {
            *self.open.entry(id.to_owned()).or_default() += 1;
        }
        within("the POST", self.road.write(&Value::from(frames))).await?
    }

    /// Sends a message as it is.
    pub(crate) async fn send_raw(&mut self, message: Message) -> anyhow::Result<()> {
        let Road::Socket { socket, .. } = &mut self.road else { bail!("an event stream takes frames only") };
        within("the send", socket.send(message)).await?.map_err(Into::into)
    }

    /// Sends a frame and gives its outcome.
    pub(crate) async fn ask(&mut self, frame: &Value) -> anyhow::Result<Value> {
        self.send(frame).await?;
        self.outcome(frame["id"].as_str()).await
    }

    /// Sends a frame that must be accepted, and gives the result.
    pub(crate) async fn accepted(&mut self, frame: &Value) -> anyhow::Result<Value> {
        let mut outcome = self.ask(frame).await?;
        ensure!(outcome["outcome"] == "accepted", "{} was not accepted: {outcome}", frame["type"]);
        Ok(outcome["result"].take())
    }

    /// Sends a frame that must be refused with this code, and gives the problem.
    pub(crate) async fn refused(&mut self, frame: &Value, code: &str) -> anyhow::Result<Value> {
        let outcome = self.ask(frame).await?;
        refusal(&outcome, code)
    }

    /// The outcome of a frame that was sent; `None`: of one whose id could not be read.
    pub(crate) async fn outcome(&mut self, id: Option<&str>) -> anyhow::Result<Value> {
        loop {
            let found = self.outcomes.iter().position(|outcome| outcome["id"].as_str() == id);
            if let Some(outcome) = found.and_then(|index| self.outcomes.remove(index)) {
                return Ok(outcome);
            }
            self.take_one(&format!("the outcome of {id:?}")).await?;
        }
    }

    /// The next outcome, whatever it is of.
    pub(crate) async fn next_outcome(&mut self) -> anyhow::Result<Value> {
        loop {
            if let Some(outcome) = self.outcomes.pop_front() {
                return Ok(outcome);
            }
            self.take_one("an outcome").await?;
        }
    }

    /// The next pushed frame that fits; those before it are passed over.
    pub(crate) async fn pushed(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        loop {
            while let Some(frame) = self.pushed.pop_front() {
                if fits(&frame) {
                    return Ok(frame);
                }
            }
            self.take_one(what).await?;
        }
    }

    /// The next message to this peer or a room of its own. What cases that run at the same time say to all peers of the
    /// user or the tenant is passed over.
    pub(crate) async fn message(&mut self) -> anyhow::Result<Value> {
        let wide = |frame: &Value| frame["broadcast"]["scope"] == "user" || frame["broadcast"]["scope"] == "tenant";
        self.pushed("a message", |frame| frame["type"] == "message" && !wide(frame)).await
    }

    /// Pushed frames that fit, of everything that was sent before now.
    pub(crate) async fn drained(&mut self, fits: impl Fn(&Value) -> bool) -> anyhow::Result<Vec<Value>> {
        self.ping().await?;
        Ok(self.pushed.drain(..).filter(|frame| fits(frame)).collect())
    }

    /// Whether the connection answers.
    pub(crate) async fn ping(&mut self) -> anyhow::Result<()> {
        self.pings += 1;
        let id = format!("ping-{}", self.pings);
        self.accepted(&json!({"type": "ping", "id": id})).await.map(drop)
    }

    /// Reads to the end.
    pub(crate) async fn closed(&mut self) -> anyhow::Result<Closed> {
        self.closed_within(SOON).await
    }

    pub(crate) async fn closed_within(&mut self, limit: Duration) -> anyhow::Result<Closed> {
        let reading = async {
            loop {
                match self.road.read().await? {
                    Read::Frame(frame) => self.take(frame)?,
                    Read::Close { code, reason } => return Ok((Some(code), reason)),
                    Read::Over if matches!(self.road, Road::Stream(_)) => return Ok((None, String::new())),
                    Read::Over => bail!("the connection ended without a close frame"),
                }
            }
        };
        let ended = tokio::time::timeout(limit, reading).await;
        let (code, reason) = ended.map_err(|_| anyhow!("it was not closed within {} s", limit.as_secs()))??;
        let closing = self.closing.as_ref().context("it closed without a closing frame")?;
        let announced = closing["code"].as_u64().and_then(|code| u16::try_from(code).ok()).context("no code")?;
        let word = closing["reason"].as_str().context("no reason")?.to_owned();
        if let Some(code) = code {
            let same = code == announced && reason == word;
            ensure!(same, "closing says {announced} {word}, the close frame {code} {reason}");
        }
        Ok(Closed { code: announced, reason: word, reconnect_after_ms: closing["reconnect_after_ms"].as_u64() })
    }

    /// Ends without a goodbye.
    pub(crate) fn cut(self) {}

    async fn take_one(&mut self, what: &str) -> anyhow::Result<()> {
        let quiet = Duration::from_millis(self.hello["heartbeat_ms"].as_u64().unwrap_or(10_000) / 2);
        let waiting = async {
            loop {
                match tokio::time::timeout(quiet, self.road.read()).await {
                    Ok(read) => return read,
                    Err(_) if self.keeps_alive && !self.session.is_null() => {
                        self.pings += 1;
                        let id = format!("keep-{}", self.pings);
                        self.road.write(&json!({"type": "ping", "id": id})).await?;
                    }
                    Err(_) => {}
                }
            }
        };
        match within(what, waiting).await?? {
            Read::Frame(frame) => self.take(frame),
            Read::Close { code, reason } => bail!("waiting for {what}, it closed with {code} {reason}"),
            Read::Over => bail!("waiting for {what}, it ended"),
        }
    }

    /// Checks a frame against what the protocol promises of every frame.
    fn take(&mut self, frame: Value) -> anyhow::Result<()> {
        serde_json::from_value::<ServerFrame>(frame.clone()).with_context(|| format!("{frame} is no frame"))?;
        if let Some(closing) = &self.closing {
            bail!("{frame} came after {closing}");
        }
        match frame["type"].as_str() {
            Some("outcome") => self.take_outcome(frame),
            Some("closing") => {
                self.closing = Some(frame);
                Ok(())
            }
            Some("hello") => bail!("a second hello came"),
            _ => {
                let offset = frame["offset"].as_u64();
                ensure!(offset == Some(self.offset + 1), "after {} came {frame}", self.offset);
                self.offset += 1;
                self.pushed.push_back(frame);
                Ok(())
            }
        }
    }

    fn take_outcome(&mut self, outcome: Value) -> anyhow::Result<()> {
        let refused = outcome["outcome"] == "refused";
        ensure!(refused == outcome["problem"].is_object(), "refused, and only that, has a problem: {outcome}");
        if let Some(id) = outcome["id"].as_str() {
            if id.starts_with("keep-") {
                return Ok(());
            }
            match self.open.get_mut(id) {
                Some(1) => drop(self.open.remove(id)),
                Some(count) => *count -= 1,
                None => bail!("an outcome of nothing that is open: {outcome}"),
            }
        }
        self.outcomes.push_back(outcome);
        Ok(())
    }
}

impl Road {
    async fn write(&mut self, frame: &Value) -> anyhow::Result<()> {
        match self {
            Self::Socket { socket, cbor: false } => Ok(socket.send(Message::text(frame.to_string())).await?),
            Self::Socket { socket, cbor: true } => {
                let mut bytes = Vec::new();
                ciborium::into_writer(frame, &mut bytes)?;
                Ok(socket.send(Message::binary(bytes)).await?)
            }
            Self::Stream(stream) => stream.post(frame).await,
        }
    }

    async fn read(&mut self) -> anyhow::Result<Read> {
        let Self::Socket { socket, cbor } = self else {
            let Self::Stream(stream) = self else { unreachable!("there are two roads") };
            return stream.read().await;
        };
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) if !*cbor => return Ok(Read::Frame(serde_json::from_str(&text)?)),
                Some(Ok(Message::Binary(bytes))) if *cbor => {
                    return Ok(Read::Frame(ciborium::from_reader(&bytes[..])?));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Ok(Read::Close { code: frame.code.into(), reason: frame.reason.to_string() });
                }
                Some(Ok(Message::Close(None)) | Err(_)) | None => return Ok(Read::Over),
                Some(Ok(other)) => bail!("this form was not agreed on: {other:?}"),
            }
        }
    }
}

/// Waits for something that should come soon.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> anyhow::Result<T> {
    let limit = SOON;
    tokio::time::timeout(limit, future).await.map_err(|_| anyhow!("waited {} s for {what}", limit.as_secs()))
}

/// The problem of an outcome that must be a refusal with this code.
pub(crate) fn refusal(outcome: &Value, code: &str) -> anyhow::Result<Value> {
    ensure!(outcome["outcome"] == "refused" && outcome["problem"]["code"] == code, "{code} was expected: {outcome}");
    Ok(outcome["problem"].clone())
}

/// The fields that a problem's violations name.
pub(crate) fn fields(problem: &Value) -> Vec<&str> {
    let violations = problem["violations"].as_array().map(Vec::as_slice).unwrap_or_default();
    violations.iter().filter_map(|violation| violation["field"].as_str()).collect()
}
