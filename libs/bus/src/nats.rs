//! The bus on NATS: JetStream for events, core NATS for requests and signals.
//!
//! One stream holds all events, on subjects `synapse.event.<kind>.<partition>`; a key always falls into the same
//! partition. Each service has one durable consumer per partition, and one process at a time reads a partition, so
//! that the events of a key keep their order.

pub(crate) mod claims;
mod connect;
mod consume;
mod observe;
mod options;
mod partition;
mod publish;
mod replies;
mod requests;
mod settle;
mod signals;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_trait::async_trait;
use bytes::Bytes;
use clock::Clock;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use options::NatsOptions;

use crate::backend::{Backend, Capabilities, Deliveries, Requests, Signals, Subscribe};
use crate::{Bus, BusError, BusErrorKind, Envelope, Observation, Observe};

/// What every part of this backend needs.
pub(crate) struct Link {
    options: NatsOptions,
    client: async_nats::Client,
    jetstream: jetstream::Context,
    features: connect::Features,
    connected: tokio::sync::watch::Receiver<bool>,
    replies: replies::Replies,
    clock: Clock,
    /// Takes in nothing more.
    draining: CancellationToken,
    /// Everything ends.
    closed: CancellationToken,
    /// What drain waits for: consumers with unsettled events, requests without an answer.
    busy: TaskTracker,
}

impl Link {
    fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    fn check_open(&self) -> Result<(), BusError> {
        if self.draining.is_cancelled() {
            return Err(BusError::new(BusErrorKind::Closed, "the bus is closed"));
        }
        self.check_connected()
    }

    fn check_connected(&self) -> Result<(), BusError> {
        if !self.is_connected() {
            return Err(BusError::new(BusErrorKind::Unavailable, "not connected to NATS; reconnecting"));
        }
        Ok(())
    }

    /// Hands something to the client. Its queue stands still while the connection is gone; nobody waits for that.
    async fn hand_over<T>(&self, handing: impl Future<Output = Result<T, BusError>>) -> Result<T, BusError> {
        self.check_connected()?;
        tokio::select! {
            biased;
            result = handing => result,
            () = self.disconnected() => self.check_connected().and_then(|()| Err(broken())),
        }
    }

    /// Publishes without waiting for anything; acknowledgements go this way.
    async fn tell(&self, subject: &async_nats::Subject, payload: Bytes) -> Result<(), BusError> {
        let told = async {
            let told = self.client.publish(subject.clone(), payload).await;
            told.map_err(|error| failed("can't send", error))
        };
        self.hand_over(told).await
    }

    /// Waits until the server has seen all that was sent before.
    async fn round_trip(&self) -> Result<(), BusError> {
        let trip = self.clock.timeout(self.options.connect_timeout, self.replies.round_trip());
        let trip = async { trip.await.unwrap_or_else(|| Err(broken())) };
        self.hand_over(trip).await
    }

    /// Resolves once the connection is gone.
    async fn disconnected(&self) {
        let mut connected = self.connected.clone();
        let _ = connected.wait_for(|connected| !connected).await;
    }
}

/// The NATS backend; the SQS backend uses it for requests, signals and claims.
pub(crate) struct Nats {
    link: Arc<Link>,
    publisher: publish::Queue,
}

impl Bus {
    /// A bus on NATS with JetStream: connects, checks what the server can do and makes the streams.
    ///
    /// # Errors
    /// [`BusErrorKind::Unavailable`] when no server answers within the connect timeout; [`BusErrorKind::Unfit`]
    /// naming what the server lacks; [`BusErrorKind::Invalid`] for options out of range.
    pub async fn nats(options: NatsOptions, clock: Clock) -> Result<Self, BusError> {
        Ok(Self::new(Nats::connect(options, clock).await?))
    }
}

impl Nats {
    pub(crate) async fn connect(options: NatsOptions, clock: Clock) -> Result<Self, BusError> {
        options.check()?;
        let link = Arc::new(connect::connect(options, clock).await?);
        stream::ensure(&link).await?;
        let publisher = publish::start(&link);
        Ok(Self { link, publisher })
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.link.draining.cancel();
        self.link.closed.cancel();
    }
}

#[async_trait]
impl Backend for Nats {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "nats",
            durable: true,
            ordered_across_consumers: true,
            parallel_keys: self.link.features.pinned,
            broker_dedupe: true,
            atomic_batch: self.link.features.atomic,
            delayed_redelivery: true,
            replay_for_new_subscribers: true,
            max_inline_bytes: self.link.options.max_inline_bytes,
        }
    }

    fn publish(&self, batch: Vec<Envelope>) -> Vec<BoxFuture<'static, Result<(), BusError>>> {
        self.publisher.publish(&self.link, batch)
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<Deliveries, BusError> {
        consume::subscribe(&self.link, subscribe).await
    }

    async fn request(&self, envelope: Envelope, timeout: Duration) -> Result<Bytes, BusError> {
        requests::request(&self.link, envelope, timeout).await
    }

    async fn serve(&self, service: &str, kinds: &[&str], max_in_flight: usize) -> Result<Requests, BusError> {
        requests::serve(&self.link, service, kinds, max_in_flight).await
    }

    async fn signal(&self, address: &str, envelope: Envelope) -> Result<(), BusError> {
        signals::signal(&self.link, address, &envelope).await
    }

    async fn listen(
        &self,
        kind: &str,
        address: Option<&str>,
        group: Option<&str>,
        buffer: usize,
    ) -> Result<Signals, BusError> {
        signals::listen(&self.link, kind, address, group, buffer).await
    }

    async fn observe(&self, options: Observe) -> Result<Observation, BusError> {
        observe::observe(&self.link, options).await
    }

    fn is_connected(&self) -> bool {
        self.link.is_connected()
    }

    async fn drain(&self, deadline: Duration) {
        self.link.draining.cancel();
        self.link.busy.close();
        if self.link.clock.timeout(deadline, self.link.busy.wait()).await.is_none() {
            tracing::warn!(deadline_ms = deadline.as_millis(), "closing the bus although not everything was settled");
        }
        // Acknowledgements and replies may be on their way; a dead server must not hold this up.
        let _ = self.link.clock.timeout(Duration::from_secs(1), self.link.round_trip()).await;
        self.link.closed.cancel();
    }
}

fn broken() -> BusError {
    BusError::new(BusErrorKind::Unavailable, "the connection to NATS broke")
}

/// A JetStream answer that says no, or no answer at all.
fn failed(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> BusError {
    BusError::new(BusErrorKind::Unavailable, format!("{what}: {error}")).with_source(error)
}
