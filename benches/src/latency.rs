//! **latency**: from the publishing service's `commit` to the subscriber's committed effect, through NATS, one event at
//! a time, 200 a second. Both services have their own SQLite store. The reference publishes to JetStream, and its
//! consumer acknowledges twice (`double_ack`): no store at either end. Milliseconds; goal ≤ 2.
//!
//! - `latency`: the 99th percentile; `latency.p50`: the median. JetStream acknowledges before it has synced to disk, its
//!   default, so that the reference never waits for the disk and ours waits twice.
//! - `latency.synced`: the 99th percentile where the reference's server promises the same durability as our stores
//!   (`sync_interval: always`).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream;
use async_nats::jetstream::consumer::pull;
use bus::{Bus, NatsOptions};
use bytes::Bytes;
use clock::{Clock, Entropy};
use futures::StreamExt;
use outbox::{
    ConsumeOptions, Effects, Options, Order, Outbox, RetryPolicy, Step, Subscription, Unit, consume as run_consumer,
};
use testkit::servers::{Nats, NatsVersion};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::consume::Projection;
use crate::load::{self, Disk, KIND, PUBLISHER, STUCK};
use crate::report::{Better, Report, Title};
use crate::rounds::{Rounds, Side, quantile};

/// Events of one side in one round.
const EVENTS: usize = 500;
const EVENT_BYTES: usize = 256;
/// From one event to the next: 200 a second.
const PACE: Duration = Duration::from_millis(5);
const READER: &str = "reader";

static SUBSCRIPTIONS: [Subscription; 1] =
    [Subscription { kind: KIND, retry: RetryPolicy::DEFAULT, order: Order::Every, effects: Effects::Local }];

pub(crate) async fn run(clock: &Clock, report: &mut Report) -> Result<()> {
    let server = Nats::start(NatsVersion::V2_15_1);
    let synced_folder = tempfile::tempdir()?;
    let settings = format!("jetstream {{ store_dir: {:?}, sync_interval: always }}", synced_folder.path());
    let synced_server = Nats::start_with(NatsVersion::V2_15_1, &settings);
    let mut ours = Ours::start(&server, clock).await?;
    let (p99, p50) = measure(&mut ours, &mut Reference::start(&server, clock).await?).await?;
    report.add(&title("latency"), &p99);
    report.add(&title("latency.p50"), &p50);
    let (p99, _) = measure(&mut ours, &mut Reference::start(&synced_server, clock).await?).await?;
    report.add(&title("latency.synced"), &p99);
    ours.stop().await
}

fn title(name: &'static str) -> Title {
    Title { name, goal: 2.0, better: Better::Lower, unit: "ms" }
}

/// The rounds' 99th percentiles and medians.
async fn measure(ours: &mut Ours, reference: &mut Reference) -> Result<(Rounds, Rounds)> {
    let mut medians = Vec::new();
    let p99 = Rounds::interleaved(async |side| {
        let millis = match side {
            Side::Ours => ours.run().await?,
            Side::Reference => reference.run().await?,
        };
        medians.push((side, quantile(&millis, 0.5)));
        Ok(quantile(&millis, 0.99))
    });
    let p99 = p99.await?;
    let mut p50 = Rounds::default();
    // The first of each side belongs to the round that warms up.
    for (side, millis) in medians.into_iter().skip(2) {
        p50.push(side, millis);
    }
    Ok((p99, p50))
}

/// Keeps the pace: waits for an event's time; one that is late starts at once.
struct Pace {
    clock: Clock,
    next: Duration,
}

impl Pace {
    fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), next: clock.monotonic() }
    }

    async fn turn(&mut self) -> Duration {
        let now = self.clock.monotonic();
        if self.next > now {
            self.clock.sleep(self.next - now).await;
        }
        self.next = self.next.max(now) + PACE;
        self.clock.monotonic()
    }
}

/// A publishing and a listening service on NATS, each with its own store.
struct Ours {
    clock: Clock,
    publisher: Outbox,
    effects: mpsc::UnboundedReceiver<Duration>,
    next: usize,
    stop: CancellationToken,
    running: Vec<JoinHandle<Result<()>>>,
    _disks: [Disk; 2],
}

impl Ours {
    async fn start(server: &Nats, clock: &Clock) -> Result<Self> {
        let options = NatsOptions { url: server.url(), ..NatsOptions::default() };
        let bus = Bus::nats(options, clock.clone()).await?;
        let disks = [Disk::new(clock)?, Disk::new(clock)?];
        let (committed, effects) = mpsc::unbounded_channel();
        let at = clock.clone();
        let note = move |step| {
            if step == Step::AfterCommit {
                // Nobody listens any more only when the bench is over.
                let _ = committed.send(at.monotonic());
            }
        };
        let noting = Options { on_step: Some(Arc::new(note)), ..Options::default() };
        let outbox = |service, disk: &Disk, options| {
            Outbox::new(service, disk.store.clone(), bus.clone(), clock.clone(), Entropy::system(), options)
        };
        let publisher = outbox(PUBLISHER, &disks[0], Options::default());
        let reader = outbox(READER, &disks[1], noting);
        let stop = CancellationToken::new();
        let consuming =
            run_consumer(reader, &SUBSCRIPTIONS, Arc::new(Projection), ConsumeOptions::default(), stop.clone());
        let relaying = {
            let (publisher, stop) = (publisher.clone(), stop.clone());
            async move { publisher.run_relay(stop).await }
        };
        let running = vec![
            tokio::spawn(async move { Ok(consuming.await?) }),
            tokio::spawn(async move {
                relaying.await;
                Ok(())
            }),
        ];
        Ok(Self { clock: clock.clone(), publisher, effects, next: 0, stop, running, _disks: disks })
    }

    /// Milliseconds of each event.
    async fn run(&mut self) -> Result<Vec<f64>> {
        let (tenant, trail) = (load::tenant()?, load::trail());
        let mut pace = Pace::new(&self.clock);
        let mut millis = Vec::with_capacity(EVENTS);
        for _ in 0..EVENTS {
            let mut unit = Unit::new();
            unit.publish(&tenant, 1, &trail, &load::event(self.next, EVENT_BYTES)?);
            self.next += 1;
            let started = pace.turn().await;
            self.publisher.commit(unit).await?;
            let effect = self.clock.timeout(STUCK, self.effects.recv()).await.context("an event got stuck")?;
            let committed = effect.context("the consumer ended")?;
            millis.push(committed.saturating_sub(started).as_secs_f64() * 1e3);
        }
        ensure!(self.effects.is_empty(), "an event had more than one effect");
        Ok(millis)
    }

    async fn stop(self) -> Result<()> {
        self.stop.cancel();
        for running in self.running {
            running.await??;
        }
        Ok(())
    }
}

/// JetStream and nothing else: a publisher that waits for its confirmation, a consumer with a connection of its own.
struct Reference {
    clock: Clock,
    jetstream: jetstream::Context,
    acked: mpsc::UnboundedReceiver<Result<Duration>>,
    next: usize,
    consuming: JoinHandle<()>,
}

impl Reference {
    async fn start(server: &Nats, clock: &Clock) -> Result<Self> {
        let publisher = jetstream::new(async_nats::connect(server.url()).await?);
        let config = jetstream::stream::Config {
            name: "PLAIN".to_owned(),
            subjects: vec!["plain.>".to_owned()],
            ..jetstream::stream::Config::default()
        };
        publisher.create_stream(config).await?;
        let reader = jetstream::new(async_nats::connect(server.url()).await?);
        let config = pull::Config { durable_name: Some(READER.to_owned()), ..pull::Config::default() };
        let consumer = reader.get_stream("PLAIN").await?.create_consumer(config).await?;
        let mut messages = consumer.messages().await?;
        let (tell, acked) = mpsc::unbounded_channel();
        let at = clock.clone();
        let consuming = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                let settled = match message {
                    Ok(message) => message.double_ack().await.map_err(anyhow::Error::from_boxed),
                    Err(error) => Err(error.into()),
                };
                if tell.send(settled.map(|()| at.monotonic())).is_err() {
                    return;
                }
            }
        });
        Ok(Self { clock: clock.clone(), jetstream: publisher, acked, next: 0, consuming })
    }

    /// Milliseconds of each message.
    async fn run(&mut self) -> Result<Vec<f64>> {
        let mut pace = Pace::new(&self.clock);
        let mut millis = Vec::with_capacity(EVENTS);
        for _ in 0..EVENTS {
            let payload = Bytes::from(load::payload(&load::event(self.next, EVENT_BYTES)?)?);
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", self.next.to_string());
            self.next += 1;
            let started = pace.turn().await;
            self.jetstream.publish_with_headers(format!("plain.{KIND}"), headers, payload).await?.await?;
            let acked = self.clock.timeout(STUCK, self.acked.recv()).await.context("a message got stuck")?;
            let acked = acked.context("the consumer ended")??;
            millis.push(acked.saturating_sub(started).as_secs_f64() * 1e3);
        }
        Ok(millis)
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.consuming.abort();
    }
}
