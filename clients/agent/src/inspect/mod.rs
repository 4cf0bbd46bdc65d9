//! A page on this machine that shows what goes through tunnels, and sends it again.
//!
//! ```text
//! edge ──▶ proxy.rs ══ the bytes, at once ══▶ the local program
//!              └─ recording.rs (a copy, bounded) ─▶ book.rs ─▶ view.rs, har.rs ─▶ http.rs ─▶ the browser
//! ```
//!
//! Bodies are copied as they pass, never held up. What is kept is bounded ([`InspectOptions`]): the oldest exchange goes
//! first. Only loopback can reach the page, by names of this machine (against DNS rebinding), and only the page itself
//! may change anything or see secrets (a token of each start).

mod book;
mod decode;
mod events;
mod frames;
mod guard;
mod har;
mod http;
mod recording;
mod view;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use ::http::{HeaderMap, Method, Uri};
use bytes::Bytes;
use clock::{Clock, Entropy};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::origin::Origin;
use crate::proxy::Proxy;
use crate::redact::Redaction;
use book::Book;

pub(crate) use recording::{Recording, Tap};

/// How much the page keeps, and where it is.
#[derive(Clone, Debug)]
pub struct InspectOptions {
    /// Where it listens; loopback alone. The next ports are tried where this one is taken. Default 127.0.0.1:4040.
    pub listen: SocketAddr,
    /// Most exchanges. Default 500.
    pub max_exchanges: usize,
    /// Most bytes of all exchanges together: bodies, messages, headers. Default 64 MiB.
    pub max_bytes: usize,
    /// Most bytes of one body, and of one exchange's messages. Default 1 MiB; `max_bytes` must hold four.
    pub max_body_bytes: usize,
    /// What is secret.
    pub redaction: Redaction,
    /// How long a replay's answer is read. Default 60 s.
    pub replay_limit: Duration,
    /// Time.
    pub clock: Clock,
}

impl Default for InspectOptions {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 4040).into(),
            max_exchanges: 500,
            max_bytes: 64 << 20,
            max_body_bytes: 1 << 20,
            redaction: Redaction::default(),
            replay_limit: Duration::from_secs(60),
            clock: Clock::system(),
        }
    }
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The page shows what is meant for this machine's user.
    #[error("{0} is not this machine alone; the page listens on loopback (127.0.0.1 or [::1]) only")]
    NotLoopback(SocketAddr),
    /// Nothing could be kept.
    #[error("{max_bytes} bytes in all must hold one exchange at least, four times a body's {max_body_bytes}")]
    TooSmall {
        /// As given.
        max_bytes: usize,
        /// As given.
        max_body_bytes: usize,
    },
    /// No port to be had.
    #[error("ports {0} to {1} are all taken, or may not be used: {2}")]
    NoPort(u16, u16, std::io::Error),
}

/// Ports that are tried.
const PORTS: u16 = 20;
/// Changes that wait for a slow page; one that misses some reads everything anew.
const CHANGES: usize = 1_024;
/// Replays under way at once.
const REPLAYS: usize = 16;
/// Pages that watch at once.
const WATCHERS: usize = 32;

/// The page. Give a clone to every tunnel that it should show; it ends with the last of them.
#[derive(Clone)]
pub struct Inspector {
    inner: Arc<Inner>,
    _stop: Arc<DropGuard>,
}

pub(crate) struct Inner {
    options: InspectOptions,
    address: SocketAddr,
    /// Proves to the page's own server that a call comes from the page.
    token: String,
    book: Mutex<Book>,
    sources: Mutex<Vec<Source>>,
    changes: broadcast::Sender<u64>,
    replays: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    stop: CancellationToken,
}

/// A tunnel that is shown.
struct Source {
    origin: String,
    urls: Vec<String>,
    proxy: Weak<Proxy>,
}

impl Inspector {
    /// Opens the page.
    ///
    /// # Errors
    /// When the options can't be, or no port is free.
    pub async fn start(options: InspectOptions) -> Result<Self, InspectError> {
        if !options.listen.ip().is_loopback() {
            return Err(InspectError::NotLoopback(options.listen));
        }
        let (max_bytes, max_body_bytes) = (options.max_bytes, options.max_body_bytes);
        if max_bytes / 4 < max_body_bytes || options.max_exchanges == 0 {
            return Err(InspectError::TooSmall { max_bytes, max_body_bytes });
        }
        let listener = bind(options.listen).await?;
        let address = listener.local_addr().map_err(|error| InspectError::NoPort(options.listen.port(), 0, error))?;
        let mut secret = [0; 16];
        Entropy::system().fill(&mut secret);
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner {
            address,
            token: secret.iter().map(|byte| format!("{byte:02x}")).collect(),
            book: Mutex::new(Book::new(options.max_exchanges, max_bytes)),
            sources: Mutex::new(Vec::new()),
            changes: broadcast::Sender::new(CHANGES),
            replays: Arc::new(Semaphore::new(REPLAYS)),
            watchers: Arc::new(Semaphore::new(WATCHERS)),
            stop: stop.clone(),
            options,
        });
        tokio::spawn(http::serve(listener, Arc::clone(&inner)));
        Ok(Self { inner, _stop: Arc::new(stop.drop_guard()) })
    }

    /// Where the page is.
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    pub(crate) fn attach(&self, origin: &Origin, proxy: Weak<Proxy>) -> Attached {
        let mut sources = lock(&self.inner.sources);
        sources.push(Source { origin: origin.url(), urls: Vec::new(), proxy });
        Attached { inspector: self.clone(), source: sources.len() - 1 }
    }
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inspector({})", self.inner.address)
    }
}

async fn bind(wanted: SocketAddr) -> Result<TcpListener, InspectError> {
    let first = wanted.port();
    let last = if first == 0 { 0 } else { first.saturating_add(PORTS - 1) };
    let mut failed = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    for port in first..=last {
        match TcpListener::bind((wanted.ip(), port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(InspectError::NoPort(first, last, failed))
}

/// A tunnel's access to the page.
pub(crate) struct Attached {
    inspector: Inspector,
    source: usize,
}

/// A request as it came from the edge.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    /// What it wants to switch to.
    pub(crate) protocol: Option<&'a str>,
    pub(crate) replay_of: Option<u64>,
}

/// A request to send again.
pub(crate) struct Edited {
    pub(crate) of: u64,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Attached {
    pub(crate) fn opened(&self, urls: &[String]) {
        if let Some(source) = lock(&self.inspector.inner.sources).get_mut(self.source) {
            source.urls = urls.to_vec();
        }
    }

    pub(crate) fn begin(&self, asked: &Asked<'_>) -> Recording {
        Recording::begin(Arc::clone(&self.inspector.inner), self.source, asked)
    }
}

impl Inner {
    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    fn changed(&self, id: u64) {
        // Nobody looks: nothing to do.
        let _ = self.changes.send(id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}
