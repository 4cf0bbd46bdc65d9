//! Agents' connections: the handshake, and the life of each connection over its sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use auth::Principal;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request, State};
use axum::response::Response;
use carrier::{Carrier, CarrierStream, Ended};
use contracts::tunnels::{AgentFrame, CarrierKey, EdgeFrame, SUBPROTOCOL, close};
use futures::{SinkExt, StreamExt, future};
use http::header::HOST;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use service::AuditOutcome;
use service::http::{Code, ProblemResponse, RequestContext};
use tokio::sync::mpsc;

use crate::Edge;
use crate::agents::{Agent, Line, Resumption};
use crate::open;

/// Sockets that wait to take over from a broken one; more than one only while an agent reconnects wildly.
const RESUMPTIONS: usize = 4;

/// Windows of HTTP/2 above the carrier: small enough to share it, large enough for a long way (facts of the design).
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// `GET /v1/tunnels/connect`.
pub(crate) async fn upgrade(State(edge): State<Arc<Edge>>, request: Request) -> Result<Response, ProblemResponse> {
    let (mut parts, _) = request.into_parts();
    let context = parts.extensions.get::<RequestContext>().cloned();
    let context = context.unwrap_or_else(|| edge.context(&parts.headers));
    let principal = edge.authenticate(&parts.headers, "tunnels.connect", &context.correlation_id).await?;
    let offered = parts.headers.get_all(http::header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    if !offered.flat_map(|value| value.split(',')).any(|name| name.trim() == SUBPROTOCOL) {
        let detail = format!("offer a supported protocol in Sec-WebSocket-Protocol; supported: {SUBPROTOCOL}");
        return Err(ProblemResponse::new(Code::UnsupportedProtocol).detail(detail));
    }
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost").to_owned();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map_err(|rejection| {
        ProblemResponse::new(Code::MalformedRequest).detail(format!("{rejection}; open this address as a WebSocket"))
    })?;
    let limit = carrier::MAX_PAYLOAD_BYTES + 1_024;
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(8 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(limit * 4)
        .max_message_size(limit)
        .max_frame_size(limit);
    let lifecycle = edge.platform.lifecycle.clone();
    Ok(upgrade.on_upgrade(move |socket| async move {
        // Tracked, so that draining waits for it: axum's own upgrade task is not.
        lifecycle.spawn("tunnel.connection", async move { greet(edge, principal, context, host, socket).await });
    }))
}

async fn greet(edge: Arc<Edge>, principal: Principal, context: RequestContext, host: String, mut socket: WebSocket) {
    let limit = Duration::from_millis(edge.config.open_within_ms);
    let said = edge.platform.clock.timeout(limit, first_frame(&mut socket)).await;
    let said = said.unwrap_or_else(|| Err(ProblemResponse::new(Code::RequestTimeout)));
    let outcome = match said {
        Ok(AgentFrame::Resume { carrier, received }) => resume(&edge, &principal, carrier, received, &mut socket).await,
        Ok(AgentFrame::Join { session }) => join(&edge, &principal, &session, &mut socket).await,
        Ok(frame) => {
            let opened = open::open(&edge, &principal, &host, frame).await;
            let (outcome, code) = match opened.as_ref().map_err(ProblemResponse::code) {
                Ok(_) => (AuditOutcome::Allowed, ""),
                Err(code) if [402, 403].contains(&code.status()) => (AuditOutcome::Denied, code.as_str()),
                Err(code) => (AuditOutcome::Failed, code.as_str()),
            };
            let subject = opened.as_ref().map_or("", |agent| agent.tunnel.tunnel_id.as_str());
            edge.audit("tunnels.open", outcome, code, Some(&principal), subject, &context.correlation_id);
            opened.map(Next::Open)
        }
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(Next::Open(agent)) => begin(&edge, agent, socket, true).await,
        Ok(Next::Join(agent)) => begin(&edge, agent, socket, false).await,
        Ok(Next::Resume(line, received)) => {
            // The connection's own task takes it from here.
            let _ = line.resumes.send((socket, received)).await;
        }
        Err(problem) => {
            let problem = Box::new(edge.problem_body(problem, &context));
            say(&mut socket, &EdgeFrame::Refused { problem }).await;
            let _ = socket.send(Message::Close(None)).await;
        }
    }
}

enum Next {
    Open(Arc<Agent>),
    Join(Arc<Agent>),
    Resume(Arc<Line>, u64),
}

async fn first_frame(socket: &mut WebSocket) -> Result<AgentFrame, ProblemResponse> {
    let malformed = |text: String| ProblemResponse::new(Code::MalformedRequest).detail(text);
    loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(&text).map_err(|error| malformed(format!("the first frame: {error}")));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(_)) => return Err(malformed("the first message must be a JSON text: open, join or resume".into())),
            Some(Err(error)) => return Err(malformed(error.to_string())),
            None => return Err(malformed("the connection was closed before the first frame".into())),
        }
    }
}

async fn say(socket: &mut WebSocket, frame: &EdgeFrame) -> bool {
    let text = serde_json::to_string(frame).expect("frames are plain data");
    socket.send(Message::text(text)).await.is_ok()
}

async fn join(
    edge: &Arc<Edge>,
    principal: &Principal,
    session: &str,
    _: &mut WebSocket,
) -> Result<Next, ProblemResponse> {
    let agent = edge.agents.session(session).filter(|agent| agent.is_of(principal));
    let agent = agent.ok_or_else(|| ProblemResponse::new(Code::SessionUnknown))?;
    if agent.lines().len() >= edge.config.connections as usize {
        let detail = format!("this agent has its {} connections", edge.config.connections);
        return Err(ProblemResponse::new(Code::Conflict).detail(detail));
    }
    Ok(Next::Join(agent))
}

async fn resume(
    edge: &Arc<Edge>,
    principal: &Principal,
    key: CarrierKey,
    received: u64,
    socket: &mut WebSocket,
) -> Result<Next, ProblemResponse> {
    let found = edge.agents.carrier(&key.0).filter(|(agent, _)| agent.is_of(principal));
    let Some((_, line)) = found.filter(|(_, line)| line.carrier.closed().is_none()) else {
        let detail = "this connection was not resumed in time or belongs to another edge; open the tunnel anew";
        return Err(ProblemResponse::new(Code::SessionUnknown).detail(detail));
    };
    if say(socket, &EdgeFrame::Resumed { received: line.carrier.received() }).await {
        metrics::counter!("tunnel_resumptions_total").increment(1);
    }
    Ok(Next::Resume(line, received))
}

/// A new connection of an agent, from its first socket to its last.
async fn begin(edge: &Arc<Edge>, agent: Arc<Agent>, mut socket: WebSocket, first: bool) {
    let options = carrier::Options {
        window_bytes: edge.config.window_bytes,
        ping_every: Duration::from_millis(edge.config.ping_every_ms),
        dead_after: Duration::from_millis(edge.config.dead_after_ms),
    };
    let (carrier, stream) = carrier::pair(options, edge.platform.clock.clone());
    let key = edge.new_key();
    let answer = if first {
        open::opened(edge, &agent, CarrierKey(key.clone()))
    } else {
        EdgeFrame::Joined { carrier: CarrierKey(key.clone()) }
    };
    // hyper's handshake writes its preface into the carrier, which holds it until a connection runs.
    let (requests, connection) = match handshake(stream).await {
        Ok(made) => made,
        Err(error) => return tracing::warn!(%error, "an agent's connection could not begin"),
    };
    let (resumes, sockets) = mpsc::channel(RESUMPTIONS);
    let (connected, under_way) = (AtomicBool::new(true), AtomicUsize::new(0));
    let line = Arc::new(Line { key, carrier, requests, resumes, connected, under_way });
    if let Some(earlier) = edge.agents.add_line(&agent, &line) {
        earlier.close(
            close::TAKEN_OVER,
            "another agent with the same id opened this tunnel; give each its own --agent-id",
        );
    }
    metrics::gauge!("tunnel_agents").set(edge.agents.len() as f64);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an agent's HTTP/2 ended");
        }
    });
    if say(&mut socket, &answer).await {
        live(edge, &line, (socket, 0), sockets).await;
    }
    line.carrier.close(close::NOT_RESUMED, "not resumed in time");
    if edge.agents.remove_line(&agent, &line) {
        let closed = line.carrier.closed().map(|(_, reason)| reason).unwrap_or_default();
        tracing::info!(tunnel_id = %agent.tunnel.tunnel_id, reason = closed, "an agent left");
        metrics::gauge!("tunnel_agents").set(edge.agents.len() as f64);
    }
}

type Requests = hyper::client::conn::http2::SendRequest<axum::body::Body>;
type Connection = hyper::client::conn::http2::Connection<TokioIo<CarrierStream>, axum::body::Body, TokioExecutor>;

async fn handshake(stream: CarrierStream) -> hyper::Result<(Requests, Connection)> {
    hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .handshake(TokioIo::new(stream))
        .await
}

/// Largest HTTP/2 frame: a quarter of the carrier's payload, so that streams take turns.
const MAX_FRAME: u32 = 16 << 10;

/// Runs the connection over one socket after the other until it ends for good.
async fn live(edge: &Edge, line: &Line, first: Resumption, mut sockets: mpsc::Receiver<Resumption>) {
    let within = Duration::from_millis(edge.config.resume_within_ms);
    let mut next = Some(first);
    while let Some((socket, received)) = next.take() {
        line.connected.store(true, Ordering::Relaxed);
        let ended = tokio::select! {
            biased;
            // The agent came back before this end noticed that the old connection broke.
            Some(newer) = sockets.recv() => {
                next = Some(newer);
                continue;
            }
            ended = run(&line.carrier, socket, received) => ended,
        };
        line.connected.store(false, Ordering::Relaxed);
        if !matches!(ended, Ended::Broken(_) | Ended::Replaced) {
            return;
        }
        tracing::debug!(?ended, "an agent's connection broke; it may be resumed");
        next = tokio::select! {
            biased;
            () = line.carrier.ended() => None,
            resumed = edge.platform.clock.timeout(within, sockets.recv()) => resumed.flatten(),
        };
    }
}

async fn run(carrier: &Carrier, socket: WebSocket, received: u64) -> Ended {
    let (sink, stream) = socket.split();
    let sink = sink.with(|bytes| future::ready(Ok::<_, axum::Error>(Message::Binary(bytes))));
    let stream = stream.filter_map(|message| {
        future::ready(match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    });
    carrier.run(sink, Box::pin(stream), received).await
}
