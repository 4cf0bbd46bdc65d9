//! The parts of the protocol that are plain HTTP: the event stream, posted frames, tickets.

use anyhow::{Context, bail, ensure};
use contracts::frames::STREAM_HEADER;
use reqwest::Response;
use serde_json::{Value, json};

use super::client::{Client, Read, within};
use super::suite::Suite;

/// An event stream, and the way back.
pub(crate) struct EventStream {
    http: reqwest::Client,
    base: String,
    response: Response,
    unread: Vec<u8>,
    pub(crate) key: String,
    pub(crate) epoch: String,
    /// The id of the last event that had one.
    pub(crate) last_id: Option<String>,
}

impl EventStream {
    async fn event(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Ok(Some(String::from_utf8(event)?));
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.unread.extend_from_slice(&chunk),
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }

    pub(super) async fn read(&mut self) -> anyhow::Result<Read> {
        let Some(event) = self.event().await? else { return Ok(Read::Over) };
        let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        let frame: Value = serde_json::from_str(line("data: ").with_context(|| format!("no data in {event:?}"))?)?;
        let id = line("id: ");
        if let Some(offset) = frame["offset"].as_u64() {
            let expected = format!("{}:{offset}", self.epoch);
            ensure!(id == Some(&expected), "the event of {frame} has the id {id:?}, not {expected}");
            self.last_id = Some(expected);
        } else {
            ensure!(id.is_none(), "a frame without an offset has an id: {event:?}");
        }
        let helps = frame["type"] == "closing" && frame["reconnect_after_ms"].is_u64();
        ensure!(line("retry: ").is_some() == helps, "retry and only where reconnecting helps: {event:?}");
        Ok(Read::Frame(frame))
    }

    pub(super) async fn post(&self, body: &Value) -> anyhow::Result<()> {
        let request = self.http.post(format!("{}/v1/frames", self.base)).header(STREAM_HEADER, &self.key);
        let status = request.json(body).send().await?.status();
        ensure!(status == 202, "POST /v1/frames: {status} instead of 202");
        Ok(())
    }
}

impl Suite {
    /// A request to the gateway with the suite's token.
    pub(crate) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    /// Opens an event stream.
    pub(crate) async fn open_stream(&self, headers: &[(&str, &str)]) -> anyhow::Result<Client> {
        let mut request = self.http.get(format!("{}/v1/stream", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = within("the stream", request.send()).await??;
        ensure!(response.status() == 200, "GET /v1/stream: {}", response.status());
        for (name, expected) in [("content-type", "text/event-stream"), ("cache-control", "no-store")] {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            ensure!(value == Some(expected), "{name}: {value:?} instead of {expected}");
        }
        let stream = EventStream {
            http: self.http.clone(),
            base: self.base.clone(),
            response,
            unread: Vec::new(),
            key: String::new(),
            epoch: String::new(),
            last_id: None,
        };
        Client::stream(stream).await
    }

    /// An authenticated event stream of a peer.
    pub(crate) async fn enter_stream(&self, peer: &str) -> anyhow::Result<Client> {
        self.authenticate(self.open_stream(&[]).await?, peer, json!({})).await
    }

    /// `POST /v1/tickets`: the ticket and until when it is good.
    pub(crate) async fn ticket(&self) -> anyhow::Result<(String, u64)> {
        let request = self.http.post(format!("{}/v1/tickets", self.base)).bearer_auth(&self.token);
        let response = within("the ticket", request.send()).await??;
        ensure!(response.status() == 201, "POST /v1/tickets: {}", response.status());
        let stored = response.headers().get("cache-control").is_none_or(|value| value != "no-store");
        ensure!(!stored, "the answer with the ticket may be stored");
        let issued: Value = response.json().await?;
        let ticket = issued["ticket"].as_str().context("no ticket")?.to_owned();
        Ok((ticket, issued["expires_at_ms"].as_u64().context("no expires_at_ms")?))
    }

    /// Posts a body for a stream, as it is.
    pub(crate) async fn post_raw(&self, key: Option<&str>, body: String) -> anyhow::Result<Response> {
        let mut request = self.http.post(format!("{}/v1/frames", self.base)).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header(STREAM_HEADER, key);
        }
        Ok(within("the answer", request.body(body).send()).await??)
    }
}

/// The code of an answer that must be a problem with this status.
pub(crate) async fn problem(response: Response, status: u16, code: &str) -> anyhow::Result<Value> {
    let got = response.status();
    let problem: Value = response.json().await.context("the answer is no problem")?;
    if got == status && problem["code"] == code {
        return Ok(problem);
    }
    bail!("{status} {code} was expected, {got} came: {problem}")
}
