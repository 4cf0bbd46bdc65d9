//! A tunnel's session: its connections, each resumed when it breaks, all opened anew when that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use carrier::{Carrier, Ended};
use contracts::tunnels::{AgentFrame, CarrierKey, CarrierTerms, EdgeFrame, TunnelView, VERSIONS, close};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::dial::{Socket, dial, split};
use crate::proxy::Proxy;
use crate::watched::Watched;
use crate::{Event, Options, Status, TunnelError};

/// Streams of one connection at once; the edge's own limit per agent is what counts.
const MAX_STREAMS: u32 = 10_000;
/// Windows of HTTP/2 above the carrier, as at the edge.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// How often the status tells the round trip anew.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// What all of a tunnel's connections use.
pub(crate) struct Shared {
    options: Options,
    proxy: Arc<Proxy>,
    stop: CancellationToken,
    jitter: AtomicU64,
    http: reqwest::Client,
}

impl Shared {
    pub(crate) fn try_new(
        options: Options,
        events: broadcast::Sender<Event>,
        stop: CancellationToken,
    ) -> Result<Self, TunnelError> {
        let proxy = Proxy::try_new(&options, events).map_err(TunnelError::Origin)?;
        let jitter = AtomicU64::new(options.clock.now_ms() | 1);
        Ok(Self { options, proxy, stop, jitter, http: reqwest::Client::new() })
    }

    /// The pause before try number `attempt`: between half and all of the doubled shortest one.
    fn pause(&self, attempt: u32) -> Duration {
        let (shortest, longest) = self.options.pauses;
        let whole = shortest.saturating_mul(1 << attempt.min(16)).min(longest);
        // xorshift: tries of many agents must not fall together, nothing more.
        let mut seed = self.jitter.load(Ordering::Relaxed);
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        self.jitter.store(seed, Ordering::Relaxed);
        whole.mul_f64(0.5 + (seed % 1_000) as f64 / 2_000.0)
    }
}

/// An open session: its tunnel and its first connection.
pub(crate) struct Session {
    pub(crate) tunnel: TunnelView,
    name: String,
    connections: u32,
    terms: CarrierTerms,
    /// When to get the next proof, Unix milliseconds.
    prove_at_ms: u64,
    first: Line,
}

struct Line {
    key: CarrierKey,
    socket: Socket,
}

/// Opens the tunnel.
pub(crate) async fn open(shared: &Shared) -> Result<Session, TunnelError> {
    let options = &shared.options;
    let proved = match &options.prover {
        Some(prover) => Some((prover.0)().await.map_err(TunnelError::NoProof)?),
        None => None,
    };
    let prove_at_ms = proved.as_ref().map_or(u64::MAX, |proved| proved.refresh_at_ms);
    let frame = AgentFrame::Open {
        versions: VERSIONS.to_vec(),
        capabilities: Vec::new(),
        program: options.program.clone(),
        agent_id: options.agent_id.clone(),
        proof: proved.map(|proved| proved.proof),
        name: options.name.clone(),
    };
    match Box::pin(dial(options, &frame)).await? {
        (socket, EdgeFrame::Opened { session, connections, terms, carrier, tunnel, .. }) => {
            Ok(Session { tunnel, name: session, connections, terms, prove_at_ms, first: Line { key: carrier, socket } })
        }
        (_, other) => Err(TunnelError::Protocol(format!("opened was expected, {other:?} came"))),
    }
}

/// Keeps the tunnel open until it is stopped or the edge forbids it.
pub(crate) async fn keep(shared: Arc<Shared>, first: Session, status: watch::Sender<Status>) {
    let mut next = Some(first);
    let mut attempt = 0;
    let ended = loop {
        let opened = match next.take() {
            Some(session) => Ok(session),
            None => match shared.stop.run_until_cancelled(open(&shared)).await {
                Some(opened) => opened,
                None => break None,
            },
        };
        let reason = match opened {
            Ok(session) => {
                attempt = 0;
                shared.proxy.opened(&session.tunnel);
                status.send_replace(Status::Online { tunnel: session.tunnel.clone(), round_trip: None });
                match run(&shared, session, &status).await {
                    Over::Stopped => break None,
                    Over::Forbidden(error) => break Some(error),
                    Over::Lost(reason) => reason,
                }
            }
            Err(error @ TunnelError::Refused(_)) if !is_passing(&error) => break Some(error),
            Err(error) => error.to_string(),
        };
        status.send_replace(Status::Reconnecting { reason });
        let pause = shared.pause(attempt);
        attempt += 1;
        if shared.stop.run_until_cancelled(shared.options.clock.sleep(pause)).await.is_none() {
            break None;
        }
    };
    status.send_replace(Status::Ended(ended));
}

/// Whether a refusal may be otherwise in a while: the edge is full or can't look things up.
fn is_passing(error: &TunnelError) -> bool {
    matches!(error, TunnelError::Refused(problem) if problem.status >= 500 || problem.status == 429)
}

enum Over {
    Stopped,
    Forbidden(TunnelError),
    Lost(String),
}

/// Runs a session's connections until the first of them can't be resumed.
async fn run(shared: &Arc<Shared>, session: Session, status: &watch::Sender<Status>) -> Over {
    let terms = session.terms;
    let mut lines = FuturesUnordered::new();
    let (carrier, serving) = begin(shared, &terms);
    let carriers = std::iter::once(carrier.clone());
    let mut carriers: Vec<Carrier> = carriers.collect();
    tokio::spawn(serving);
    lines.push(line(shared, carrier, session.first));
    for _ in 1..session.connections {
        // A tunnel with fewer connections works; the next session tries again.
        let joined = dial(&shared.options, &AgentFrame::Join { session: session.name.clone() }).await;
        if let Ok((socket, EdgeFrame::Joined { carrier: key })) = joined {
            let (carrier, serving) = begin(shared, &terms);
            carriers.push(carrier.clone());
            tokio::spawn(serving);
            lines.push(line(shared, carrier, Line { key, socket }));
        }
    }
    let mut proving = std::pin::pin!(keep_proved(shared, &session.name, session.prove_at_ms));
    let over = loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => break Over::Stopped,
            Some(ended) = lines.next() => break ended,
            () = &mut proving => {}
            () = shared.options.clock.sleep(STATUS_INTERVAL) => {
                let round_trip = carriers.iter().filter_map(|carrier| carrier.stats().round_trip).min();
                let connected = carriers.iter().any(|carrier| carrier.is_connected());
                status.send_replace(if connected {
                    Status::Online { tunnel: session.tunnel.clone(), round_trip }
                } else {
                    Status::Reconnecting { reason: "the connection broke".to_owned() }
                });
            }
        }
    };
    let stopped = matches!(over, Over::Stopped);
    let (code, reason) = if stopped { (1000, "the agent stops") } else { (close::NOT_RESUMED, "the session is over") };
    carriers.iter().for_each(|carrier| carrier.close(code, reason));
    if stopped {
        // The edge should hear it rather than wait for a resumption.
        let farewell = async { while lines.next().await.is_some() {} };
        let _ = shared.options.clock.timeout(FAREWELL, farewell).await;
    }
    over
}

/// Renews the proof whenever its time comes, for as long as this is polled.
async fn keep_proved(shared: &Shared, session: &str, first_at_ms: u64) {
    let options = &shared.options;
    let Some(prover) = options.prover.as_ref() else { return std::future::pending().await };
    let (mut at_ms, mut failures) = (first_at_ms, 0);
    loop {
        options.clock.sleep(Duration::from_millis(at_ms.saturating_sub(options.clock.now_ms()))).await;
        let renewed = async {
            let proved = (prover.0)().await?;
            let url = format!("{}/v1/tunnels/sessions/{session}/proof", options.edge.trim_end_matches('/'));
            let body = serde_json::json!({ "proof": proved.proof });
            let put = shared.http.put(url).bearer_auth(&options.token).json(&body).timeout(options.timeout).send();
            put.await.and_then(reqwest::Response::error_for_status).map_err(|error| error.to_string())?;
            Ok::<_, String>(proved.refresh_at_ms)
        };
        match renewed.await {
            Ok(refresh_at_ms) => (at_ms, failures) = (refresh_at_ms, 0),
            Err(error) => {
                tracing::warn!(error, "the subscription proof could not be renewed; tried again");
                at_ms = options.clock.now_ms() + u64::try_from(shared.pause(failures).as_millis()).unwrap_or(u64::MAX);
                failures += 1;
            }
        }
    }
}

/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A carrier with the HTTP/2 server on it.
fn begin(shared: &Shared, terms: &CarrierTerms) -> (Carrier, impl Future<Output = ()> + use<>) {
    let options = carrier::Options {
        window_bytes: usize::try_from(terms.window_bytes).unwrap_or(usize::MAX).clamp(1 << 10, 64 << 20),
        ping_every: Duration::from_millis(terms.ping_every_ms.max(10)),
        dead_after: Duration::from_millis(terms.dead_after_ms.max(20)),
    };
    let (carrier, stream) = carrier::pair(options, shared.options.clock.clone());
    let (proxy, trace) = (Arc::clone(&shared.proxy), shared.options.trace.clone());
    let serving = async move {
        match trace {
            None => serve(stream, proxy).await,
            Some(trace) => serve(Watched::new(stream, trace.http2("←"), trace.http2("→")), proxy).await,
        }
    };
    (carrier, serving)
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, proxy: Arc<Proxy>) {
    let service = service_fn(move |request| {
        let proxy = Arc::clone(&proxy);
        async move { Ok::<_, std::convert::Infallible>(proxy.answer(request).await) }
    });
    let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    server
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection's HTTP/2 ended");
    }
}

/// One connection over its sockets, until it is over for good.
async fn line(shared: &Shared, carrier: Carrier, first: Line) -> Over {
    let Line { key, socket } = first;
    let within = RESUME_TRIES;
    let (mut socket, mut peer_received) = (socket, 0);
    loop {
        let (sink, stream) = split(socket, shared.options.trace.as_ref());
        let ended = carrier.run(sink, stream, peer_received).await;
        match ended {
            Ended::Closed(code, reason) => return verdict(code, reason),
            Ended::Finished => return Over::Lost("the connection was finished".to_owned()),
            Ended::Broken(_) | Ended::Replaced => {}
        }
        let mut attempt = 0;
        (socket, peer_received) = loop {
            if shared.stop.is_cancelled() {
                return Over::Stopped;
            }
            let frame = AgentFrame::Resume { carrier: key.clone(), received: carrier.received() };
            match dial(&shared.options, &frame).await {
                Ok((socket, EdgeFrame::Resumed { received })) => break (socket, received),
                Ok((_, other)) => return Over::Lost(format!("resumed was expected, {other:?} came")),
                Err(error @ TunnelError::Refused(_)) if !is_passing(&error) => return Over::Lost(error.to_string()),
                Err(error) if attempt >= within => return Over::Lost(error.to_string()),
                Err(_) => {}
            }
            let pause = shared.options.clock.sleep(shared.pause(attempt));
            if shared.stop.run_until_cancelled(pause).await.is_none() {
                return Over::Stopped;
            }
            attempt += 1;
        };
    }
}

/// Tries to resume before the session is opened anew: with the default pauses about two minutes, more than an edge waits.
const RESUME_TRIES: u32 = 12;

/// What a close says about connecting anew.
fn verdict(code: u16, reason: String) -> Over {
    match code {
        close::ENTITLEMENT_LOST | close::REMOVED | close::TAKEN_OVER | close::TOKEN_EXPIRED => {
            Over::Forbidden(TunnelError::Closed(code, reason))
        }
        _ => Over::Lost(reason),
    }
}
