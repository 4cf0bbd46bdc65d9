use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::observe::{Observation, Observe};
use crate::ring::Ring;
use crate::{BusError, BusErrorKind, Envelope};

/// What a backend truly guarantees. The conformance suite proves each `true` and, for each `false`, shows the lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// `nats`, `sqs` or `embedded`.
    pub name: &'static str,
    /// Events survive a crash of this process inside the broker (embedded: only the outbox holds them).
    pub durable: bool,
    /// Events of one key arrive in order even while several processes of a service consume.
    pub ordered_across_consumers: bool,
    /// A key that waits for its redelivery holds up no other key.
    pub parallel_keys: bool,
    /// The broker drops a second publish of the same id for a while.
    pub broker_dedupe: bool,
    /// The broker stores several events all together or not at all: those of keys that have several waiting go so, at
    /// full speed.
    pub atomic_batch: bool,
    /// A negative acknowledgement may ask for a delay.
    pub delayed_redelivery: bool,
    /// Subscribers that first come up later still get earlier events.
    pub replay_for_new_subscribers: bool,
    /// Largest payload sent inline, bytes; larger ones go by claim check.
    pub max_inline_bytes: usize,
}

/// What to consume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The subscribing service; its processes share the work.
    pub service: String,
    /// Which kinds.
    pub kinds: Vec<String>,
    /// Most unsettled deliveries at once, per process. Default of services: 256.
    pub max_in_flight: usize,
    /// How long a delivery may stay unsettled and unextended before it is delivered again.
    pub lease: Duration,
}

/// What a broker must do. Object-safe: one backend is chosen at start.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// What it truly guarantees.
    fn capabilities(&self) -> Capabilities;

    /// Stores events for every subscribing service. One future per envelope, in the same order; each resolves when
    /// that envelope is safe with the broker (embedded: when every subscriber has settled it). Envelopes of one key
    /// are stored in the order given; after one fails, later ones of its key in the same call fail too.
    fn publish(&self, batch: Vec<Envelope>) -> Vec<BoxFuture<'static, Result<(), BusError>>>;

    /// Starts consuming.
    async fn subscribe(&self, subscribe: Subscribe) -> Result<Deliveries, BusError>;

    /// Asks and waits for the reply's payload.
    async fn request(&self, envelope: Envelope, timeout: Duration) -> Result<Bytes, BusError>;

    /// Starts serving request kinds; processes of one service share them. At most `max_in_flight` unanswered.
    async fn serve(&self, service: &str, kinds: &[&str], max_in_flight: usize) -> Result<Requests, BusError>;

    /// Sends to whoever listens at `address` now.
    async fn signal(&self, address: &str, envelope: Envelope) -> Result<(), BusError>;

    /// Listens for signals of `kind` at `address` (`None`: at every address). Listeners with the same `group` share
    /// them; without a group each gets all. At most `buffer` wait; beyond that the oldest are dropped and counted.
    async fn listen(
        &self,
        kind: &str,
        address: Option<&str>,
        group: Option<&str>,
        buffer: usize,
    ) -> Result<Signals, BusError>;

    /// Looks on without taking part: nobody gets less for it, and nothing stays behind.
    async fn observe(&self, options: Observe) -> Result<Observation, BusError> {
        let _ = options;
        let detail = format!("{}: nobody can look on here", self.capabilities().name);
        Err(BusError::new(BusErrorKind::Unfit, detail))
    }

    /// Whether the broker can be reached right now.
    fn is_connected(&self) -> bool;

    /// Stops taking in, lets what is in flight settle until `deadline`, closes.
    async fn drain(&self, deadline: Duration);
}

/// Events on their way to a consumer.
#[derive(Debug)]
pub struct Deliveries {
    pub(crate) receiver: mpsc::Receiver<Delivery>,
}

impl Deliveries {
    /// Deliveries that a backend sends through the channel's other end.
    pub fn new(receiver: mpsc::Receiver<Delivery>) -> Self {
        Self { receiver }
    }

    /// The next delivery; `None` once the bus is closed and everything was handed out.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.receiver.recv().await
    }
}

/// One event, to be settled exactly once. Dropped unsettled, it comes again when its lease ends.
pub struct Delivery {
    /// What came.
    pub incoming: Incoming,
    /// How often it was delivered, this time included, as far as the broker knows.
    pub attempt: u32,
    pub(crate) settle: Box<dyn Settle>,
}

/// What came: an envelope, or something that is none.
pub type Incoming = Result<Envelope, Malformed>;

/// A message that is not a CloudEvent of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Which attribute breaks which rule.
    pub reason: String,
    /// What came, at most the first 64 KiB.
    pub raw: Bytes,
}

/// How a backend settles a delivery.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Done: never again.
    async fn ack(&self) -> Result<(), BusError>;
    /// Again, not before `delay` has passed.
    async fn nak(&self, delay: Duration) -> Result<(), BusError>;
    /// Never again, for this reason.
    async fn term(&self, reason: &str) -> Result<(), BusError>;
    /// Still at it: the lease starts anew.
    async fn extend(&self) -> Result<(), BusError>;
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("incoming", &self.incoming).field("attempt", &self.attempt).finish()
    }
}

impl Delivery {
    /// A delivery that is settled through `settle`.
    pub fn new(incoming: Incoming, attempt: u32, settle: Box<dyn Settle>) -> Self {
        Self { incoming, attempt, settle }
    }

    /// Done: never again.
    ///
    /// # Errors
    /// When the broker can't be told; the event will come again and the inbox will know it.
    pub async fn ack(self) -> Result<(), BusError> {
        self.settle.ack().await
    }

    /// Again, not before `delay` has passed.
    ///
    /// # Errors
    /// When the broker can't be told; it will come again when its lease ends.
    pub async fn nak(self, delay: Duration) -> Result<(), BusError> {
        self.settle.nak(delay).await
    }

    /// Never again, for this reason.
    ///
    /// # Errors
    /// When the broker can't be told; it will come again.
    pub async fn term(self, reason: &str) -> Result<(), BusError> {
        self.settle.term(reason).await
    }

    /// Still at it: the lease starts anew. Call it each third of the lease.
    ///
    /// # Errors
    /// When the broker can't be told.
    pub async fn extend(&self) -> Result<(), BusError> {
        self.settle.extend().await
    }
}

/// Requests on their way to their owner.
#[derive(Debug)]
pub struct Requests {
    pub(crate) receiver: mpsc::Receiver<IncomingRequest>,
}

impl Requests {
    /// The next request; `None` once the bus is closed.
    pub async fn next(&mut self) -> Option<IncomingRequest> {
        self.receiver.recv().await
    }
}

/// One request. Dropped unanswered, its sender sees a timeout.
#[derive(Debug)]
pub struct IncomingRequest {
    /// What is asked; `expires_at_ms` is the asker's deadline.
    pub incoming: Incoming,
    pub(crate) reply: oneshot::Sender<Bytes>,
}

impl IncomingRequest {
    /// Answers. An asker that went away meanwhile is no error.
    pub fn respond(self, data: Bytes) {
        let _ = self.reply.send(data);
    }
}

/// Signals on their way to a listener.
#[derive(Debug)]
pub struct Signals {
    pub(crate) ring: Arc<Ring>,
}

impl Signals {
    /// Signals that come from elsewhere, at most `buffer` waiting; what feeds them says whether somebody still listens.
    pub fn fed(buffer: usize) -> (impl Fn(Envelope) -> bool + Send + Sync + 'static, Self) {
        let ring = Ring::new(buffer, metrics::Counter::noop());
        let feed = Arc::clone(&ring);
        (move |envelope| feed.push(envelope), Self { ring })
    }

    /// The next signal; `None` once the bus is closed.
    pub async fn next(&mut self) -> Option<Envelope> {
        self.ring.next().await
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.ring.close();
    }
}

/// Longest address of a signal in bytes: encoded (three bytes for one) it still fits a subject.
const MAX_ADDRESS: usize = 256;

pub(crate) fn check_address(address: &str) -> Result<(), BusError> {
    if (1..=MAX_ADDRESS).contains(&address.len()) {
        return Ok(());
    }
    let detail = format!("address: {} bytes; it has 1 to {MAX_ADDRESS}", address.len());
    Err(BusError::new(BusErrorKind::Invalid, detail))
}
