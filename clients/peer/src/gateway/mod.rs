//! The gateway half: one authenticated WebSocket (`synapse.v1`) that asks, is asked and is told.
//!
//! [`Gateway::connect`] gives a handle, cheap to clone, and the stream of [`Event`]s. Signals of a session go to that
//! session's [`Session`]; the first signal of a session that somebody else opened arrives as [`Event::Incoming`].

mod error;
mod link;
mod session;

pub use error::{ConnectError, GatewayError};
pub use session::{IncomingSession, Session, SessionError};

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contracts::frames::{AuthResult, ClientFrame, Note, Outcome, PresenceAction, Resume, Resumed, Scope, Select};
use contracts::requests::presence::{PeerPage, PeerView};
use contracts::requests::signaling::SessionOpened;
use contracts::signals::signaling::PeerSignal;
use contracts::{PeerId, SessionId};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use link::{Command, Opened};

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The gateway's WebSocket, `ws://host:port/v1/ws` or `wss://…`.
    pub url: String,
    /// Access token (JWT).
    pub token: String,
    /// The peer this connection speaks for.
    pub peer_id: PeerId,
    /// Its subscription proof.
    pub proof: Option<String>,
    /// Where an earlier connection of this peer ended: [`Gateway::position`]. Default none.
    pub resume: Option<Resume>,
    /// Whether messages are acknowledged once they are in the stream of events; then their senders learn of it. Default
    /// no.
    pub acks: bool,
    /// How long connecting and every request may take. Default 10 s.
    pub timeout: Duration,
    /// Most events, and most signals per session, that wait to be taken; past it the connection stops reading. Default 256.
    pub buffer: usize,
}

impl ConnectOptions {
    /// Options with the defaults.
    pub fn new(url: impl Into<String>, token: impl Into<String>, peer_id: PeerId, proof: Option<String>) -> Self {
        Self {
            url: url.into(),
            token: token.into(),
            peer_id,
            proof,
            resume: None,
            acks: false,
            timeout: Duration::from_secs(10),
            buffer: 256,
        }
    }
}

/// What the gateway tells.
#[derive(Debug)]
pub enum Event {
    /// A peer of the tenant came, went or changed.
    Presence(PeerView),
    /// Another peer opened a session with this one.
    Incoming(IncomingSession),
    /// Another peer says something.
    Message {
        /// Who.
        from: PeerId,
        /// Whom else it was for; `None` when for this peer alone.
        broadcast: Option<Scope>,
        /// What it says.
        note: Note,
    },
    /// The connection is over; nothing follows.
    Closed {
        /// The WebSocket close code; `contracts::frames::close` explains ours. 1006 when there was none.
        code: u16,
        /// The gateway's word for it.
        reason: String,
        /// Whether and when to come back, milliseconds.
        reconnect_after_ms: Option<u64>,
    },
}

/// A live connection. Cheap to clone; the connection closes when the last clone is gone.
#[derive(Clone)]
pub struct Gateway {
    commands: mpsc::Sender<Command>,
    sessions: Sessions,
    next_id: Arc<AtomicU64>,
    session: Arc<AuthResult>,
    offset: Arc<AtomicU64>,
    timeout: Duration,
    buffer: usize,
}

/// Where the signals of each live session go.
type Sessions = Arc<Mutex<HashMap<SessionId, mpsc::Sender<PeerSignal>>>>;

impl Gateway {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// What stood in the way: the network, the protocol, or the gateway's refusal with its problem.
    pub async fn connect(options: ConnectOptions) -> Result<(Self, mpsc::Receiver<Event>), ConnectError> {
        let sessions = Sessions::default();
        let (timeout, buffer) = (options.timeout, options.buffer.max(1));
        let next_id = Arc::new(AtomicU64::new(1));
        let opened = link::open(options, Arc::clone(&sessions), Arc::clone(&next_id)).await?;
        let Opened { commands, events, session, offset } = opened;
        Ok((Self { commands, sessions, next_id, session, offset, timeout, buffer }, events))
    }

    /// Where this connection stands: what a later one resumes with. Frames up to it are in the stream of events.
    pub fn position(&self) -> Resume {
        Resume { epoch: self.session.epoch.clone(), offset: self.offset.load(Ordering::Relaxed) }
    }

    /// What became of the resume, if one was asked for. After a gap, ask anew for what matters.
    pub fn resumed(&self) -> Option<Resumed> {
        self.session.resume
    }

    /// Shows a new token or proof before the old one ends.
    ///
    /// # Errors
    /// The gateway's refusal, or the end of the connection.
    pub async fn refresh(&self, token: Option<String>, proof: Option<String>) -> Result<(), GatewayError> {
        self.outcome(|id| ClientFrame::Refresh { id, token, ticket: None, proof }).await.map(drop)
    }

    /// Who is here. Pass the last page's `next` for the next one.
    ///
    /// # Errors
    /// The gateway's refusal, or the end of the connection.
    pub async fn peers(&self, after: Option<String>) -> Result<PeerPage, GatewayError> {
        self.ask(|id| ClientFrame::Presence { id, action: PresenceAction::List { after, select: Select::default() } })
            .await
    }

    /// Are you there?
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn ping(&self) -> Result<(), GatewayError> {
        self.outcome(|id| ClientFrame::Ping { id }).await.map(drop)
    }

    /// Sends a message to another peer; `Delivered` once its connection has it (and its client acknowledged it, where
    /// it does), `Expired` when that did not happen in time.
    ///
    /// # Errors
    /// The gateway's refusal (unknown peer, offline), or the end of the connection.
    pub async fn message(&self, to: PeerId, note: Note) -> Result<Outcome, GatewayError> {
        self.outcome(|id| ClientFrame::Message { id, to, note }).await.map(|(outcome, _)| outcome)
    }

    /// Opens a session with another peer.
    ///
    /// # Errors
    /// The gateway's refusal (unknown peer, offline, proof), or the end of the connection.
    pub async fn open_session(&self, to: PeerId) -> Result<Session, GatewayError> {
        let other = to.clone();
        let opened: SessionOpened = self.ask(|id| ClientFrame::Session { id, to, others: Vec::new() }).await?;
        let (sender, signals) = mpsc::channel(self.buffer);
        self.lock().insert(opened.session_id.clone(), sender);
        Ok(Session::new(self.clone(), opened.session_id, other, opened.polite, signals))
    }

    pub(crate) async fn signal(&self, session_id: SessionId, signal: PeerSignal) -> Result<Outcome, GatewayError> {
        self.outcome(|id| ClientFrame::Signal { id, session_id, signal, to: None, binding: None })
            .await
            .map(|(outcome, _)| outcome)
    }

    pub(crate) fn forget(&self, session_id: &SessionId) {
        self.lock().remove(session_id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, mpsc::Sender<PeerSignal>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask<T: DeserializeOwned>(&self, frame: impl FnOnce(String) -> ClientFrame) -> Result<T, GatewayError> {
        let (_, result) = self.outcome(frame).await?;
        serde_json::from_value(result.unwrap_or(Value::Null))
            .map_err(|error| GatewayError::Protocol(format!("the result is not as promised: {error}")))
    }

    async fn outcome(
        &self,
        frame: impl FnOnce(String) -> ClientFrame,
    ) -> Result<(Outcome, Option<Value>), GatewayError> {
        let (reply, outcome) = oneshot::channel();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed).to_string();
        let command = Command { frame: frame(id.clone()), id, reply };
        self.commands.send(command).await.map_err(|_| GatewayError::Closed)?;
        match tokio::time::timeout(self.timeout, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(GatewayError::Closed),
            Err(_) => Err(GatewayError::Timeout),
        }
    }
}
