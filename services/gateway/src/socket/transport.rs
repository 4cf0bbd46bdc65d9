//! How frames come in and go out: a WebSocket, or an event stream with posted frames.

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use contracts::frames::ServerFrame;
use serde_json::Value;
use tokio::sync::mpsc;

use super::codec::{self, Codec};
use super::frames::BadFrame;
use crate::registry::Farewell;
use crate::streams::Listed;

/// The two roads; what is said on them is the same.
pub(crate) enum Transport {
    Socket { socket: Box<WebSocket>, codec: Codec },
    Stream(Stream),
}

/// An event stream, and the frames posted for it.
pub(crate) struct Stream {
    /// Its place among the streams, given up with it.
    pub(crate) _listed: Listed,
    pub(crate) key: String,
    pub(crate) events: mpsc::Sender<Bytes>,
    pub(crate) posted: mpsc::Receiver<String>,
    /// Known after auth: with the offset it is an event's id.
    pub(crate) epoch: String,
}

/// What came from the client.
pub(super) enum Incoming {
    Frame(Result<Value, BadFrame>),
    /// Only a sign of life.
    Alive,
    Gone,
}

/// The client is gone.
#[derive(Debug)]
pub(super) struct Gone;

impl Transport {
    /// The name of the protocol that is spoken.
    pub(super) fn protocol(&self) -> &'static str {
        match self {
            Self::Socket { codec, .. } => codec.protocol(),
            Self::Stream(_) => Codec::Json.protocol(),
        }
    }

    pub(super) fn stream_key(&self) -> Option<String> {
        match self {
            Self::Socket { .. } => None,
            Self::Stream(stream) => Some(stream.key.clone()),
        }
    }

    pub(super) fn authenticated(&mut self, epoch: &str) {
        if let Self::Stream(stream) = self {
            epoch.clone_into(&mut stream.epoch);
        }
    }

    /// What comes next. Nothing is lost when it is not waited for to the end.
    pub(super) async fn recv(&mut self) -> Incoming {
        match self {
            Self::Socket { socket, codec } => match socket.recv().await {
                Some(Ok(Message::Text(text))) => Incoming::Frame(codec.decode_text(text.as_str())),
                Some(Ok(Message::Binary(bytes))) => Incoming::Frame(codec.decode_binary(&bytes)),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => Incoming::Alive,
                Some(Ok(Message::Close(_)) | Err(_)) | None => Incoming::Gone,
            },
            Self::Stream(stream) => tokio::select! {
                biased;
                () = stream.events.closed() => Incoming::Gone,
                text = stream.posted.recv() => text.map_or(Incoming::Gone, |text| Incoming::Frame(codec::read_json(&text))),
            },
        }
    }

    pub(super) async fn send(&mut self, frame: &ServerFrame) -> Result<(), Gone> {
        match self {
            Self::Socket { socket, codec } => socket.send(codec.encode(frame)).await.map_err(|_| Gone),
            Self::Stream(stream) => stream.events.send(stream.event(frame)).await.map_err(|_| Gone),
        }
    }

    /// Says why and ends it.
    pub(super) async fn close(mut self, farewell: Farewell) -> Result<(), Gone> {
        let Farewell { code, reason, reconnect_after_ms } = farewell;
        self.send(&ServerFrame::Closing { code, reason: reason.to_owned(), reconnect_after_ms }).await?;
        let Self::Socket { mut socket, .. } = self else { return Ok(()) };
        let frame = CloseFrame { code, reason: reason.into() };
        socket.send(Message::Close(Some(frame))).await.map_err(|_| Gone)?;
        // The closing handshake: what the client still sends is of no use, its close frame ends the wait.
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, Message::Close(_)) {
                break;
            }
        }
        Ok(())
    }
}

impl Stream {
    /// A server-sent event (WHATWG HTML §9.2): numbered frames have an id, and a browser names the last one when it
    /// comes back. JSON has no line breaks outside of strings, and escapes those within.
    fn event(&self, frame: &ServerFrame) -> Bytes {
        let data = codec::json(frame);
        let retry = match frame {
            ServerFrame::Closing { reconnect_after_ms: Some(wait_ms), .. } => format!("retry: {wait_ms}\n"),
            _ => String::new(),
        };
        match frame.offset() {
            Some(offset) => format!("id: {}:{offset}\ndata: {data}\n\n", self.epoch),
            None => format!("{retry}data: {data}\n\n"),
        }
        .into()
    }
}
