use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use clock::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, watch};

use crate::link::Link;

/// How a carrier behaves; both ends should agree on `window_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Most unacknowledged bytes per direction, kept for the next connection. Default 1 MiB.
    pub window_bytes: usize,
    /// How often a ping is sent. Default 5 s.
    pub ping_every: Duration,
    /// A connection on which nothing came for so long is broken. Default 15 s.
    pub dead_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { window_bytes: 1 << 20, ping_every: Duration::from_secs(5), dead_after: Duration::from_secs(15) }
    }
}

/// What a carrier has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes taken from the writer.
    pub written: u64,
    /// Bytes handed to the reader.
    pub read: u64,
    /// Connections it ran over.
    pub connections: u64,
    /// The last answer to a ping took this long.
    pub round_trip: Option<Duration>,
}

/// One end of a carrier: what its connections run through. Cheap to clone.
#[derive(Clone)]
pub struct Carrier {
    pub(crate) shared: Arc<Shared>,
}

/// The bytes of one end; reads end when the carrier is closed.
pub struct CarrierStream {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) state: Mutex<State>,
    /// Something may be sent.
    pub(crate) outgoing: Notify,
    /// Counts connections: an older one ends when a newer one begins.
    pub(crate) connection: watch::Sender<u64>,
    /// Connections that run; two only for the moment in which one replaces the other.
    pub(crate) running: AtomicUsize,
    /// Whether it is closed.
    pub(crate) over: watch::Sender<bool>,
}

pub(crate) struct State {
    pub(crate) link: Link,
    pub(crate) round_trip: Option<Duration>,
    /// The ping whose answer is awaited, and when it was sent.
    pub(crate) pinged: Option<(u64, Duration)>,
    pub(crate) closed: Option<Closed>,
    /// The stream was shut down or dropped here.
    pub(crate) finished: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Why a carrier is over.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

/// A carrier and its stream.
pub fn pair(options: Options, clock: Clock) -> (Carrier, CarrierStream) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            link: Link::new(options.window_bytes),
            round_trip: None,
            pinged: None,
            closed: None,
            finished: false,
            reader: None,
            writer: None,
        }),
        options,
        clock,
        outgoing: Notify::new(),
        connection: watch::Sender::new(0),
        running: AtomicUsize::new(0),
        over: watch::Sender::new(false),
    });
    (Carrier { shared: Arc::clone(&shared) }, CarrierStream { shared })
}

impl Shared {
    /// Ends it for good; the first reason stands.
    pub(crate) fn close(&self, closed: Closed) {
        let mut state = self.lock();
        state.closed.get_or_insert(closed);
        state.wake_reader();
        state.wake_writer();
        drop(state);
        self.over.send_replace(true);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn wake_reader(&mut self) {
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    pub(crate) fn wake_writer(&mut self) {
        self.writer.take().into_iter().for_each(Waker::wake);
    }

    fn error(&self) -> Option<io::Error> {
        let closed = self.closed.as_ref()?;
        let text = format!("the carrier was closed with {}: {}", closed.code, closed.reason);
        Some(io::Error::new(io::ErrorKind::ConnectionAborted, text))
    }
}

impl Carrier {
    /// How many bytes came so far: what the other side needs to know for the next connection.
    pub fn received(&self) -> u64 {
        self.shared.lock().link.received()
    }

    /// Ends it for good: what waits is dropped, reads and writes fail, the other side is told if it is connected.
    pub fn close(&self, code: u16, reason: &str) {
        self.shared.close(Closed { code, reason: reason.to_owned() });
        self.shared.outgoing.notify_one();
    }

    /// Waits until it is over for good.
    pub async fn ended(&self) {
        // The sender lives in `self`, so the wait can only end because it is over.
        let _ = self.shared.over.subscribe().wait_for(|over| *over).await;
    }

    /// Whether it ended, and with what code and reason.
    pub fn closed(&self) -> Option<(u16, String)> {
        self.shared.lock().closed.as_ref().map(|closed| (closed.code, closed.reason.clone()))
    }

    /// Whether a connection runs right now.
    pub fn is_connected(&self) -> bool {
        self.shared.running.load(Ordering::Relaxed) > 0
    }

    /// Whether the other side has taken in everything that was written here.
    pub fn is_settled(&self) -> bool {
        self.shared.lock().link.is_settled()
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        let connections = *self.shared.connection.borrow();
        let state = self.shared.lock();
        let (written, read) = (state.link.written(), state.link.read_bytes());
        Stats { written, read, connections, round_trip: state.round_trip }
    }
}

impl AsyncRead for CarrierStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        if let Some(bytes) = state.link.take(buf.remaining()) {
            buf.put_slice(&bytes);
            drop(state);
            // What was read may be acknowledged now.
            self.shared.outgoing.notify_one();
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = state.error() {
            return Poll::Ready(Err(error));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for CarrierStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.shared.lock();
        if let Some(error) = state.error() {
            return Poll::Ready(Err(error));
        }
        let taken = state.link.write(buf);
        if taken > 0 || buf.is_empty() {
            drop(state);
            self.shared.outgoing.notify_one();
            return Poll::Ready(Ok(taken));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The layer above has said its own goodbye; the carrier ends when that has gone out.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.lock().finished = true;
        self.shared.outgoing.notify_one();
        Poll::Ready(Ok(()))
    }
}

impl Drop for CarrierStream {
    fn drop(&mut self) {
        self.shared.lock().finished = true;
        self.shared.outgoing.notify_one();
    }
}
