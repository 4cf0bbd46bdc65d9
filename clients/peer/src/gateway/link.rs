//! The WebSocket itself: one task that writes commands, matches outcomes to them, routes signals and pings.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use contracts::SessionId;
use contracts::frames::{AuthResult, ClientFrame, Outcome, SUBPROTOCOL, ServerFrame};
use contracts::http::Problem;
use contracts::signals::signaling::PeerSignal;
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Interval;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::{ConnectError, ConnectOptions, Event, Gateway, GatewayError, IncomingSession, Sessions};

/// Largest message taken in: an SDP of 256 KiB in JSON, with room.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// Close code of RFC 6455 §7.4.1 for a connection that ended without one.
const NO_CLOSE_FRAME: u16 = 1006;
/// Frames that wait to be written.
const COMMAND_BUFFER: usize = 64;
/// The ids of the frames that the link sends by itself; callers' ids are numbers.
const KEEP_ALIVE_ID: &str = "keep-alive";
const ACK_ID: &str = "ack";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Reply = oneshot::Sender<Result<(Outcome, Option<Value>), GatewayError>>;

/// A frame to send, and where its outcome goes.
pub(super) struct Command {
    pub(super) id: String,
    pub(super) frame: ClientFrame,
    pub(super) reply: Reply,
}

/// What a connection begins with.
pub(super) struct Opened {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) session: Arc<AuthResult>,
    pub(super) offset: Arc<AtomicU64>,
}

/// Connects, authenticates and starts the task.
pub(super) async fn open(
    options: ConnectOptions,
    sessions: Sessions,
    next_id: Arc<AtomicU64>,
) -> Result<Opened, ConnectError> {
    let timeout = options.timeout;
    let setup = async {
        let mut socket = dial(&options.url).await?;
        let (heartbeat_ms, session) = greet(&mut socket, &options).await?;
        Ok((socket, heartbeat_ms, session))
    };
    let (socket, heartbeat_ms, session) =
        tokio::time::timeout(timeout, setup).await.map_err(|_| ConnectError::Timeout)??;
    let (commands, waiting) = mpsc::channel(COMMAND_BUFFER);
    let (events, taken) = mpsc::channel(options.buffer.max(1));
    let (offset, session) = (Arc::new(AtomicU64::new(session.offset)), Arc::new(session));
    let link = Link {
        socket,
        events,
        offset: Arc::clone(&offset),
        acks: options.acks,
        session: Arc::clone(&session),
        sessions,
        pending: HashMap::new(),
        farewell: None,
        commands: commands.downgrade(),
        next_id,
        timeout,
        buffer: options.buffer.max(1),
    };
    // Two beats fit into the time the gateway allows.
    let beat = tokio::time::interval(Duration::from_millis((heartbeat_ms / 2).max(100)));
    tokio::spawn(link.run(waiting, beat));
    Ok(Opened { commands, events: taken, session, offset })
}

async fn dial(url: &str) -> Result<Socket, ConnectError> {
    let mut request = url.into_client_request().map_err(|error| ConnectError::Network(error.to_string()))?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE_BYTES));
    match connect_async_with_config(request, Some(config), true).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            let problem: Option<Problem> = serde_json::from_slice(body).ok();
            let detail = problem.and_then(|problem| problem.detail).unwrap_or_default();
            Err(ConnectError::Http { status: response.status().as_u16(), detail })
        }
        Err(error) => Err(ConnectError::Network(error.to_string())),
    }
}

/// Waits for hello, authenticates, and gives how often to send a frame, milliseconds, and what the gateway said.
async fn greet(socket: &mut Socket, options: &ConnectOptions) -> Result<(u64, AuthResult), ConnectError> {
    let heartbeat_ms = match read(socket).await? {
        ServerFrame::Hello { heartbeat_ms, .. } => heartbeat_ms,
        other => return Err(ConnectError::Protocol(format!("hello was expected, {other:?} came"))),
    };
    let auth = ClientFrame::Auth {
        id: "auth".into(),
        token: Some(options.token.clone()),
        ticket: None,
        peer_id: options.peer_id.clone(),
        proof: options.proof.clone(),
        acks: options.acks,
        resume: options.resume.clone(),
    };
    let text = serde_json::to_string(&auth).map_err(|error| ConnectError::Protocol(error.to_string()))?;
    socket.send(Message::text(text)).await.map_err(|error| ConnectError::Network(error.to_string()))?;
    loop {
        match read(socket).await? {
            ServerFrame::Outcome { problem: Some(problem), .. } => return Err(ConnectError::Refused(problem)),
            ServerFrame::Outcome { result, .. } => {
                let session = serde_json::from_value(result.unwrap_or(Value::Null));
                return session.map(|session| (heartbeat_ms, session)).map_err(|error| {
                    ConnectError::Protocol(format!("the result of auth is not as promised: {error}"))
                });
            }
            ServerFrame::Closing { reason, .. } => return Err(ConnectError::Protocol(reason)),
            _ => {}
        }
    }
}

async fn read(socket: &mut Socket) -> Result<ServerFrame, ConnectError> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(&text).map_err(|error| ConnectError::Protocol(error.to_string()));
            }
            Some(Ok(Message::Close(_))) | None => return Err(ConnectError::Protocol("it closed".into())),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(ConnectError::Network(error.to_string())),
        }
    }
}

struct Link {
    socket: Socket,
    events: mpsc::Sender<Event>,
    /// The last pushed frame that was handed on.
    offset: Arc<AtomicU64>,
    /// Whether the gateway is told so.
    acks: bool,
    session: Arc<AuthResult>,
    sessions: Sessions,
    pending: HashMap<String, Reply>,
    farewell: Option<(u16, String, Option<u64>)>,
    /// Weak: the link must not keep itself alive once every handle is gone.
    commands: mpsc::WeakSender<Command>,
    next_id: Arc<AtomicU64>,
    timeout: Duration,
    buffer: usize,
}

impl Link {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>, mut beat: Interval) {
        loop {
            let alive = tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.send(command).await,
                    None => false,
                },
                message = self.socket.next() => self.take(message).await,
                _ = beat.tick() => self.write(&ClientFrame::Ping { id: KEEP_ALIVE_ID.into() }).await,
            };
            if !alive {
                break;
            }
        }
        let _ = self.socket.close(None).await;
        self.lock().clear();
        for (_, reply) in self.pending.drain() {
            let _ = reply.send(Err(GatewayError::Closed));
        }
        let (code, reason, reconnect_after_ms) = self.farewell.unwrap_or((NO_CLOSE_FRAME, String::new(), None));
        let _ = self.events.send(Event::Closed { code, reason, reconnect_after_ms }).await;
    }

    async fn send(&mut self, command: Command) -> bool {
        // Callers who gave up left their entry behind; the gateway may never answer those.
        self.pending.retain(|_, reply| !reply.is_closed());
        let written = self.write(&command.frame).await;
        self.pending.insert(command.id, command.reply);
        written
    }

    async fn write(&mut self, frame: &ClientFrame) -> bool {
        let Ok(text) = serde_json::to_string(frame) else { return true };
        self.socket.send(Message::text(text)).await.is_ok()
    }

    /// Takes a message in; false when the connection is over.
    async fn take(&mut self, message: Option<Result<Message, Error>>) -> bool {
        match message {
            Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                Ok(frame) => self.handle(frame).await,
                Err(error) => {
                    // A frame newer than this client: the protocol only grows by such.
                    tracing::debug!(%error, "a frame was not understood");
                    true
                }
            },
            Some(Ok(Message::Close(frame))) => {
                if let (Some(frame), None) = (frame, &self.farewell) {
                    self.farewell = Some((frame.code.into(), frame.reason.to_string(), None));
                }
                false
            }
            Some(Ok(_)) => true,
            Some(Err(_)) | None => false,
        }
    }

    async fn handle(&mut self, frame: ServerFrame) -> bool {
        let (offset, is_message) = (frame.offset(), matches!(frame, ServerFrame::Message { .. }));
        if !self.hand_on(frame).await {
            return false;
        }
        // Only now: what the application could not be given comes again after a resume.
        let Some(offset) = offset else { return true };
        self.offset.store(offset, Ordering::Relaxed);
        !(self.acks && is_message) || self.write(&ClientFrame::Ack { id: ACK_ID.into(), offset }).await
    }

    async fn hand_on(&mut self, frame: ServerFrame) -> bool {
        match frame {
            ServerFrame::Outcome { id: Some(id), outcome, result, problem } => {
                if let Some(reply) = self.pending.remove(&id) {
                    let _ = reply.send(match problem {
                        Some(problem) => Err(GatewayError::Refused(problem)),
                        None => Ok((outcome, result)),
                    });
                }
                true
            }
            ServerFrame::Presence { peer, .. } => self.events.send(Event::Presence(peer)).await.is_ok(),
            ServerFrame::Signal { session_id, from, polite, signal, .. } => {
                self.route(session_id, from, polite, signal).await
            }
            ServerFrame::Message { from, broadcast, note, .. } => {
                self.events.send(Event::Message { from, broadcast, note }).await.is_ok()
            }
            ServerFrame::Closing { code, reason, reconnect_after_ms } => {
                self.farewell = Some((code, reason, reconnect_after_ms));
                true
            }
            // A session's own timeouts say what a lost signal means.
            ServerFrame::Receipt { .. } | ServerFrame::Hello { .. } | ServerFrame::Outcome { id: None, .. } => true,
        }
    }

    async fn route(
        &mut self,
        session_id: SessionId,
        from: contracts::PeerId,
        polite: bool,
        signal: PeerSignal,
    ) -> bool {
        let known = self.lock().get(&session_id).cloned();
        if let Some(session) = known {
            if session.send(signal).await.is_err() {
                self.lock().remove(&session_id);
            }
            return true;
        }
        // Late candidates and byes of a session that this side left are nobody's; only an offer opens one.
        if !matches!(signal, PeerSignal::Offer { .. }) {
            return true;
        }
        let Some(commands) = self.commands.upgrade() else { return false };
        let (sender, signals) = mpsc::channel(self.buffer);
        let _ = sender.try_send(signal);
        self.lock().insert(session_id.clone(), sender);
        let gateway = Gateway {
            commands,
            sessions: Arc::clone(&self.sessions),
            next_id: Arc::clone(&self.next_id),
            session: Arc::clone(&self.session),
            offset: Arc::clone(&self.offset),
            timeout: self.timeout,
            buffer: self.buffer,
        };
        let incoming = IncomingSession::new(gateway, session_id, from, polite, signals);
        self.events.send(Event::Incoming(incoming)).await.is_ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, mpsc::Sender<PeerSignal>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
