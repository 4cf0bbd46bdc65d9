//! A bus between the verifier and the real services that changes what goes through it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bus::{
    Backend, Bus, BusError, Capabilities, Deliveries, Envelope, Observation, Observe, Observed, Requests, Signals,
    Subscribe, Watcher,
};
use bytes::Bytes;
use clock::Clock;
use futures::future::BoxFuture;
use serde_json::Value;

type Change<A, B> = Box<dyn Fn(A) -> B + Send + Sync>;
type Answering = Box<dyn Fn(&Envelope, Bytes) -> Bytes + Send + Sync>;
type MakingUp = Box<dyn Fn(&Envelope, &Bytes) -> Option<Envelope> + Send + Sync>;

/// What goes wrong on the way. Nothing by default.
pub(crate) struct Faults {
    /// An event as it was stored → what is seen of it.
    pub(crate) event: Change<Envelope, Vec<Envelope>>,
    /// A request → what its owner gets.
    pub(crate) request: Change<Envelope, Envelope>,
    /// A request and its reply → the reply that is got.
    pub(crate) reply: Answering,
    /// A request and its reply → an event that comes out of nothing.
    pub(crate) extra: MakingUp,
    /// How much later a reply comes.
    pub(crate) delay: Change<Envelope, Duration>,
    /// A signal → what is heard of it.
    pub(crate) signal: Change<Envelope, Option<Envelope>>,
    /// What a broker hands on a second time → what its readers get.
    pub(crate) publish: Change<Envelope, Envelope>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            event: Box::new(|event| vec![event]),
            request: Box::new(|request| request),
            reply: Box::new(|_, data| data),
            extra: Box::new(|_, _| None),
            delay: Box::new(|_| Duration::ZERO),
            signal: Box::new(Some),
            publish: Box::new(|event| event),
        }
    }
}

pub(crate) struct Interposer {
    inner: Bus,
    faults: Arc<Faults>,
    watcher: Mutex<Option<Watcher>>,
}

impl Interposer {
    pub(crate) fn between(inner: Bus, faults: Faults) -> Bus {
        Bus::new(Self { inner, faults: Arc::new(faults), watcher: Mutex::default() })
    }
}

/// The same message with another payload. One that is no object stays as it is.
pub(crate) fn payload(mut envelope: Envelope, change: impl FnOnce(&mut Value)) -> Envelope {
    if let Ok(mut value @ Value::Object(_)) = serde_json::from_slice(&envelope.data) {
        change(&mut value);
        envelope.data = value.to_string().into();
    }
    envelope
}

#[async_trait]
impl Backend for Interposer {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn publish(&self, batch: Vec<Envelope>) -> Vec<BoxFuture<'static, Result<(), BusError>>> {
        self.inner.publisher().publish(batch.into_iter().map(&self.faults.publish).collect())
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<Deliveries, BusError> {
        self.inner.subscribe(subscribe).await
    }

    async fn request(&self, envelope: Envelope, timeout: Duration) -> Result<Bytes, BusError> {
        let delay = (self.faults.delay)(envelope.clone());
        let clock = Clock::system();
        let asking = async {
            let data = self.inner.request((self.faults.request)(envelope.clone()), timeout).await?;
            clock.sleep(delay).await;
            Ok(data)
        };
        let data = match clock.timeout(timeout, asking).await {
            Some(data) => data?,
            None => return Err(BusError::new(bus::BusErrorKind::Timeout, format!("{}: no answer", envelope.kind))),
        };
        let made_up = (self.faults.extra)(&envelope, &data);
        if let (Some(event), Some(watcher)) = (made_up, &*self.watcher.lock().unwrap()) {
            watcher.show(Observed::Event(Ok(event)));
        }
        Ok((self.faults.reply)(&envelope, data))
    }

    async fn serve(&self, service: &str, kinds: &[&str], max_in_flight: usize) -> Result<Requests, BusError> {
        self.inner.requests(service, kinds, max_in_flight).await
    }

    async fn signal(&self, address: &str, envelope: Envelope) -> Result<(), BusError> {
        self.inner.signal(address, envelope).await
    }

    async fn listen(
        &self,
        kind: &str,
        address: Option<&str>,
        group: Option<&str>,
        buffer: usize,
    ) -> Result<Signals, BusError> {
        let mut signals = self.inner.listen(kind, address, group, buffer).await?;
        let (feed, changed) = Signals::fed(buffer);
        let faults = Arc::clone(&self.faults);
        tokio::spawn(async move {
            while let Some(signal) = signals.next().await {
                if let Some(signal) = (faults.signal)(signal)
                    && !feed(signal)
                {
                    break;
                }
            }
        });
        Ok(changed)
    }

    async fn observe(&self, options: Observe) -> Result<Observation, BusError> {
        let mut observation = self.inner.observe(options).await?;
        let (watcher, changed) = Observation::channel(options, observation.covers_events());
        *self.watcher.lock().unwrap() = Some(watcher.clone());
        let faults = Arc::clone(&self.faults);
        tokio::spawn(async move {
            while let Some(observed) = observation.next().await {
                let shown = match observed {
                    Observed::Event(Ok(event)) => {
                        let events = (faults.event)(event).into_iter();
                        events.map(|event| Observed::Event(Ok(event))).collect()
                    }
                    other => vec![other],
                };
                if !shown.into_iter().all(|observed| watcher.show(observed)) {
                    break;
                }
            }
        });
        Ok(changed)
    }

    fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    async fn drain(&self, _: Duration) {}
}
