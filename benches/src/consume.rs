//! **consume**: events through the inbox (SQLite, 256-byte payloads): the handler's one effect row and the inbox record
//! in one transaction, then the acknowledgement; events per second. A broker made of memory hands out what was prepared
//! before, so that only the consumer is measured. The reference commits the same rows under the same conditions to the
//! same kind of store, 256 units at once as the consumer does, so that the store groups them into commits; it has no
//! events, no lanes, no hashes and no acknowledgements. Goal ≥ 0.7.
//!
//! `consume`: every event counts. `consume.latest_wins`: the consumer also reads and writes a watermark for each event,
//! and so does the reference.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use bus::{
    Backend, Bus, BusError, BusErrorKind, Capabilities, Deliveries, Delivery, Envelope, Requests, Settle, Signals,
    Subscribe,
};
use bytes::Bytes;
use clock::{Clock, Entropy};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use outbox::{
    ConsumeOptions, Consumer, Effects, Failure, Options, Order, Outbox, RetryPolicy, Subscription, Unit, consume,
};
use store::{Action, Condition, Item, Key};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::cpu::Cpu;
use crate::load::{self, Disk, KIND, PUBLISHER, STUCK};
use crate::report::{Better, Report, Title};
use crate::rounds::{Rounds, Side};

const EVENTS: usize = 20_000;
const EVENT_BYTES: usize = 256;
const READER: &str = "reader";

const fn subscription(order: Order) -> [Subscription; 1] {
    [Subscription { kind: KIND, retry: RetryPolicy::DEFAULT, order, effects: Effects::Local }]
}

static EVERY: [Subscription; 1] = subscription(Order::Every);
static LATEST: [Subscription; 1] = subscription(Order::LatestWins);

pub(crate) async fn run(clock: &Clock, report: &mut Report) -> Result<()> {
    for (name, subscriptions) in [("consume", &EVERY), ("consume.latest_wins", &LATEST)] {
        let mut cpu = Cpu::new(None);
        let rounds = Rounds::interleaved(async |side| match side {
            Side::Ours => ours(clock, subscriptions, &mut cpu).await,
            Side::Reference => reference(clock, subscriptions, &mut cpu).await,
        });
        let title = Title { name, goal: 0.7, better: Better::Higher, unit: "events/s" };
        report.add(&title, &rounds.await?);
        cpu.print(name);
    }
    Ok(())
}

fn events(clock: &Clock) -> Result<Vec<Envelope>> {
    (0..EVENTS).map(|number| load::envelope(number, EVENT_BYTES, 1, clock.now_ms())).collect()
}

/// From the first delivery until the last acknowledgement.
async fn ours(clock: &Clock, subscriptions: &'static [Subscription], cpu: &mut Cpu) -> Result<f64> {
    let disk = Disk::new(clock)?;
    let acks = Arc::new(Acks { left: AtomicUsize::new(EVENTS), done: Notify::new() });
    let bus = Bus::new(Prepared::new(events(clock)?, &acks)?);
    let outbox = Outbox::new(READER, disk.store.clone(), bus, clock.clone(), Entropy::system(), Options::default());
    let stop = CancellationToken::new();
    let used = cpu.start();
    let started = clock.monotonic();
    let options = ConsumeOptions::default();
    let consuming = tokio::spawn(consume(outbox, subscriptions, Arc::new(Projection), options, stop.clone()));
    let done = clock.timeout(STUCK, acks.done.notified()).await;
    let took = clock.monotonic().saturating_sub(started);
    cpu.stop(Side::Ours, &used, EVENTS);
    stop.cancel();
    consuming.await??;
    done.context("the consumer got stuck")?;
    check(&disk).await?;
    Ok(per_second(took))
}

/// The same rows, prepared before.
async fn reference(clock: &Clock, subscriptions: &'static [Subscription], cpu: &mut Cpu) -> Result<f64> {
    let disk = Disk::new(clock)?;
    let latest = subscriptions[0].order == Order::LatestWins;
    let marks =
        |event: &Envelope| latest.then(|| Key::new(format!("watermark#{}#{}", event.source, event.key), READER));
    let events = events(clock)?;
    let units: Vec<_> = events.iter().map(|event| (rows(event, clock), marks(event))).collect();
    let store = &disk.store;
    let used = cpu.start();
    let started = clock.monotonic();
    let commits = futures::stream::iter(units)
        .map(|(mut rows, mark)| async move {
            if let Some(mark) = mark {
                let old = store.get(&mark).await?.map(|item| item.version);
                let condition = old.map_or(Condition::Absent, Condition::Version);
                let mut item = Item::new(mark, 1, "{}");
                item.expires_at_ms = Some(expires_at_ms(clock));
                rows.push(Action::Put { item, condition });
            }
            store.transact(rows).await
        })
        .buffer_unordered(ConsumeOptions::default().max_in_flight)
        .try_collect::<()>();
    let done = clock.timeout(STUCK, commits).await;
    let took = clock.monotonic().saturating_sub(started);
    cpu.stop(Side::Reference, &used, EVENTS);
    done.context("the reference got stuck")??;
    check(&disk).await?;
    Ok(per_second(took))
}

fn expires_at_ms(clock: &Clock) -> u64 {
    clock.now_ms() + ConsumeOptions::default().inbox_retention.as_millis() as u64
}

fn effect(event: &Envelope) -> Item {
    let body = String::from_utf8_lossy(&event.data).into_owned();
    Item::new(Key::new(event.key.clone(), "state"), event.sequence, body)
}

/// The rows of one event as the consumer writes them.
fn rows(event: &Envelope, clock: &Clock) -> Vec<Action> {
    let hash = "0".repeat(64);
    let body = format!(r#"{{"hash":"{hash}","state":"done","attempts":0,"result":"1 writes, 0 facts"}}"#);
    let mut record = Item::new(Key::new(format!("inbox#{}#{}", event.source, event.id), READER), 1, body);
    record.expires_at_ms = Some(expires_at_ms(clock));
    [effect(event), record].map(|item| Action::Put { item, condition: Condition::Absent }).into()
}

async fn check(disk: &Disk) -> Result<()> {
    for number in (0..EVENTS).step_by(97) {
        let key = load::envelope(number, EVENT_BYTES, 1, 0)?.key;
        ensure!(disk.store.get(&Key::new(&key, "state")).await?.is_some(), "{key}: its effect is missing");
    }
    Ok(())
}

fn per_second(took: Duration) -> f64 {
    EVENTS as f64 / took.as_secs_f64()
}

/// Writes one row for each event.
pub(crate) struct Projection;

#[async_trait]
impl Consumer for Projection {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        unit.put(effect(event), Condition::Absent);
        Ok(())
    }
}

/// Counts acknowledgements.
struct Acks {
    left: AtomicUsize,
    done: Notify,
}

/// One delivery's way to [`Acks`].
struct Ack(Arc<Acks>);

#[async_trait]
impl Settle for Ack {
    async fn ack(&self) -> Result<(), BusError> {
        if self.0.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.done.notify_one();
        }
        Ok(())
    }

    async fn nak(&self, _: Duration) -> Result<(), BusError> {
        Ok(())
    }

    async fn term(&self, _: &str) -> Result<(), BusError> {
        Ok(())
    }

    async fn extend(&self) -> Result<(), BusError> {
        Ok(())
    }
}

/// A broker that has nothing but what was put in before.
struct Prepared {
    deliveries: Mutex<Option<mpsc::Receiver<Delivery>>>,
    // Keeps the channel open: consumers end when their bus does.
    _sender: mpsc::Sender<Delivery>,
}

impl Prepared {
    fn new(events: Vec<Envelope>, acks: &Arc<Acks>) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(events.len());
        for event in events {
            sender.try_send(Delivery::new(Ok(event), 1, Box::new(Ack(Arc::clone(acks)))))?;
        }
        Ok(Self { deliveries: Mutex::new(Some(receiver)), _sender: sender })
    }
}

fn nothing_else<T>() -> Result<T, BusError> {
    Err(BusError::new(BusErrorKind::Invalid, "this bus only hands out events"))
}

#[async_trait]
impl Backend for Prepared {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: PUBLISHER,
            durable: false,
            ordered_across_consumers: false,
            parallel_keys: true,
            broker_dedupe: false,
            atomic_batch: false,
            delayed_redelivery: false,
            replay_for_new_subscribers: false,
            max_inline_bytes: EVENT_BYTES,
        }
    }

    fn publish(&self, batch: Vec<Envelope>) -> Vec<BoxFuture<'static, Result<(), BusError>>> {
        batch.into_iter().map(|_| Box::pin(std::future::ready(nothing_else())) as _).collect()
    }

    async fn subscribe(&self, _: Subscribe) -> Result<Deliveries, BusError> {
        let receiver = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).take();
        receiver.map_or_else(nothing_else, |receiver| Ok(Deliveries::new(receiver)))
    }

    async fn request(&self, _: Envelope, _: Duration) -> Result<Bytes, BusError> {
        nothing_else()
    }

    async fn serve(&self, _: &str, _: &[&str], _: usize) -> Result<Requests, BusError> {
        nothing_else()
    }

    async fn signal(&self, _: &str, _: Envelope) -> Result<(), BusError> {
        nothing_else()
    }

    async fn listen(&self, _: &str, _: Option<&str>, _: Option<&str>, _: usize) -> Result<Signals, BusError> {
        nothing_else()
    }

    fn is_connected(&self) -> bool {
        true
    }

    async fn drain(&self, _: Duration) {}
}
