//! The bus inside one process. Events live in memory: the outbox's row goes only when every subscriber has settled
//! the event, so a crash loses nothing.

mod events;
mod group;
mod requests;
mod signals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::Clock;
use futures::future::BoxFuture;

use crate::backend::{Backend, Capabilities, Deliveries, Requests, Signals, Subscribe};
use crate::observe::{Observation, Observe, Observed, Watchers};
use crate::{Bus, BusError, BusErrorKind, Envelope};

/// Limits of the embedded bus.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Most events that wait for one subscribing service; a publish beyond it fails with `Full`. Default 8,192.
    pub queue_capacity: usize,
    /// How long a publish waits for every subscriber to settle before it fails with `Unavailable`. The event stays
    /// queued, and publishing it again only waits for it again. Default 30 s.
    pub settle_within: Duration,
    /// Largest payload in bytes. Default 8 MiB.
    pub max_payload_bytes: usize,
    /// Which services subscribe to a kind, instead of the generated topology; for tests. Services that really
    /// subscribed are always added. Default `None`: the topology.
    pub routes: Option<BTreeMap<String, Vec<String>>>,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            queue_capacity: 8_192,
            settle_within: Duration::from_secs(30),
            max_payload_bytes: 8 * 1024 * 1024,
            routes: None,
        }
    }
}

impl EmbeddedOptions {
    fn routes(&self, kind: &str) -> BTreeSet<String> {
        match &self.routes {
            None => contracts::topology::subscribers(kind).iter().cloned().collect(),
            Some(routes) => routes.get(kind).into_iter().flatten().cloned().collect(),
        }
    }
}

impl Bus {
    /// A bus inside this process. Leases, delays and limits follow `clock`.
    pub fn embedded(options: EmbeddedOptions, clock: Clock) -> Self {
        let max_payload_bytes = options.max_payload_bytes;
        let watchers = Arc::<Watchers>::default();
        Self::new(Embedded {
            max_payload_bytes,
            events: Arc::new(events::Events::new(options, clock.clone(), Arc::clone(&watchers))),
            watchers,
            requests: requests::Servers::new(clock.clone(), max_payload_bytes),
            signals: signals::Listeners::default(),
            clock,
        })
    }
}

struct Embedded {
    events: Arc<events::Events>,
    requests: requests::Servers,
    signals: signals::Listeners,
    watchers: Arc<Watchers>,
    clock: Clock,
    max_payload_bytes: usize,
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.events.close();
        self.requests.close();
        self.signals.close();
        self.watchers.close();
    }
}

#[async_trait]
impl Backend for Embedded {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "embedded",
            durable: false,
            ordered_across_consumers: true,
            parallel_keys: true,
            broker_dedupe: false,
            atomic_batch: false,
            delayed_redelivery: true,
            replay_for_new_subscribers: false,
            max_inline_bytes: self.max_payload_bytes,
        }
    }

    fn publish(&self, batch: Vec<Envelope>) -> Vec<BoxFuture<'static, Result<(), BusError>>> {
        events::publish(&self.events, batch)
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<Deliveries, BusError> {
        events::subscribe(&self.events, subscribe)
    }

    async fn request(&self, envelope: Envelope, timeout: Duration) -> Result<Bytes, BusError> {
        let wants = |options: Observe| options.requests;
        if !self.watchers.any(wants) {
            return self.requests.request(envelope, timeout).await;
        }
        self.watchers.show(wants, &Observed::Request(Ok(envelope.clone())));
        let request = Box::new(envelope.clone());
        let data = self.requests.request(envelope, timeout).await?;
        self.watchers.show(wants, &Observed::Reply { request, data: data.clone() });
        Ok(data)
    }

    async fn serve(&self, service: &str, kinds: &[&str], max_in_flight: usize) -> Result<Requests, BusError> {
        self.requests.serve(service, kinds, max_in_flight)
    }

    async fn signal(&self, address: &str, envelope: Envelope) -> Result<(), BusError> {
        check_size(&envelope, self.max_payload_bytes)?;
        let wants = |options: Observe| options.signals;
        if self.watchers.any(wants) {
            let observed = Observed::Signal { address: address.to_owned(), incoming: Ok(envelope.clone()) };
            self.watchers.show(wants, &observed);
        }
        self.signals.signal(address, envelope)
    }

    async fn listen(
        &self,
        kind: &str,
        address: Option<&str>,
        group: Option<&str>,
        buffer: usize,
    ) -> Result<Signals, BusError> {
        self.signals.listen(kind, address, group, buffer)
    }

    async fn observe(&self, options: Observe) -> Result<Observation, BusError> {
        if self.events.is_closed() {
            return Err(BusError::new(BusErrorKind::Closed, "the bus is closed"));
        }
        let (watcher, observation) = Observation::channel(options, options.events);
        self.watchers.add(watcher);
        Ok(observation)
    }

    fn is_connected(&self) -> bool {
        !self.events.is_closed()
    }

    async fn drain(&self, deadline: Duration) {
        self.signals.close();
        let settled = async {
            tokio::join!(self.events.drain(), self.requests.drain());
        };
        if self.clock.timeout(deadline, settled).await.is_none() {
            tracing::warn!(deadline_ms = deadline.as_millis(), "closing the bus although not everything was settled");
        }
        self.events.close();
        self.watchers.close();
    }
}

fn check_size(envelope: &Envelope, most: usize) -> Result<(), BusError> {
    let size = envelope.data.len();
    if size <= most {
        return Ok(());
    }
    Err(BusError::new(BusErrorKind::Invalid, format!("data: {size} bytes; at most {most} are allowed")))
}
