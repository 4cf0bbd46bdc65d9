//! The bus with events on SQS: one FIFO queue per subscribing service, written by the relay, since SQS has no
//! fan-out. Requests, signals and large payloads stay on NATS.

mod calls;
mod options;
mod queues;
mod receive;
mod send;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::Clock;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use options::SqsOptions;

use crate::backend::{Backend, Capabilities, Deliveries, Requests, Signals, Subscribe};
use crate::nats::{Link, Nats};
use crate::{Bus, BusError, BusErrorKind, Envelope, Observation, Observe};

/// What every part of this backend needs.
struct Sqs {
    options: SqsOptions,
    client: aws_sdk_sqs::Client,
    /// Where large payloads go.
    claims: Arc<Link>,
    clock: Clock,
    draining: CancellationToken,
    closed: CancellationToken,
    busy: TaskTracker,
}

struct SqsBackend {
    sqs: Arc<Sqs>,
    sender: send::Sender,
    nats: Nats,
}

impl Bus {
    /// A bus with events on SQS FIFO and everything else on NATS: connects to both and checks the queues.
    ///
    /// # Errors
    /// As [`Bus::nats`]; [`BusErrorKind::Unfit`] naming a queue that is missing or not FIFO.
    pub async fn sqs(options: SqsOptions, clock: Clock) -> Result<Self, BusError> {
        options.check()?;
        let nats = Nats::connect(options.nats.clone(), clock.clone()).await?;
        let sqs = Arc::new(Sqs {
            client: options.client().await,
            claims: Arc::clone(nats.link()),
            options,
            clock,
            draining: CancellationToken::new(),
            closed: CancellationToken::new(),
            busy: TaskTracker::new(),
        });
        let sender = send::Sender::start(&sqs).await?;
        Ok(Self::new(SqsBackend { sqs, sender, nats }))
    }
}

/// See [`SqsOptions::is_emulator`].
static EMULATOR: Semaphore = Semaphore::const_new(1);

impl Sqs {
    /// The turn of one call; immediate at SQS itself.
    async fn turn(&self) -> Option<SemaphorePermit<'static>> {
        if self.options.is_emulator { EMULATOR.acquire().await.ok() } else { None }
    }

    fn check_open(&self) -> Result<(), BusError> {
        if self.draining.is_cancelled() {
            return Err(BusError::new(BusErrorKind::Closed, "the bus is closed"));
        }
        Ok(())
    }
}

impl Drop for SqsBackend {
    fn drop(&mut self) {
        self.sqs.draining.cancel();
        self.sqs.closed.cancel();
    }
}

#[async_trait]
impl Backend for SqsBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "sqs",
            durable: true,
            ordered_across_consumers: true,
            parallel_keys: true,
            broker_dedupe: true,
            atomic_batch: false,
            delayed_redelivery: true,
            replay_for_new_subscribers: false,
            max_inline_bytes: self.sqs.options.max_inline_bytes,
        }
    }

    fn publish(&self, batch: Vec<Envelope>) -> Vec<BoxFuture<'static, Result<(), BusError>>> {
        self.sender.publish(&self.sqs, batch)
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<Deliveries, BusError> {
        receive::subscribe(&self.sqs, subscribe).await
    }

    async fn request(&self, envelope: Envelope, timeout: Duration) -> Result<Bytes, BusError> {
        self.nats.request(envelope, timeout).await
    }

    async fn serve(&self, service: &str, kinds: &[&str], max_in_flight: usize) -> Result<Requests, BusError> {
        self.nats.serve(service, kinds, max_in_flight).await
    }

    async fn signal(&self, address: &str, envelope: Envelope) -> Result<(), BusError> {
        self.nats.signal(address, envelope).await
    }

    async fn listen(
        &self,
        kind: &str,
        address: Option<&str>,
        group: Option<&str>,
        buffer: usize,
    ) -> Result<Signals, BusError> {
        self.nats.listen(kind, address, group, buffer).await
    }

    /// Requests and signals; what goes to a queue can be read by its service alone.
    async fn observe(&self, options: Observe) -> Result<Observation, BusError> {
        self.nats.observe(Observe { events: false, ..options }).await
    }

    fn is_connected(&self) -> bool {
        // SQS has no connection to lose; its calls fail one by one.
        self.nats.is_connected()
    }

    async fn drain(&self, deadline: Duration) {
        self.sqs.draining.cancel();
        self.sqs.busy.close();
        let settled = self.sqs.clock.timeout(deadline, self.sqs.busy.wait());
        let (settled, ()) = tokio::join!(settled, self.nats.drain(deadline));
        if settled.is_none() {
            tracing::warn!(deadline_ms = deadline.as_millis(), "closing the bus although not everything was settled");
        }
        self.sqs.closed.cancel();
    }
}

fn failed(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> BusError {
    let detail = format!("{what}: {}", aws_sdk_sqs::error::DisplayErrorContext(&error));
    BusError::new(BusErrorKind::Unavailable, detail).with_source(error)
}
