//! The machine's side of a tunnel: it connects to the edge, takes requests from there, and asks the local program.
//!
//! ```text
//! edge ══ WebSocket ══▶ carrier ─▶ HTTP/2 server ─▶ proxy.rs ──▶ the local program
//!         breaks? dial.rs connects anew and             └▶ inspect/ ─▶ a page on this machine
//!         goes on where the bytes stopped
//! ```
//!
//! [`start`] opens a tunnel and keeps it open until [`Agent::stop`], or until the edge says that connecting anew won't
//! help. Requests under way survive a connection that breaks.

mod auth;
mod body;
mod connect;
mod dial;
mod inspect;
mod origin;
mod proxy;
mod redact;
mod session;
mod trace;
mod watched;

use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use contracts::PeerId;
use contracts::http::Problem;
use contracts::tunnels::TunnelView;
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

pub use auth::{BadCredentials, BasicAuth};
pub use inspect::{InspectError, InspectOptions, Inspector};
pub use origin::{HostHeader, Origin, Trust};
pub use redact::{REDACTED, Redaction};
pub use trace::Trace;

/// What an agent needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The edge: `https://tunnels.example.com`.
    pub edge: String,
    /// An access token.
    pub token: String,
    /// Who this agent is: the same agent gets the same tunnel again.
    pub agent_id: PeerId,
    /// Where subscription proofs for `agent_id` come from, where the edge demands them.
    pub prover: Option<Prover>,
    /// A vanity name.
    pub name: Option<String>,
    /// What the edge's operator sees: a program and its version.
    pub program: String,
    /// The local program.
    pub origin: Origin,
    /// Who may ask; the others get 401 and the program is not asked.
    pub auth: Option<BasicAuth>,
    /// The page that shows what goes through.
    pub inspector: Option<Inspector>,
    /// Gets a line for every frame.
    pub trace: Option<Trace>,
    /// How long a try to connect may take. Default 10 s.
    pub timeout: Duration,
    /// Shortest and longest pause between tries; they double from one to the other, with jitter. Default 0.1 s and 30 s.
    pub pauses: (Duration, Duration),
    /// Time.
    pub clock: Clock,
}

impl Options {
    /// The defaults for an agent of this id in front of `origin`.
    pub fn new(edge: impl Into<String>, token: impl Into<String>, agent_id: PeerId, origin: Origin) -> Self {
        Self {
            edge: edge.into(),
            token: token.into(),
            agent_id,
            prover: None,
            name: None,
            program: concat!("synapse-agent/", env!("CARGO_PKG_VERSION")).to_owned(),
            origin,
            auth: None,
            inspector: None,
            trace: None,
            timeout: Duration::from_secs(10),
            pauses: (Duration::from_millis(100), Duration::from_secs(30)),
            clock: Clock::system(),
        }
    }
}

/// A subscription proof and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// The proof.
    pub proof: String,
    /// When to get the next, Unix milliseconds.
    pub refresh_at_ms: u64,
}

type Proving = BoxFuture<'static, Result<Proved, String>>;

/// Gets a new proof each time it is asked. An error is a text for people; it is tried again.
#[derive(Clone)]
pub struct Prover(Arc<dyn Fn() -> Proving + Send + Sync>);

impl Prover {
    /// From a function that asks for a proof.
    pub fn new(prove: impl Fn() -> Proving + Send + Sync + 'static) -> Self {
        Self(Arc::new(prove))
    }
}

impl std::fmt::Debug for Prover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prover(…)")
    }
}

/// Why a tunnel could not be opened, or ended for good.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TunnelError {
    /// The edge refused; the problem says why.
    #[error("{}{}", .0.title, .0.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default())]
    Refused(Box<Problem>),
    /// The edge could not be reached or broke off.
    #[error("{0}")]
    Network(String),
    /// The local program can't be asked the way it was described.
    #[error("origin: {0}")]
    Origin(String),
    /// There is no proof to be had.
    #[error("no subscription proof: {0}")]
    NoProof(String),
    /// It is no edge, or one that speaks another protocol.
    #[error("the edge does not keep to the protocol: {0}")]
    Protocol(String),
    /// The edge ended the tunnel and said that connecting anew won't help.
    #[error("the edge closed the tunnel ({0}): {1}")]
    Closed(u16, String),
}

/// What happens in a tunnel.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request came.
    Began {
        /// Counts the agent's requests.
        number: u64,
        /// Its method.
        method: Method,
        /// Path and query.
        path: String,
        /// The inspector's page sent it, not the public.
        replay: bool,
    },
    /// Its answer began.
    Answered {
        /// Of which request.
        number: u64,
        /// The status.
        status: StatusCode,
        /// From the request's arrival to the answer's first line.
        took: Duration,
    },
}

/// Where a tunnel stands.
#[derive(Clone, Debug)]
pub enum Status {
    /// Requests come through; the time a ping takes is there once one was answered.
    Online {
        /// The tunnel.
        tunnel: TunnelView,
        /// From here to the edge and back.
        round_trip: Option<Duration>,
    },
    /// The connection broke; it is tried again.
    Reconnecting {
        /// What happened.
        reason: String,
    },
    /// It is over.
    Ended(Option<TunnelError>),
}

/// An open tunnel.
pub struct Agent {
    status: watch::Receiver<Status>,
    events: broadcast::Sender<Event>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// Exchanges that wait for a slow watcher; beyond that the oldest are skipped.
const EVENT_BUFFER: usize = 1_024;

/// Opens a tunnel; returns once it is open.
///
/// # Errors
/// When the first try fails; later ones are repeated.
pub async fn start(options: Options) -> Result<Agent, TunnelError> {
    let events = broadcast::Sender::new(EVENT_BUFFER);
    let stop = CancellationToken::new();
    let shared = Arc::new(session::Shared::try_new(options, events.clone(), stop.clone())?);
    let session = Box::pin(session::open(&shared)).await?;
    let (told, status) = watch::channel(Status::Online { tunnel: session.tunnel.clone(), round_trip: None });
    let task = tokio::spawn(session::keep(shared, session, told));
    Ok(Agent { status, events, stop, task })
}

impl Agent {
    /// Where it stands now, and from now on.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Requests as they begin and end. A watcher that is too slow misses some.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Closes the tunnel.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }

    /// Waits until the edge ends the tunnel for good, and says why.
    pub async fn ended(&self) -> Option<TunnelError> {
        let mut status = self.status.clone();
        let ended = status.wait_for(|status| matches!(status, Status::Ended(_))).await;
        match ended.as_deref() {
            Ok(Status::Ended(error)) => error.clone(),
            _ => None,
        }
    }
}
