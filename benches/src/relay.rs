//! **relay**: rows of an outbox (SQLite, 256-byte payloads) drained to JetStream and deleted, rows per second. The
//! reference publishes the same payloads to a stream of the same settings with nothing but `Nats-Msg-Id`, a thousand
//! unconfirmed at a time, without any store. Goal ≥ 0.9.
//!
//! - `relay`: each row has its own key. `relay.hot_keys`: all rows belong to 16 keys.
//! - `relay.same_headers`: as `relay`, against a reference that sends the CloudEvents headers too. What is missing here
//!   is the relay's own; the rest of what `relay` misses is the price of the headers.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream;
use async_trait::async_trait;
use bus::{Bus, NatsOptions, wire};
use clock::{Clock, Entropy};
use futures::{StreamExt, TryStreamExt};
use outbox::{Options, Outbox, Unit};
use store::{Action, Backend, Item, Key, Page, Query, Store, StoreError};
use testkit::servers::{Nats, NatsVersion};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cpu::Cpu;
use crate::load::{self, Disk, KIND, PUBLISHER, STUCK};
use crate::report::{Better, Report, Title};
use crate::rounds::{Rounds, Side};

const ROWS: usize = 20_000;
const ROW_BYTES: usize = 256;
const HOT_KEYS: usize = 16;
/// Facts of one unit while the outbox is filled.
const FILL: usize = 50;
/// Unconfirmed publishes of the reference.
const WINDOW: usize = 1_000;
/// Subjects of the reference: as many as the bus has partitions.
const SUBJECTS: usize = 16;

pub(crate) async fn run(clock: &Clock, report: &mut Report) -> Result<()> {
    let mut server = Nats::start(NatsVersion::V2_15_1);
    let pid = server.pid();
    let mut bench = Bench::start(&server, clock).await?;
    for (name, keys, headers) in [
        ("relay", ROWS, Headers::Id),
        ("relay.hot_keys", HOT_KEYS, Headers::Id),
        ("relay.same_headers", ROWS, Headers::All),
    ] {
        bench.cpu = Cpu::new(Some(pid));
        let rounds = Rounds::interleaved(async |side| match side {
            Side::Ours => bench.relay(keys).await,
            Side::Reference => bench.publish(keys, headers).await,
        });
        let title = Title { name, goal: 0.9, better: Better::Higher, unit: "events/s" };
        report.add(&title, &rounds.await?);
        bench.cpu.print(name);
    }
    Ok(())
}

/// What the reference sends besides the payload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Headers {
    Id,
    All,
}

struct Bench {
    clock: Clock,
    cpu: Cpu,
    bus: Bus,
    jetstream: jetstream::Context,
    events: jetstream::stream::Stream,
    plain: jetstream::stream::Stream,
}

impl Bench {
    async fn start(server: &Nats, clock: &Clock) -> Result<Self> {
        let options = NatsOptions { url: server.url(), ..NatsOptions::default() };
        let bus = Bus::nats(options.clone(), clock.clone()).await?;
        let jetstream = jetstream::new(async_nats::connect(server.url()).await?);
        let events = jetstream.get_stream(&options.stream).await?;
        let config = jetstream::stream::Config {
            name: "PLAIN".to_owned(),
            subjects: vec!["plain.>".to_owned()],
            ..events.cached_info().config.clone()
        };
        let plain = jetstream.create_stream(config).await?;
        Ok(Self { clock: clock.clone(), cpu: Cpu::new(None), bus, jetstream, events, plain })
    }

    /// Ours: from the first read of a filled outbox until its last row is deleted.
    async fn relay(&mut self, keys: usize) -> Result<f64> {
        let disk = Disk::new(&self.clock)?;
        let watched = Watched::new(disk.store.clone());
        let store = Store::on(watched.clone(), "watched", self.clock.clone());
        let outbox =
            Outbox::new(PUBLISHER, store, self.bus.clone(), self.clock.clone(), Entropy::system(), Options::default());
        fill(&outbox, keys).await?;
        let stop = CancellationToken::new();
        let cpu = self.cpu.start();
        let started = self.clock.monotonic();
        let relay = tokio::spawn({
            let (outbox, stop) = (outbox.clone(), stop.clone());
            async move { outbox.run_relay(stop).await }
        });
        let drained = self.clock.timeout(STUCK, watched.drained()).await;
        let took = self.clock.monotonic().saturating_sub(started);
        self.cpu.stop(Side::Ours, &cpu, ROWS);
        stop.cancel();
        relay.await?;
        let left = outbox.pending().await?;
        drained.with_context(|| format!("the relay got stuck: {left} rows of {ROWS} are left"))?;
        ensure!(left == 0, "{left} rows were left in the outbox");
        self.check_and_purge().await?;
        Ok(per_second(took))
    }

    /// The reference: a publisher that keeps its window full.
    async fn publish(&mut self, keys: usize, headers: Headers) -> Result<f64> {
        let now_ms = self.clock.now_ms();
        let events = (0..ROWS).map(|row| load::envelope(row % keys, ROW_BYTES, (row / keys + 1) as u64, now_ms));
        let events = events.collect::<Result<Vec<_>>>()?;
        let subjects: Vec<String> = (0..SUBJECTS).map(|number| format!("plain.{KIND}.{number:02}")).collect();
        let cpu = self.cpu.start();
        let started = self.clock.monotonic();
        let publish = async {
            let mut unconfirmed = VecDeque::with_capacity(WINDOW);
            for (row, event) in events.into_iter().enumerate() {
                if unconfirmed.len() == WINDOW
                    && let Some(oldest) = unconfirmed.pop_front()
                {
                    confirmed(oldest).await?;
                }
                let mut message = match headers {
                    Headers::Id => HeaderMap::new(),
                    Headers::All => wire::to_headers(&event)?,
                };
                message.insert("Nats-Msg-Id", event.unique_id());
                let subject = subjects[row % SUBJECTS].clone();
                unconfirmed.push_back(self.jetstream.publish_with_headers(subject, message, event.data).await?);
            }
            for waiting in unconfirmed {
                confirmed(waiting).await?;
            }
            anyhow::Ok(())
        };
        let published = self.clock.timeout(STUCK, publish).await;
        let took = self.clock.monotonic().saturating_sub(started);
        self.cpu.stop(Side::Reference, &cpu, ROWS);
        published.context("the reference got stuck")??;
        self.check_and_purge().await?;
        Ok(per_second(took))
    }

    /// Every row is in exactly one of the streams, once; then both are emptied for the next side.
    async fn check_and_purge(&mut self) -> Result<()> {
        let stored = self.events.info().await?.state.messages + self.plain.info().await?.state.messages;
        ensure!(stored == ROWS as u64, "{stored} messages are stored, {ROWS} were published");
        self.events.purge().await?;
        self.plain.purge().await?;
        Ok(())
    }
}

async fn confirmed(publish: jetstream::context::PublishAckFuture) -> Result<()> {
    let ack = publish.await?;
    ensure!(!ack.duplicate, "a publish of the reference counted as a duplicate");
    Ok(())
}

async fn fill(outbox: &Outbox, keys: usize) -> Result<()> {
    let (tenant, trail) = (load::tenant()?, load::trail());
    let rows: Vec<usize> = (0..ROWS).collect();
    futures::stream::iter(rows.chunks(FILL))
        .map(|rows| {
            let (tenant, trail) = (&tenant, &trail);
            async move {
                let mut unit = Unit::new();
                for row in rows {
                    let sequence = (row / keys + 1) as u64;
                    unit.publish(tenant, sequence, trail, &load::event(row % keys, ROW_BYTES)?);
                }
                anyhow::Ok(outbox.commit(unit).await?)
            }
        })
        .buffer_unordered(16)
        .try_collect::<()>()
        .await
}

fn per_second(took: Duration) -> f64 {
    ROWS as f64 / took.as_secs_f64()
}

/// A store that says when the last row was deleted: nobody has to look for it, which would cost the relay its time.
struct Watched {
    store: Store,
    deleted: Mutex<HashSet<String>>,
    drained: Notify,
}

impl Watched {
    fn new(store: Store) -> Arc<Self> {
        Arc::new(Self { store, deleted: Mutex::default(), drained: Notify::new() })
    }

    async fn drained(&self) {
        self.drained.notified().await;
    }

    /// Notes that these rows are gone; how many are by now. A row may go twice, after it was published twice.
    fn deleted(&self, rows: Vec<String>) -> usize {
        let mut deleted = self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        deleted.extend(rows);
        deleted.len()
    }
}

#[async_trait]
impl Backend for Watched {
    fn system(&self) -> &'static str {
        self.store.backend_name()
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.store.get(key).await
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.store.query(query).await
    }

    async fn query_index(&self, query: &Query) -> Result<Page, StoreError> {
        self.store.query_index(query).await
    }

    async fn transact(&self, actions: Vec<Action>) -> Result<(), StoreError> {
        self.store.transact(actions).await
    }

    async fn transact_unsynced(&self, actions: Vec<Action>) -> Result<(), StoreError> {
        let deletes = actions.iter().filter(|action| matches!(action, Action::Delete { .. }));
        let deletes: Vec<String> = deletes.map(|action| action.key().sort.clone()).collect();
        self.store.transact_unsynced(actions).await?;
        if !deletes.is_empty() && self.deleted(deletes) == ROWS {
            self.drained.notify_one();
        }
        Ok(())
    }
}
