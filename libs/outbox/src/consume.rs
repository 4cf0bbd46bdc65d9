use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus::{BusError, Delivery, Envelope, Subscribe};
use contracts::Class;
use futures::FutureExt;
use futures::future::join_all;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::dead::redriving_lanes;
use crate::worker::Worker;
use crate::{ConsumeOptions, Failure, Outbox, Subscription, Unit, keys};

/// What a service does with the events it subscribes to.
#[async_trait]
pub trait Consumer: Send + Sync + 'static {
    /// Adds the effects of `event` to `unit`; nothing is written before the runtime commits it together with the inbox
    /// record. It may run again on fresh state when the unit's writes conflict, and may be cut off when its time is
    /// over.
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure>;
}

/// Reads an event's payload as `service` sees it: with the whole type of the contract, or with a view of the service's own
/// that names only the fields it uses.
///
/// # Errors
/// [`Failure::Poison`] when the payload is not of type `T`.
pub fn read<T: DeserializeOwned + Debug>(service: &str, event: &Envelope) -> Result<T, Failure> {
    contracts::read(service, Class::Event, &event.kind, &event.data)
        .map_err(|error| Failure::Poison(format!("{}: {error}", event.kind)))
}

/// Consumes events until stopped or the bus closes: keys in parallel, the events of one key of one source in order.
/// What is being handled when it is stopped is finished; what waits goes back to the broker.
///
/// # Errors
/// When the bus refuses the subscription. Later trouble is waited out.
pub async fn consume(
    outbox: Outbox,
    subscriptions: &'static [Subscription],
    consumer: Arc<dyn Consumer>,
    options: ConsumeOptions,
    stop: CancellationToken,
) -> Result<(), BusError> {
    let options = options.bounded();
    let mut deliveries = outbox
        .core
        .bus
        .subscribe(Subscribe {
            service: outbox.core.service.clone(),
            kinds: subscriptions.iter().map(|subscription| subscription.kind.to_owned()).collect(),
            max_in_flight: options.max_in_flight,
            lease: options.lease,
        })
        .await?;
    let core = Arc::clone(&outbox.core);
    let worker = Worker::new(Arc::clone(&core), subscriptions, consumer, options.clone(), stop.clone());
    let mut lanes = Lanes::new(Arc::new(worker));
    let mut finding = JoinSet::new();
    let (tick, look) = (options.lease / 3, options.redrive_interval);
    let mut next_tick = core.clock.monotonic() + tick;
    let mut next_look = core.clock.monotonic();
    loop {
        let now = core.clock.monotonic();
        let pause = next_tick.min(next_look).saturating_sub(now);
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = lanes.running.join_next() => lanes.on_ended(ended),
            delivery = deliveries.next(), if lanes.held < options.max_in_flight => match delivery {
                Some(delivery) => lanes.take(delivery),
                None => break,
            },
            Some(found) = finding.join_next() => lanes.redrive(found.unwrap_or_default()),
            () = core.redrive.notified() => next_look = Duration::ZERO,
            () = core.clock.sleep(pause) => {}
        }
        let now = core.clock.monotonic();
        if now >= next_tick {
            next_tick = now + tick;
            lanes.extend_waiting().await;
        }
        if now >= next_look && finding.is_empty() {
            next_look = now + look;
            let core = Arc::clone(&core);
            finding.spawn(async move { redriving_lanes(&core).await });
        }
    }
    lanes.finish().await;
    Ok(())
}

/// What waits for its turn in a lane.
enum Work {
    Deliver(Box<Delivery>),
    Redrive,
}

struct Ended {
    lane: String,
    delivery: bool,
}

/// One lane per key that has work: the first piece runs, the others wait.
struct Lanes {
    worker: Arc<Worker>,
    waiting: HashMap<String, VecDeque<Work>>,
    running: JoinSet<Ended>,
    /// Deliveries that run or wait.
    held: usize,
    malformed: u64,
}

impl Lanes {
    fn new(worker: Arc<Worker>) -> Self {
        Self { worker, waiting: HashMap::new(), running: JoinSet::new(), held: 0, malformed: 0 }
    }

    fn take(&mut self, delivery: Delivery) {
        let lane = match &delivery.incoming {
            Ok(envelope) => keys::lane(&envelope.source, &envelope.key),
            Err(_) => {
                // It has no key: a lane of its own. Lanes of events contain a '#'.
                self.malformed += 1;
                format!("malformed {}", self.malformed)
            }
        };
        self.held += 1;
        self.add(lane, Work::Deliver(Box::new(delivery)));
    }

    fn redrive(&mut self, lanes: Vec<String>) {
        for lane in lanes {
            let queued = self.waiting.get(&lane).is_some_and(|queue| queue.iter().any(|w| matches!(w, Work::Redrive)));
            if !queued {
                self.add(lane, Work::Redrive);
            }
        }
    }

    fn add(&mut self, lane: String, work: Work) {
        if let Some(queue) = self.waiting.get_mut(&lane) {
            queue.push_back(work);
        } else {
            self.waiting.insert(lane.clone(), VecDeque::new());
            self.start(lane, work);
        }
    }

    fn start(&mut self, lane: String, work: Work) {
        let worker = Arc::clone(&self.worker);
        self.running.spawn(async move {
            let delivery = matches!(work, Work::Deliver(_));
            let run = async {
                match work {
                    Work::Deliver(delivery) => worker.deliver(*delivery).await,
                    Work::Redrive => worker.redrive(&lane).await,
                }
            };
            if AssertUnwindSafe(run).catch_unwind().await.is_err() {
                tracing::error!(%lane, "the consumer's own code panicked; the event comes again when its lease ends");
            }
            Ended { lane, delivery }
        });
    }

    fn on_ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        // Only a runtime that shuts down cancels these tasks.
        let Ok(Ended { lane, delivery }) = ended else { return };
        self.held -= usize::from(delivery);
        match self.waiting.get_mut(&lane).and_then(VecDeque::pop_front) {
            Some(work) => self.start(lane, work),
            None => {
                self.waiting.remove(&lane);
            }
        }
    }

    async fn extend_waiting(&self) {
        let waiting = self.waiting.values().flatten().filter_map(|work| match work {
            Work::Deliver(delivery) => Some(delivery.extend()),
            Work::Redrive => None,
        });
        for result in join_all(waiting).await {
            if let Err(error) = result {
                tracing::debug!(%error, "a lease was not extended; the event may come twice");
            }
        }
    }

    /// Lets what runs end and gives back what waits, in order.
    async fn finish(mut self) {
        while self.running.join_next().await.is_some() {}
        for work in self.waiting.into_values().flatten() {
            if let Work::Deliver(delivery) = work
                && let Err(error) = delivery.nak(Duration::ZERO).await
            {
                tracing::debug!(%error, "an event was not given back; it comes again when its lease ends");
            }
        }
    }
}
