//! One connection from hello to close. It is unknown until its first auth frame is accepted; from then on a [`Peer`]
//! stands for it, and whatever ends the connection, the peer leaves presence and the registry.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bus::Trail;
use contracts::frames::{ClientFrame, Outcome, SUBPROTOCOL, ServerFrame};
use contracts::http::Violation;
use contracts::{ConnectionId, PeerId};
use serde_json::Value;
use service::http::{Code, ProblemResponse};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::peer::{Handled, Peer};
use super::{PROOF_REFUSED, PROTOCOL_ABUSE, SILENT, TOKEN_EXPIRED, UNAUTHENTICATED, frames, restarting};
use crate::Gateway;
use crate::registry::Farewell;

/// Jitter of the reconnect hint when the server restarts: a thousand clients come back at ~100 a second.
const RESTART_JITTER_MS: u64 = 10_000;
/// A client that takes no close frame in this time is cut off.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How others reach a connection.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) id: ConnectionId,
    pub(super) outbound: mpsc::Sender<ServerFrame>,
    pub(super) kick: Arc<watch::Sender<Option<Farewell>>>,
}

/// Where a connection's frames come in and go out.
struct Connection {
    line: Line,
    socket: WebSocket,
    waiting: mpsc::Receiver<ServerFrame>,
    kicked: watch::Receiver<Option<Farewell>>,
    /// When the client was last heard of, on the clock's monotonic reading.
    heard: Duration,
}

/// What happened next on a connection.
enum Next {
    Frame(String),
    Outbound(ServerFrame),
    /// The time to wake has come, or the client's transport shows life.
    Nothing,
}

/// How a connection ends; `None` when there is nobody left to tell.
type End = Option<Farewell>;

/// Runs a connection to its end.
pub(super) async fn run(gateway: Arc<Gateway>, socket: WebSocket, permit: OwnedSemaphorePermit) {
    let (outbound, waiting) = mpsc::channel(gateway.config.max_outbound_frames);
    let kick = Arc::new(watch::Sender::new(None));
    let kicked = kick.subscribe();
    let id = gateway.new_id().parse().expect("a UUID is a valid id");
    let heard = gateway.platform.clock.monotonic();
    let mut connection = Connection { line: Line { id, outbound, kick }, socket, waiting, kicked, heard };
    match connection.authenticate(&gateway).await {
        Ok(mut peer) => {
            let Err(end) = connection.serve(&gateway, &mut peer).await;
            // At once: the client must not wait for presence's answer.
            tokio::join!(peer.leave(&gateway, end), connection.close(&gateway, end));
        }
        Err(end) => connection.close(&gateway, end).await,
    }
    drop(permit);
}

impl Connection {
    /// Hello, then the first auth frame, which must come in time.
    async fn authenticate(&mut self, gateway: &Arc<Gateway>) -> Result<Peer, End> {
        let hello = ServerFrame::Hello {
            protocol: SUBPROTOCOL.to_owned(),
            connection_id: self.line.id.clone(),
            auth_within_ms: gateway.config.auth_within_ms,
            heartbeat_ms: gateway.config.heartbeat_ms,
        };
        self.send(gateway, &hello).await?;
        let until_ms = gateway.platform.clock.now_ms().saturating_add(gateway.config.auth_within_ms);
        let mut bad_frames = 0;
        loop {
            let text = match self.next(gateway, until_ms).await? {
                Next::Frame(text) => text,
                Next::Nothing if gateway.platform.clock.now_ms() >= until_ms => return Err(Some(UNAUTHENTICATED)),
                Next::Nothing | Next::Outbound(_) => continue,
            };
            let trail = gateway.new_trail();
            let (id, problem) = match frames::parse(&text) {
                Ok(ClientFrame::Auth { id, token, peer_id, proof }) => {
                    return self.enter(gateway, &trail, id, token, peer_id, proof).await;
                }
                Ok(other) => {
                    let problem = ProblemResponse::new(Code::AuthenticationMissing).detail("send an auth frame first");
                    (Some(frame_id(&other).to_owned()), problem)
                }
                Err(bad) => (bad.id, violated(bad.violations)),
            };
            self.answer(gateway, &trail, id, Err(problem)).await?;
            bad_frames += 1;
            if bad_frames >= gateway.config.max_bad_frames {
                return Err(Some(PROTOCOL_ABUSE));
            }
        }
    }

    async fn enter(
        &mut self,
        gateway: &Arc<Gateway>,
        trail: &Trail,
        id: String,
        token: String,
        peer_id: PeerId,
        proof: Option<String>,
    ) -> Result<Peer, End> {
        match Peer::enter(gateway, &self.line, trail, token, peer_id, proof).await {
            Ok((peer, result)) => {
                let told = self.answer(gateway, trail, Some(id), Ok((Outcome::Accepted, Some(result)))).await;
                if let Err(end) = told {
                    peer.leave(gateway, end).await;
                    return Err(end);
                }
                Ok(peer)
            }
            Err((problem, farewell)) => {
                self.answer(gateway, trail, Some(id), Err(problem)).await?;
                Err(Some(farewell))
            }
        }
    }

    /// Serves an authenticated peer until something ends it.
    async fn serve(&mut self, gateway: &Arc<Gateway>, peer: &mut Peer) -> Result<Infallible, End> {
        let mut bad_frames = 0;
        loop {
            let text = match self.next(gateway, peer.next_deadline_ms()).await? {
                Next::Frame(text) => text,
                Next::Outbound(frame) => {
                    self.send(gateway, &frame).await?;
                    continue;
                }
                Next::Nothing => match peer.deadline_passed(gateway.platform.clock.now_ms()) {
                    Some(Deadline::Token) => return Err(Some(TOKEN_EXPIRED)),
                    Some(Deadline::Proof) => return Err(Some(PROOF_REFUSED)),
                    None => continue,
                },
            };
            let trail = gateway.new_trail();
            let (id, handled) = match frames::parse(&text) {
                Ok(frame) => {
                    let id = frame_id(&frame).to_owned();
                    let handled = tokio::select! {
                        biased;
                        handled = peer.handle(gateway, &trail, frame) => handled,
                        end = kicked(&mut self.kicked) => return Err(end),
                    };
                    (Some(id), handled)
                }
                Err(bad) => (bad.id, Handled::Refused(violated(bad.violations))),
            };
            let outcome = match handled {
                Handled::Done(outcome, result) => Ok((outcome, result)),
                Handled::Refused(problem) => Err(problem),
                Handled::Closing(problem, farewell) => {
                    self.answer(gateway, &trail, id, Err(problem)).await?;
                    return Err(Some(farewell));
                }
            };
            // "The peer is offline" and "try again later" are no abuse.
            let bad = outcome.as_ref().is_err_and(|problem| problem.code().status() == 400);
            bad_frames = if bad { bad_frames + 1 } else { 0 };
            self.answer(gateway, &trail, id, outcome).await?;
            if bad_frames >= gateway.config.max_bad_frames {
                return Err(Some(PROTOCOL_ABUSE));
            }
        }
    }

    /// Waits for the next thing: a frame, something to send, `wake_ms`, or what ends the connection. A busy client must
    /// not hide that its time is over, so the wake goes before its frames.
    async fn next(&mut self, gateway: &Arc<Gateway>, wake_ms: u64) -> Result<Next, End> {
        let clock = &gateway.platform.clock;
        let until_wake = Duration::from_millis(wake_ms.saturating_sub(clock.now_ms()));
        let message = tokio::select! {
            biased;
            end = ended(gateway, &mut self.kicked) => return Err(end),
            () = clock.sleep(until_wake) => return Ok(Next::Nothing),
            message = self.socket.recv() => message,
            outbound = self.waiting.recv() => return outbound.map(Next::Outbound).ok_or(None),
            () = silence(gateway, self.heard) => return Err(Some(SILENT)),
        };
        self.heard = clock.monotonic();
        match message {
            Some(Ok(Message::Text(text))) => Ok(Next::Frame(text.as_str().to_owned())),
            Some(Ok(Message::Binary(_))) => Ok(Next::Frame(String::from("binary"))),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Next::Nothing),
            Some(Ok(Message::Close(_)) | Err(_)) | None => Err(None),
        }
    }

    /// Tells a frame's outcome.
    async fn answer(
        &mut self,
        gateway: &Gateway,
        trail: &Trail,
        id: Option<String>,
        outcome: Result<(Outcome, Option<Value>), ProblemResponse>,
    ) -> Result<(), End> {
        let frame = match outcome {
            Ok((outcome, result)) => ServerFrame::Outcome { id, outcome, result, problem: None },
            Err(problem) => {
                let body = gateway.problem_body(problem, trail);
                ServerFrame::Outcome { id, outcome: Outcome::Refused, result: None, problem: Some(Box::new(body)) }
            }
        };
        self.send(gateway, &frame).await
    }

    /// Sends a frame. A client that does not read must not keep its connection from being ended.
    async fn send(&mut self, gateway: &Gateway, frame: &ServerFrame) -> Result<(), End> {
        tokio::select! {
            biased;
            sent = self.socket.send(text(frame)) => sent.map_err(|_| None),
            end = ended(gateway, &mut self.kicked) => Err(end),
            () = silence(gateway, self.heard) => Err(Some(SILENT)),
        }
    }

    /// Says why and closes; the transport goes with the connection.
    async fn close(mut self, gateway: &Gateway, end: End) {
        let Some(farewell) = end else { return };
        let closing = ServerFrame::Closing {
            code: farewell.code,
            reason: farewell.reason.to_owned(),
            reconnect_after_ms: farewell.reconnect_after_ms,
        };
        let frame = CloseFrame { code: farewell.code, reason: farewell.reason.into() };
        let goodbye = async {
            self.socket.send(text(&closing)).await?;
            self.socket.send(Message::Close(Some(frame))).await?;
            // The closing handshake: what the client still sends is of no use, its close frame ends the wait.
            while let Some(Ok(message)) = self.socket.recv().await {
                if matches!(message, Message::Close(_)) {
                    break;
                }
            }
            Ok::<(), axum::Error>(())
        };
        let _ = gateway.platform.clock.timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}

fn text(frame: &ServerFrame) -> Message {
    Message::Text(serde_json::to_string(frame).expect("frames are plain data").into())
}

/// Waits for what ends a connection whatever it is doing: somebody insists, or the server stops.
async fn ended(gateway: &Gateway, line: &mut watch::Receiver<Option<Farewell>>) -> End {
    let stopping = gateway.platform.lifecycle.token();
    tokio::select! {
        biased;
        end = kicked(line) => end,
        () = stopping.cancelled() => Some(restarting(gateway.platform.entropy.up_to(RESTART_JITTER_MS))),
    }
}

/// Waits until the client was not heard of for too long.
async fn silence(gateway: &Gateway, heard: Duration) {
    let clock = &gateway.platform.clock;
    let until = heard + Duration::from_millis(gateway.config.heartbeat_ms * 2);
    clock.sleep(until.saturating_sub(clock.monotonic())).await;
}

/// Waits until somebody insists on closing the connection.
async fn kicked(line: &mut watch::Receiver<Option<Farewell>>) -> End {
    line.wait_for(Option::is_some).await.ok().and_then(|farewell| *farewell)
}

/// What of a peer's papers is over.
pub(super) enum Deadline {
    Token,
    Proof,
}

fn frame_id(frame: &ClientFrame) -> &str {
    match frame {
        ClientFrame::Auth { id, .. }
        | ClientFrame::Ping { id }
        | ClientFrame::Presence { id, .. }
        | ClientFrame::Session { id, .. }
        | ClientFrame::Signal { id, .. } => id,
    }
}

fn violated(violations: Vec<Violation>) -> ProblemResponse {
    let problem = ProblemResponse::new(Code::Validation).detail("the frame breaks these rules");
    violations.into_iter().fold(problem, |problem, broken| problem.violation(broken.field, broken.message))
}
