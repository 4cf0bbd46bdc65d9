use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus, EmbeddedOptions, Envelope, Trail};
use clock::{Clock, Entropy};
use contracts::{Fact, TenantId};
use futures::future::BoxFuture;
use outbox::{
    ConsumeOptions, Consumer, Effects, Failure, Options, Order, Outbox, RetryPolicy, Subscription, Unit, consume,
};
use store::{Condition, Item, Key, SqliteOptions, Store};
use tempfile::TempDir;
use testkit::eventually;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const SOON: Duration = Duration::from_secs(20);
pub(crate) const NOTED: &str = "presence.noted.v1";

/// A fact of the tests: `text` says what its consumer shall do.
pub(crate) struct Note {
    pub(crate) about: String,
    pub(crate) text: String,
}

impl Fact for Note {
    fn kind(&self) -> &'static str {
        NOTED
    }

    fn aggregate(&self) -> String {
        self.about.clone()
    }

    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&serde_json::json!({ "text": self.text }))
    }
}

pub(crate) const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 3,
    initial: Duration::from_millis(5),
    max: Duration::from_millis(20),
    attempt_timeout: Duration::from_secs(5),
};

const fn subscription(order: Order, effects: Effects) -> [Subscription; 1] {
    [Subscription { kind: NOTED, retry: RETRY, order, effects }]
}

pub(crate) static EVERY: [Subscription; 1] = subscription(Order::Every, Effects::Local);
pub(crate) static LATEST: [Subscription; 1] = subscription(Order::LatestWins, Effects::Local);
pub(crate) static EXTERNAL: [Subscription; 1] =
    subscription(Order::Every, Effects::External { lease: Duration::from_secs(6) });

/// A store in a folder that lasts as long as this.
pub(crate) struct Disk {
    pub(crate) store: Store,
    _folder: TempDir,
}

impl Disk {
    pub(crate) fn new(clock: &Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::sqlite(SqliteOptions::at(folder.path().join("store.sqlite")), clock.clone()).unwrap();
        Self { store, _folder: folder }
    }
}

/// An embedded bus on which `listener` reads the tests' facts whether it is up or not.
pub(crate) fn bus(clock: &Clock) -> Bus {
    let routes = BTreeMap::from([(NOTED.to_owned(), vec!["listener".to_owned()])]);
    Bus::embedded(EmbeddedOptions { routes: Some(routes), ..EmbeddedOptions::default() }, clock.clone())
}

pub(crate) fn outbox(service: &str, store: &Store, bus: &Bus, clock: &Clock, options: Options) -> Outbox {
    Outbox::new(service, store.clone(), bus.clone(), clock.clone(), Entropy::system(), options)
}

/// A publishing service and a listening one, each with its own store, on one bus.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) bus: Bus,
    pub(crate) publisher: Outbox,
    pub(crate) listener: Outbox,
    _disks: [Disk; 2],
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = Clock::system();
        Self::on(clock.clone(), bus(&clock))
    }

    pub(crate) fn on(clock: Clock, bus: Bus) -> Self {
        let disks = [Disk::new(&clock), Disk::new(&clock)];
        let publisher = outbox("presence", &disks[0].store, &bus, &clock, Options::default());
        let listener = outbox("listener", &disks[1].store, &bus, &clock, Options::default());
        Self { clock, bus, publisher, listener, _disks: disks }
    }

    pub(crate) fn trace(&self) -> Trace {
        Trace(self.listener.store().clone())
    }
}

/// Something that runs until it is stopped.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn relay(outbox: &Outbox) -> Self {
        let (stop, outbox) = (CancellationToken::new(), outbox.clone());
        let token = stop.clone();
        Self { stop, task: tokio::spawn(async move { outbox.run_relay(token).await }) }
    }

    pub(crate) fn consumer(outbox: &Outbox, subscriptions: &'static [Subscription], consumer: impl Consumer) -> Self {
        Self::consumer_with(outbox, subscriptions, consumer, ConsumeOptions::default())
    }

    pub(crate) fn consumer_with(
        outbox: &Outbox,
        subscriptions: &'static [Subscription],
        consumer: impl Consumer,
        options: ConsumeOptions,
    ) -> Self {
        let (stop, outbox) = (CancellationToken::new(), outbox.clone());
        let token = stop.clone();
        let task = tokio::spawn(async move {
            consume(outbox, subscriptions, Arc::new(consumer), options, token).await.unwrap();
        });
        Self { stop, task }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

type Handler = dyn Fn(Envelope) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync;

/// Writes down each event of a key, in the order of handling, in the transaction of its effects. What the closure says
/// comes first.
pub(crate) struct Scribe {
    store: Store,
    first: Box<Handler>,
}

impl Scribe {
    pub(crate) fn new(store: &Store) -> Self {
        Self::with(store, |_| Ok(()))
    }

    pub(crate) fn with(
        store: &Store,
        first: impl Fn(&Envelope) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Self {
        Self::slow(store, move |envelope| {
            let said = first(&envelope);
            Box::pin(async move { said })
        })
    }

    pub(crate) fn slow(
        store: &Store,
        first: impl Fn(Envelope) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync + 'static,
    ) -> Self {
        Self { store: store.clone(), first: Box::new(first) }
    }
}

#[async_trait]
impl Consumer for Scribe {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        (self.first)(event.clone()).await?;
        let at = Key::new("trace", &event.key);
        let old = self.store.get(&at).await?;
        let (version, mut seen) = old.map_or((0, Vec::new()), |item| (item.version, parse(&item)));
        seen.push(event.sequence);
        let condition = if version == 0 { Condition::Absent } else { Condition::Version(version) };
        unit.put(Item::new(at, version + 1, serde_json::to_string(&seen).unwrap()), condition);
        Ok(())
    }
}

fn parse(item: &Item) -> Vec<u64> {
    serde_json::from_str(&item.body).unwrap()
}

/// What a [`Scribe`] wrote.
pub(crate) struct Trace(pub(crate) Store);

impl Trace {
    pub(crate) async fn of(&self, about: &str) -> Vec<u64> {
        self.0.get(&Key::new("trace", key(about))).await.unwrap().map_or(Vec::new(), |item| parse(&item))
    }

    pub(crate) async fn until(&self, about: &str, expected: &[u64]) {
        let what = format!("{about} to be handled as {expected:?}");
        eventually(SOON, &what, async || {
            let seen = self.of(about).await;
            if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }
}

pub(crate) fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

pub(crate) fn key(about: &str) -> String {
    format!("acme/{about}")
}

pub(crate) fn note(about: &str, sequence: u64, text: &str) -> Unit {
    let mut unit = Unit::new();
    let note = Note { about: about.to_owned(), text: text.to_owned() };
    unit.publish(&tenant(), sequence, &Trail::new("c-1"), &note);
    unit
}

/// Commits notes `first..=last` about something.
pub(crate) async fn notes(outbox: &Outbox, about: &str, sequences: impl IntoIterator<Item = u64>) {
    for sequence in sequences {
        outbox.commit(note(about, sequence, "plain")).await.unwrap();
    }
}

pub(crate) async fn until_empty(outbox: &Outbox) {
    eventually(SOON, "an empty outbox", async || match outbox.pending().await {
        Ok(0) => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;
}

/// An envelope as a broker might bring it.
pub(crate) fn envelope(id: &str, about: &str, sequence: u64, text: &str) -> Envelope {
    Envelope {
        id: id.parse().unwrap(),
        source: "/synapse/presence".to_owned(),
        kind: NOTED.to_owned(),
        tenant: tenant(),
        key: key(about),
        sequence,
        time_ms: 1,
        trail: Trail::new("c-1"),
        expires_at_ms: None,
        data: serde_json::json!({ "text": text }).to_string().into(),
    }
}

pub(crate) fn text(envelope: &Envelope) -> String {
    let data: serde_json::Value = serde_json::from_slice(&envelope.data).unwrap();
    data["text"].as_str().unwrap().to_owned()
}
