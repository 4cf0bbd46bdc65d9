use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::backend::{Backend, Capabilities, Deliveries, Requests, Signals, Subscribe};
use crate::{BusError, Envelope, Observation, Observe};

/// A handle to the bus, whichever backend it runs on. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    backend: Arc<dyn Backend>,
}

impl Bus {
    /// A bus on this backend.
    pub fn new(backend: impl Backend) -> Self {
        Self { backend: Arc::new(backend) }
    }

    /// What the backend truly guarantees.
    pub fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    /// The way for events out of an outbox. Nobody else may call it: `cargo xtask check` refuses it elsewhere.
    pub fn publisher(&self) -> Publisher {
        Publisher { backend: Arc::clone(&self.backend) }
    }

    /// Starts consuming events.
    ///
    /// # Errors
    /// When the broker can't be reached or lacks what is needed.
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<Deliveries, BusError> {
        self.backend.subscribe(subscribe).await
    }

    /// Asks the owner of the envelope's kind and waits for the reply's payload. Prefer [`Bus::ask`].
    ///
    /// # Errors
    /// Timeout, nobody serving, or no way to the broker.
    pub async fn request(&self, envelope: Envelope, timeout: Duration) -> Result<Bytes, BusError> {
        self.backend.request(envelope, timeout).await
    }

    /// Serves request kinds. Prefer [`crate::serve`].
    ///
    /// # Errors
    /// When the broker can't be reached.
    pub async fn requests(&self, service: &str, kinds: &[&str], max_in_flight: usize) -> Result<Requests, BusError> {
        self.backend.serve(service, kinds, max_in_flight).await
    }

    /// Sends an ephemeral message to whoever listens at `address` now.
    ///
    /// # Errors
    /// When it could not even be handed over. Success does not mean that anybody heard it.
    pub async fn signal(&self, address: &str, envelope: Envelope) -> Result<(), BusError> {
        self.backend.signal(address, envelope).await
    }

    /// Listens for signals; see [`Backend::listen`].
    ///
    /// # Errors
    /// When the broker can't be reached.
    pub async fn listen(
        &self,
        kind: &str,
        address: Option<&str>,
        group: Option<&str>,
        buffer: usize,
    ) -> Result<Signals, BusError> {
        self.backend.listen(kind, address, group, buffer).await
    }

    /// Looks on: everything of the chosen sorts that travels from now on, taken from nobody, acknowledged by nobody.
    ///
    /// # Errors
    /// When the broker can't be reached, or the backend has no such view.
    pub async fn observe(&self, options: Observe) -> Result<Observation, BusError> {
        self.backend.observe(options).await
    }

    /// Whether the broker can be reached right now.
    pub fn is_connected(&self) -> bool {
        self.backend.is_connected()
    }

    /// Stops taking in, lets what is in flight settle until `deadline`, closes.
    pub async fn drain(&self, deadline: Duration) {
        self.backend.drain(deadline).await;
    }
}

/// Publishes events that an outbox holds.
#[derive(Clone)]
pub struct Publisher {
    backend: Arc<dyn Backend>,
}

impl Publisher {
    /// See [`Backend::publish`].
    pub fn publish(&self, batch: Vec<Envelope>) -> Vec<BoxFuture<'static, Result<(), BusError>>> {
        self.backend.publish(batch)
    }
}
