//! One connection from hello to close. It is unknown until its first auth frame is accepted; from then on a [`Peer`]
//! stands for it, and whatever ends the connection, the peer leaves presence and the registry.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bus::Trail;
use contracts::ConnectionId;
use contracts::frames::{ClientFrame, HelloLimits, Outcome, Resume, ServerFrame};
use serde_json::Value;
use service::http::{Code, ProblemResponse};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::desk::{Answered, Desk, violated};
use super::frames::{self, BadFrame};
use super::papers::Credential;
use super::peer::{Entering, Handled, Peer, told};
use super::transport::{Incoming, Transport};
use super::{PROOF_REFUSED, PROTOCOL_ABUSE, SILENT, TOKEN_EXPIRED, UNAUTHENTICATED, restarting};
use crate::Gateway;
use crate::registry::{Farewell, Kick};

/// Jitter of the reconnect hint when the server restarts: a thousand clients come back at ~100 a second.
const RESTART_JITTER_MS: u64 = 10_000;
/// A client that takes no close frame in this time is cut off.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A client at the door.
pub(crate) struct Arrival {
    pub(crate) transport: Transport,
    /// What the handshake brought.
    pub(crate) credential: Option<Credential>,
    pub(crate) resume: Option<Resume>,
    /// Where it comes from.
    pub(crate) address: Option<IpAddr>,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// How others reach a connection.
pub(super) struct Line {
    pub(super) id: ConnectionId,
    pub(super) kick: Kick,
    pub(super) address: Option<IpAddr>,
}

struct Connection {
    gateway: Arc<Gateway>,
    line: Line,
    transport: Transport,
    credential: Option<Credential>,
    resume: Option<Resume>,
    kicked: watch::Receiver<Option<Farewell>>,
    /// When the client was last heard of, on the clock's monotonic reading.
    heard: Duration,
    bad_frames: u32,
}

/// What happened next on a connection.
enum Step {
    Heard(Incoming),
    Answered(Option<Box<Answered>>),
    Push(u64, Arc<ServerFrame>),
    /// The time to wake has come.
    Time,
}

/// A frame that can't be the first one: its id, where it has one, and why.
type NoEntry = Box<(Option<String>, ProblemResponse)>;

/// How a connection ends; `None` when there is nobody left to tell.
type End = Option<Farewell>;

/// Runs a connection to its end.
pub(crate) async fn run(gateway: Arc<Gateway>, arrival: Arrival) {
    let Arrival { transport, credential, resume, address, permit } = arrival;
    let kick = Kick::new(watch::Sender::new(None));
    let kicked = kick.subscribe();
    let id = gateway.new_id().parse().expect("a UUID is a valid id");
    let heard = gateway.platform.clock.monotonic();
    let line = Line { id, kick, address };
    let host = Arc::clone(&gateway);
    let mut connection = Connection { gateway, line, transport, credential, resume, kicked, heard, bad_frames: 0 };
    // Entering is long and over soon: in its own box it costs an idle connection nothing.
    let entered = Box::pin(connection.authenticate()).await;
    match entered {
        Ok(mut peer) => {
            let Err(end) = connection.serve(&mut peer).await;
            // At once: the client must not wait for presence's answer.
            Box::pin(async { tokio::join!(peer.leave(&host, end), connection.close(end)) }).await;
        }
        Err(end) => connection.close(end).await,
    }
    drop(permit);
}

impl Connection {
    /// Hello, then the first auth frame, which must come in time.
    async fn authenticate(&mut self) -> Result<Peer, End> {
        let gateway = Arc::clone(&self.gateway);
        let hello = self.hello();
        self.send(&hello).await?;
        let until_ms = gateway.platform.clock.now_ms().saturating_add(gateway.config.auth_within_ms);
        loop {
            let value = match self.hear(until_ms).await? {
                Step::Heard(Incoming::Frame(value)) => value,
                Step::Time if gateway.platform.clock.now_ms() >= until_ms => return Err(Some(UNAUTHENTICATED)),
                _ => continue,
            };
            let trail = gateway.new_trail();
            match self.entering(value) {
                Ok((id, entering)) => return self.enter(&trail, id, entering).await,
                Err(refused) => {
                    let (id, problem) = *refused;
                    self.refuse(&trail, id, problem).await?;
                }
            }
        }
    }

    fn hello(&self) -> ServerFrame {
        let config = &self.gateway.config;
        ServerFrame::Hello {
            protocol: self.transport.protocol().to_owned(),
            connection_id: self.line.id.clone(),
            auth_within_ms: config.auth_within_ms,
            heartbeat_ms: config.heartbeat_ms,
            limits: HelloLimits {
                frame_bytes: config.max_frame_bytes,
                bad_frames: config.max_bad_frames,
                pending_messages: config.max_pending_messages,
                rooms: config.max_rooms,
                ack_within_ms: config.ack_within_ms,
                history_frames: config.history_frames,
                history_ttl_ms: config.history_ttl_ms,
            },
            stream_key: self.transport.stream_key(),
        }
    }

    /// What a first frame asks, or why it can't be one.
    fn entering(&mut self, value: Result<Value, BadFrame>) -> Result<(String, Entering), NoEntry> {
        match value.and_then(frames::parse) {
            Ok(ClientFrame::Auth { id, token, ticket, peer_id, proof, acks, resume }) => {
                // A ticket of the handshake is used once, by the first auth frame without a credential of its own.
                let Some(credential) = Credential::of(token, ticket).or_else(|| self.credential.take()) else {
                    let problem = ProblemResponse::new(Code::Validation)
                        .violation("token", "is missing, and the handshake brought neither token nor ticket");
                    return Err(Box::new((Some(id), problem)));
                };
                let resume = resume.or_else(|| self.resume.take());
                Ok((id, Entering { credential, peer_id, proof, acks, resume }))
            }
            Ok(other) => {
                let problem = ProblemResponse::new(Code::AuthenticationMissing).detail("send an auth frame first");
                Err(Box::new((Some(other.id().to_owned()), problem)))
            }
            Err(bad) => Err(Box::new((bad.id, violated(bad.violations)))),
        }
    }

    async fn enter(&mut self, trail: &Trail, id: String, entering: Entering) -> Result<Peer, End> {
        let gateway = Arc::clone(&self.gateway);
        match Peer::enter(&gateway, &self.line, trail, entering).await {
            Ok((peer, result)) => {
                self.transport.authenticated(&result.epoch);
                let result = serde_json::to_value(result).ok();
                let outcome = ServerFrame::Outcome { id: Some(id), outcome: Outcome::Accepted, result, problem: None };
                if let Err(end) = self.send(&outcome).await {
                    peer.leave(&gateway, end).await;
                    return Err(end);
                }
                self.bad_frames = 0;
                Ok(peer)
            }
            Err((problem, farewell)) => {
                self.send(&refusal(&gateway, trail, Some(id), problem)).await?;
                Err(Some(farewell))
            }
        }
    }

    /// Serves an authenticated peer until something ends it.
    async fn serve(&mut self, peer: &mut Peer) -> Result<Infallible, End> {
        let gateway = Arc::clone(&self.gateway);
        let clock = &gateway.platform.clock;
        let mut desk = Desk::default();
        loop {
            desk.begin(&gateway, peer);
            match self.step(&mut desk, peer).await? {
                Step::Heard(incoming) => {
                    self.heard = clock.monotonic();
                    match incoming {
                        Incoming::Frame(value) => desk.take(value, peer),
                        Incoming::Alive => {}
                        Incoming::Gone => return Err(None),
                    }
                }
                Step::Answered(Some(answered)) => self.answer(peer, *answered).await?,
                Step::Answered(None) => {}
                Step::Push(number, frame) => {
                    self.send(&(*frame).clone().numbered(number)).await?;
                    peer.cursor = number;
                    peer.journal.written(peer.generation(), number, clock.now_ms());
                }
                Step::Time => match peer.deadline_passed(clock.now_ms()) {
                    Some(Deadline::Token) => return Err(Some(TOKEN_EXPIRED)),
                    Some(Deadline::Proof) => return Err(Some(PROOF_REFUSED)),
                    None => {}
                },
            }
        }
    }

    /// Waits for the next thing. A busy client must not hide that its time is over, so that goes before its frames.
    async fn step(&mut self, desk: &mut Desk, peer: &Peer) -> Result<Step, End> {
        let clock = &self.gateway.platform.clock;
        let wake = Duration::from_millis(peer.next_deadline_ms().saturating_sub(clock.now_ms()));
        let (heard, room) = (self.heard, desk.has_room());
        let work = async {
            tokio::select! {
                answered = desk.answer() => Step::Answered(answered),
                incoming = self.transport.recv(), if room => Step::Heard(incoming),
                (number, frame) = peer.journal.next(peer.generation(), peer.cursor) => Step::Push(number, frame),
            }
        };
        tokio::select! {
            biased;
            end = ended(&self.gateway, &mut self.kicked) => Err(end),
            () = clock.sleep(wake) => Ok(Step::Time),
            step = work => Ok(step),
            () = silence(&self.gateway, heard) => Err(Some(SILENT)),
        }
    }

    /// Tells a frame's outcome.
    async fn answer(&mut self, peer: &mut Peer, answered: Answered) -> Result<(), End> {
        let Answered { id, trail, handled } = answered;
        let (outcome, result) = match handled {
            Handled::Done(outcome, result) => (outcome, result),
            Handled::Renewed(papers) => {
                let (principal, proven) = *papers;
                peer.renewed(&self.gateway, principal, proven);
                (Outcome::Accepted, None)
            }
            // The desk keeps those that come later.
            Handled::Later(_) => return Ok(()),
            Handled::Refused(problem) => return self.refuse(&trail, id, problem).await,
            Handled::Closing(problem, farewell) => {
                let frame = refusal(&self.gateway, &trail, id, problem);
                self.send(&frame).await?;
                return Err(Some(farewell));
            }
        };
        self.bad_frames = 0;
        self.send(&ServerFrame::Outcome { id, outcome, result, problem: None }).await
    }

    /// Refuses a frame. Too many bad ones in a row are abuse; "the peer is offline" and "try again later" are not.
    async fn refuse(&mut self, trail: &Trail, id: Option<String>, problem: ProblemResponse) -> Result<(), End> {
        let unknown_client = problem.code() == Code::AuthenticationMissing;
        let bad = unknown_client || problem.code().status() == 400;
        self.bad_frames = if bad { self.bad_frames + 1 } else { 0 };
        let frame = refusal(&self.gateway, trail, id, problem);
        self.send(&frame).await?;
        if self.bad_frames >= self.gateway.config.max_bad_frames {
            return Err(Some(PROTOCOL_ABUSE));
        }
        Ok(())
    }

    /// Waits for the next thing from a client that has not authenticated.
    async fn hear(&mut self, wake_ms: u64) -> Result<Step, End> {
        let clock = &self.gateway.platform.clock;
        let until_wake = Duration::from_millis(wake_ms.saturating_sub(clock.now_ms()));
        let incoming = tokio::select! {
            biased;
            end = ended(&self.gateway, &mut self.kicked) => return Err(end),
            () = clock.sleep(until_wake) => return Ok(Step::Time),
            incoming = self.transport.recv() => incoming,
            () = silence(&self.gateway, self.heard) => return Err(Some(SILENT)),
        };
        self.heard = clock.monotonic();
        if matches!(incoming, Incoming::Gone) { Err(None) } else { Ok(Step::Heard(incoming)) }
    }

    /// Sends a frame. A client that does not read must not keep its connection from being ended.
    async fn send(&mut self, frame: &ServerFrame) -> Result<(), End> {
        tokio::select! {
            biased;
            sent = self.transport.send(frame) => sent.map_err(|_| None),
            end = ended(&self.gateway, &mut self.kicked) => Err(end),
            () = silence(&self.gateway, self.heard) => Err(Some(SILENT)),
        }
    }

    /// Says why and closes; the transport goes with the connection.
    async fn close(self, end: End) {
        let Some(farewell) = end else { return };
        metrics::counter!("synapse_gateway_closed_total", "reason" => farewell.reason).increment(1);
        let _ = self.gateway.platform.clock.timeout(CLOSE_TIMEOUT, self.transport.close(farewell)).await;
    }
}

fn refusal(gateway: &Gateway, trail: &Trail, id: Option<String>, problem: ProblemResponse) -> ServerFrame {
    let problem = Some(told(gateway, problem, trail));
    ServerFrame::Outcome { id, outcome: Outcome::Refused, result: None, problem }
}

/// Waits for what ends a connection whatever it is doing: somebody insists, or the server stops.
async fn ended(gateway: &Gateway, line: &mut watch::Receiver<Option<Farewell>>) -> End {
    let stopping = gateway.platform.lifecycle.token();
    tokio::select! {
        biased;
        end = kicked(line) => end,
        () = stopping.cancelled() => Some(restarting(gateway.platform.entropy.up_to(restart_jitter_ms(gateway)))),
    }
}

/// Who is to fetch its history from this process must come back while that is there; a third of the time is for being
/// late.
fn restart_jitter_ms(gateway: &Gateway) -> u64 {
    match gateway.config.handover_on_drain_ms {
        0 => RESTART_JITTER_MS,
        stays_ms => RESTART_JITTER_MS.min(stays_ms / 3 * 2),
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
