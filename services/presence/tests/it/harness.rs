//! The real service on an embedded bus and a SQLite file, under a clock that only the test moves. Talks to it through
//! the bus, reads its facts as a subscribing service and its signals as a gateway would.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bus::{Bus, Envelope, Sender, Signals, Trail};
use clock::{Clock, Entropy, ManualClock};
use contracts::events::presence::PresenceEvent;
use contracts::requests::presence::{ConnectV1, Connected, CountV1, LookupV1, PeerCounts, PeerView, Profile};
use contracts::signals::presence::ChangedV1;
use contracts::{Answer, Contract, Request, TenantId};
use service::config::{self, Sources};
use service::{Host, PLATFORM, PLATFORM_DEFAULTS, Platform, PlatformConfig};
use tempfile::TempDir;
use testkit::contract::{Observer, On, Place};
use testkit::servers::Dynoxide;

/// Longest wait for anything; a slow machine needs more than a quick one, and nobody waits for it in vain.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// When every test begins.
pub(crate) const START_MS: u64 = 1_790_000_000_000;

pub(crate) struct World {
    pub(crate) bus: Bus,
    pub(crate) clock: Clock,
    pub(crate) hand: ManualClock,
    pub(crate) platform: Platform,
    pub(crate) sender: Sender,
    pub(crate) observer: Observer,
    pub(crate) place: Place,
    host: Host,
}

/// Runs a test on a fresh world; fails when it leaves anything in the outbox or among the dead letters.
pub(crate) async fn run(test: impl AsyncFnOnce(&World)) {
    run_with(&[], test).await;
}

pub(crate) async fn run_with(settings: &[(&str, &str)], test: impl AsyncFnOnce(&World)) {
    run_at(On::Embedded, settings, test).await;
}

/// The same on another bus.
pub(crate) async fn run_on(on: On, test: impl AsyncFnOnce(&World)) {
    run_at(on, &[], test).await;
}

async fn run_at(on: On, settings: &[(&str, &str)], test: impl AsyncFnOnce(&World)) {
    let folder = TempDir::new().unwrap();
    let (clock, hand) = Clock::manual(START_MS);
    let world = World::start_at(Place::start(on).await, sqlite(folder.path()), settings, clock, hand).await;
    test(&world).await;
    world.stop().await;
}

/// The same on DynamoDB.
pub(crate) async fn run_on_dynamo(test: impl AsyncFnOnce(&World)) {
    let server = tokio::task::spawn_blocking(Dynoxide::start).await.unwrap();
    let store = server.url().replace("http://", "dynamodb://");
    let (clock, hand) = Clock::manual(START_MS);
    let world = World::start_at(Place::start(On::Embedded).await, store, &[], clock, hand).await;
    test(&world).await;
    world.stop().await;
}

fn sqlite(folder: &Path) -> String {
    format!("sqlite:{}", folder.display())
}

impl World {
    pub(crate) async fn start(folder: &Path, settings: &[(&str, &str)], clock: Clock, hand: ManualClock) -> Self {
        Self::start_at(Place::start(On::Embedded).await, sqlite(folder), settings, clock, hand).await
    }

    async fn start_at(
        mut place: Place,
        store: String,
        settings: &[(&str, &str)],
        clock: Clock,
        hand: ManualClock,
    ) -> Self {
        let bus = place.bus(BTreeMap::new(), &clock, Some(&hand)).await;
        let entropy = Entropy::system();
        let host = Host::on(platform_config(store), bus.clone(), clock.clone(), entropy.clone());
        let observer = Observer::start(&bus, presence::NAME).await;
        let platform = host.platform(presence::NAME).await.unwrap();
        let routes = presence::start(presence_config(settings), platform.clone()).await.unwrap();
        assert!(!routes.has_routes(), "presence is not public");
        let sender = Sender::new("gateway", clock.clone(), entropy);
        Self { bus, clock, hand, platform, sender, observer, place, host }
    }

    /// What every test must leave behind: nothing.
    pub(crate) async fn stop(self) {
        self.relayed().await;
        let letters = self.platform.outbox.dead_letters();
        assert_eq!(letters.list(None, 10).await.unwrap().letters.len(), 0, "dead letters");
        tokio::time::timeout(SOON, self.host.drain())
            .await
            .expect("draining needs no clock: every task heeds the stop");
    }

    /// Waits until every fact was published.
    pub(crate) async fn relayed(&self) {
        testkit::eventually(SOON, "an empty outbox", async || match self.platform.outbox.pending().await.unwrap() {
            0 => Ok(()),
            rows => Err(format!("{rows} rows")),
        })
        .await;
    }

    pub(crate) async fn ask<R: Request>(&self, tenant: &str, request: &R) -> Answer<R::Reply, R::Refusal> {
        self.ask_on(&Trail::new("test"), tenant, request).await
    }

    pub(crate) async fn ask_on<R: Request>(
        &self,
        trail: &Trail,
        tenant: &str,
        request: &R,
    ) -> Answer<R::Reply, R::Refusal> {
        let tenant = id(tenant);
        let asking = self.bus.ask(&self.sender, &tenant, trail, request, SOON);
        tokio::time::timeout(SOON, asking).await.expect("an answer").unwrap()
    }

    /// Connects a peer of the user `ada`; every call is another connection.
    pub(crate) async fn connect(&self, tenant: &str, peer: &str, connection: &str) -> Connected {
        match self.ask(tenant, &connect(peer, connection)).await {
            Answer::Ok(connected) => connected,
            other => panic!("{peer} was not connected: {other:?}"),
        }
    }

    pub(crate) async fn lookup(&self, tenant: &str, peer: &str) -> PeerView {
        match self.ask(tenant, &LookupV1 { peer_id: id(peer) }).await {
            Answer::Ok(view) => view,
            other => panic!("{peer} was not found: {other:?}"),
        }
    }

    /// How many peers of the tenant are reachable, as the counters say.
    pub(crate) async fn count(&self, tenant: &str) -> u64 {
        self.counts(tenant, None, None).await.here
    }

    pub(crate) async fn counts(&self, tenant: &str, room: Option<&str>, node: Option<&str>) -> PeerCounts {
        match self.ask(tenant, &CountV1 { room: room.map(str::to_owned), node_id: node.map(id) }).await {
            Answer::Ok(counts) => counts,
            other => panic!("not counted: {other:?}"),
        }
    }

    /// Every fact told until now, once all are told, in the order they came.
    pub(crate) async fn facts(&self) -> Vec<PresenceEvent> {
        self.relayed().await;
        self.envelopes().iter().map(|fact| PresenceEvent::decode(&fact.kind, &fact.data).unwrap().unwrap()).collect()
    }

    pub(crate) fn envelopes(&self) -> Vec<Envelope> {
        self.observer.seen()
    }

    /// Listens as gateways do.
    pub(crate) async fn changes(&self) -> Signals {
        self.bus.listen(ChangedV1::KIND, None, None, 10_000).await.unwrap()
    }

    /// Moves the clock by a sweep interval at a time until `look` gives a value.
    pub(crate) async fn sweep_until<T>(&self, what: &str, look: impl AsyncFn() -> Result<T, String>) -> T {
        testkit::eventually(SOON, what, async || {
            let seen = look().await;
            if seen.is_err() {
                self.hand.advance(Duration::from_secs(1));
            }
            seen
        })
        .await
    }
}

/// The next change that a gateway is told.
pub(crate) async fn next_change(changes: &mut Signals) -> PeerView {
    next_news(changes).await.peer
}

pub(crate) async fn next_news(changes: &mut Signals) -> ChangedV1 {
    let signal = tokio::time::timeout(SOON, changes.next()).await.expect("a signal").unwrap();
    serde_json::from_slice(&signal.data).unwrap()
}

/// Whether nothing waits. Signals in one process are handed over before the request they follow from is answered.
pub(crate) async fn is_quiet(changes: &mut Signals) -> bool {
    tokio::select! {
        biased;
        _ = changes.next() => false,
        () = std::future::ready(()) => true,
    }
}

pub(crate) fn id<T: std::str::FromStr<Err = contracts::IdError>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn connect(peer: &str, connection: &str) -> ConnectV1 {
    ConnectV1 {
        peer_id: id(peer),
        user_id: id("ada"),
        node_id: id("gateway-1"),
        connection_id: id(connection),
        subscription_id: id("sub-1"),
        proof_ver: 2,
        max_peers: None,
        status: None,
        profile: Profile::default(),
        address: None,
    }
}

fn platform_config(store: String) -> PlatformConfig {
    let env = [("STORE", store), ("CREATE_RESOURCES", "true".to_owned())];
    let env = env.map(|(name, value)| (format!("SYNAPSE_PLATFORM__{name}"), value));
    config::load(Sources { service: PLATFORM, defaults: PLATFORM_DEFAULTS, file: None, env: env.into_iter() }).unwrap()
}

fn presence_config(settings: &[(&str, &str)]) -> presence::Config {
    let name = |key: &str| format!("SYNAPSE_PRESENCE__{}", key.to_ascii_uppercase());
    let env = settings.iter().map(|(key, value)| (name(key), (*value).to_owned()));
    config::load(Sources { service: presence::NAME, defaults: &[presence::DEFAULTS], file: None, env }).unwrap()
}

/// The tenant most tests act in.
pub(crate) const ACME: &str = "acme";

pub(crate) fn tenant(name: &str) -> TenantId {
    id(name)
}
