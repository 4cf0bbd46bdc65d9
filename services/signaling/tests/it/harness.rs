//! The real service on an embedded bus and a SQLite file, under a clock that only the test moves. Presence and the
//! subscription service are doubles: simple owners on the same bus, whose facts go through outboxes of their own.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth::{Entitlement, ProofSigner, SignerRules, SigningKey};
use bus::{Asked, Bus, Sender, Trail};
use clock::{Clock, Entropy, ManualClock};
use contracts::events::presence::{OfflineReason, PeerStatus, PeerWentOfflineV1, PeerWentOnlineV1, PresenceEvent};
use contracts::events::signaling::SignalingEvent;
use contracts::events::subscription::{ProofKeyPublishedV1, ProofRevokedV1, SubscriptionEvent};
use contracts::requests::presence::{LookupRefusal, LookupV1, PeerView, Profile};
use contracts::requests::signaling::{
    Forwarded, OpenSessionRefusal, OpenSessionV1, SendRefusal, SendV1, SessionOpened,
};
use contracts::requests::subscription::{ListProofKeysV1, NeverRefused, ProofKeys};
use contracts::signals::signaling::{PeerSignal, SAMPLE_SDP};
use contracts::{Answer, Request, SessionId};
use outbox::{DeadLetter, Unit};
use service::config::{self, Sources};
use service::{Host, PLATFORM, PLATFORM_DEFAULTS, PROOF_AUDIENCE, PROOF_ISSUER, Platform, PlatformConfig};
use tempfile::TempDir;
use testkit::contract::{Observer, On, Place};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::gateways::{Gateways, Node};

/// Longest wait for anything; a slow machine needs more than a quick one, and nobody waits for it in vain.
pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const START_MS: u64 = 1_790_000_000_000;
/// When keys and entitlements end: later than any test's clock, which may be set to the machine's.
const FAR_MS: u64 = 4_000_000_000_000;
/// The tenant most tests act in.
pub(crate) const ACME: &str = "acme";

/// The peer about which the presence double answers only when `stuck` is over.
pub(crate) const STUCK: &str = "stuck";

pub(crate) struct World {
    pub(crate) bus: Bus,
    pub(crate) clock: Clock,
    pub(crate) hand: ManualClock,
    pub(crate) signer: ProofSigner,
    /// What the presence double says.
    pub(crate) peers: Arc<Mutex<HashMap<String, PeerView>>>,
    /// How often the presence double was asked.
    pub(crate) lookups: Arc<AtomicUsize>,
    /// How often the subscription double was asked for its keys, and what it answers.
    pub(crate) key_requests: Arc<AtomicUsize>,
    pub(crate) stuck: Arc<watch::Sender<bool>>,
    pub(crate) keys: Arc<Mutex<ProofKeys>>,
    /// The gateways behind which all peers are.
    pub(crate) gateways: Gateways,
    platform: Platform,
    pub(crate) presence: Platform,
    pub(crate) subscription: Platform,
    host: Host,
    pub(crate) observer: Observer,
    pub(crate) place: Place,
    sequence: AtomicUsize,
}

/// Runs a test on a fresh world that knows the proof key and has `alice`, `bob` and `carol` online; fails when it leaves
/// anything in an outbox or among the dead letters.
pub(crate) async fn run(test: impl AsyncFnOnce(&World)) {
    run_on(On::Embedded, test).await;
}

/// The same on another bus.
pub(crate) async fn run_on(on: On, test: impl AsyncFnOnce(&World)) {
    run_at(Place::start(on).await, &Setting::default(), test).await;
}

/// The same with other settings.
pub(crate) async fn run_with(setting: &Setting, test: impl AsyncFnOnce(&World)) {
    run_at(Place::start(On::Embedded).await, setting, test).await;
}

async fn run_at(place: Place, setting: &Setting, test: impl AsyncFnOnce(&World)) {
    let folder = TempDir::new().unwrap();
    let (clock, hand) = Clock::manual(START_MS);
    let world = World::start_at(place, folder.path(), clock, hand, setting).await;
    world.serve_doubles().await;
    world.publish_key().await;
    test(&world).await;
    world.stop().await;
}

/// What a world differs in.
#[derive(Default)]
pub(crate) struct Setting {
    /// Of signaling: key, value.
    pub(crate) signaling: Vec<(&'static str, String)>,
    /// The store, where it is not SQLite in the test's folder.
    pub(crate) store: Option<String>,
    /// Whether signaling keeps what presence says; else it counts at once.
    pub(crate) caches: bool,
}

impl Setting {
    pub(crate) fn of(signaling: &[(&'static str, &str)]) -> Self {
        let signaling = signaling.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Self { signaling, ..Self::default() }
    }
}

/// The same on a bus where nobody else answers, and without the proof key.
pub(crate) async fn run_alone(on: On, test: impl AsyncFnOnce(&World)) {
    let folder = TempDir::new().unwrap();
    let (clock, hand) = Clock::manual(START_MS);
    let world = World::start_at(Place::start(on).await, folder.path(), clock, hand, &Setting::default()).await;
    test(&world).await;
    world.stop().await;
}

impl World {
    pub(crate) async fn start(folder: &Path, clock: Clock, hand: ManualClock) -> Self {
        Self::start_with(folder, clock, hand, &Setting::default()).await
    }

    pub(crate) async fn start_with(folder: &Path, clock: Clock, hand: ManualClock, setting: &Setting) -> Self {
        let world = Self::start_at(Place::start(On::Embedded).await, folder, clock, hand, setting).await;
        world.serve_doubles().await;
        world
    }

    async fn start_at(mut place: Place, folder: &Path, clock: Clock, hand: ManualClock, setting: &Setting) -> Self {
        let read = signaling::SUBSCRIPTIONS.iter().map(|line| (line.kind.to_owned(), vec![signaling::NAME.into()]));
        let bus = place.bus(read.collect(), &clock, Some(&hand)).await;
        let host = Host::on(platform_config(folder, setting), bus.clone(), clock.clone(), Entropy::system());
        let observer = Observer::start(&bus, signaling::NAME).await;
        // The same key in every life of a test's world.
        let key = SigningKey::from_seed("k-1", &[7; 32]).unwrap();
        let world = Self {
            signer: ProofSigner::new(key, FAR_MS, SignerRules::new(PROOF_ISSUER, PROOF_AUDIENCE)),
            peers: Arc::default(),
            lookups: Arc::default(),
            key_requests: Arc::default(),
            stuck: Arc::new(watch::Sender::new(true)),
            keys: Arc::new(Mutex::new(ProofKeys { keys: Vec::new() })),
            gateways: Gateways::start(&bus, &clock).await,
            platform: host.platform(signaling::NAME).await.unwrap(),
            presence: host.platform("presence").await.unwrap(),
            subscription: host.platform("subscription").await.unwrap(),
            observer,
            place,
            sequence: AtomicUsize::new(1),
            bus,
            clock,
            hand,
            host,
        };
        for peer in ["alice", "bob", "carol"] {
            world.place(peer, PeerStatus::Online);
        }
        let routes = signaling::start(signaling_config(setting), world.platform.clone()).await.unwrap();
        assert!(!routes.has_routes(), "signaling is not public");
        world
    }

    async fn serve_doubles(&self) {
        let (peers, keys, asked) = (Arc::clone(&self.peers), Arc::clone(&self.keys), Arc::clone(&self.key_requests));
        let stuck = Arc::clone(&self.stuck);
        let lookups = Arc::clone(&self.lookups);
        let lookup = move |_: Asked, ask: LookupV1| {
            lookups.fetch_add(1, Ordering::Relaxed);
            let found = peers.lock().unwrap().get(ask.peer_id.as_str()).cloned();
            let mut held = stuck.subscribe();
            async move {
                if ask.peer_id.as_str() == STUCK {
                    let _ = held.wait_for(|held| !held).await;
                }
                found.map_or(Answer::Refused(LookupRefusal::UnknownPeer), Answer::Ok)
            }
        };
        let list = move |_: Asked, _: ListProofKeysV1| {
            asked.fetch_add(1, Ordering::Relaxed);
            let keys = keys.lock().unwrap().clone();
            async move { Answer::<_, NeverRefused>::Ok(keys) }
        };
        let (clock, never) = (&self.clock, CancellationToken::new());
        let serving = bus::serve(&self.bus, "presence", clock.clone(), 8, never.clone(), lookup).await.unwrap();
        tokio::spawn(serving);
        tokio::spawn(bus::serve(&self.bus, "subscription", clock.clone(), 8, never, list).await.unwrap());
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

    /// Waits until every fact was published and read.
    pub(crate) async fn relayed(&self) {
        testkit::eventually(SOON, "empty outboxes", async || {
            let mut rows = 0;
            for platform in [&self.platform, &self.presence, &self.subscription] {
                rows += platform.outbox.pending().await.unwrap();
            }
            if rows == 0 { Ok(()) } else { Err(format!("{rows} rows")) }
        })
        .await;
    }

    /// Says at presence where a peer stands: on the node `node-<peer>`, under subscription `sub-<peer>`, proof 2.
    pub(crate) fn place(&self, peer: &str, status: PeerStatus) {
        let view = PeerView {
            peer_id: id(peer),
            status,
            generation: 1,
            node_id: id(&format!("node-{peer}")),
            subscription_id: id(&format!("sub-{peer}")),
            proof_ver: 2,
            lease_until_ms: START_MS + 30_000,
            profile: Profile::default(),
        };
        self.peers.lock().unwrap().insert(peer.to_owned(), view);
    }

    /// A good proof of a peer, version 2.
    pub(crate) fn proof(&self, peer: &str) -> String {
        self.proof_with(&self.signer, peer, ACME)
    }

    /// A good proof that is bound to the key of this thumbprint.
    pub(crate) fn bound_proof(&self, peer: &str, thumbprint: &str) -> String {
        let bound = Entitlement { peer_key: Some(thumbprint.to_owned()), ..entitlement(peer, ACME) };
        self.signer.issue(bound, self.clock.now_ms()).unwrap().proof
    }

    pub(crate) fn proof_with(&self, signer: &ProofSigner, peer: &str, tenant: &str) -> String {
        signer.issue(entitlement(peer, tenant), self.clock.now_ms()).unwrap().proof
    }

    pub(crate) async fn publish(&self, from: &Platform, fact: &impl contracts::Fact) {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) as u64;
        let mut unit = Unit::new();
        unit.publish(&id(ACME), sequence, &Trail::new("double"), fact);
        from.outbox.commit(unit).await.unwrap();
        self.relayed().await;
    }

    pub(crate) async fn publish_key(&self) {
        let fact: SubscriptionEvent = ProofKeyPublishedV1 { key: self.signer.public() }.into();
        self.publish(&self.subscription, &fact).await;
        // A broker holds what was published before signaling has read it.
        let known = store::Key::new("proof-keys", "k-1");
        let read = async || self.platform.outbox.store().get(&known).await.unwrap();
        testkit::eventually(SOON, "signaling to know the key", read).await;
    }

    pub(crate) async fn revoke(&self, subscription: &str, min_ver: u64) {
        let until_ms = self.clock.now_ms() + 300_000;
        let fact = ProofRevokedV1 { subscription_id: id(subscription), min_ver, until_ms, reason: "canceled".into() };
        self.publish(&self.subscription, &SubscriptionEvent::from(fact)).await;
    }

    /// Presence says that a peer's lease ended; returns once signaling has read it.
    pub(crate) async fn lose(&self, peer: &str) {
        self.leave(peer, OfflineReason::TimedOut).await;
    }

    /// Presence says that a peer went.
    pub(crate) async fn leave(&self, peer: &str, reason: OfflineReason) {
        self.place(peer, PeerStatus::Offline);
        let fact = PeerWentOfflineV1 { peer_id: id(peer), generation: 1, reason };
        self.publish(&self.presence, &PresenceEvent::from(fact)).await;
    }

    /// Presence says that a peer is here.
    pub(crate) async fn come(&self, peer: &str) {
        self.place(peer, PeerStatus::Online);
        let (node_id, subscription_id) = (id(&format!("node-{peer}")), id(&format!("sub-{peer}")));
        let profile = Profile::default();
        let fact = PeerWentOnlineV1 { peer_id: id(peer), generation: 2, node_id, subscription_id, profile };
        self.publish(&self.presence, &PresenceEvent::from(fact)).await;
    }

    /// This process of signaling.
    pub(crate) fn node_id(&self) -> &str {
        self.platform.node_id.as_str()
    }

    /// Sends to a peer that is away until no more is kept for it.
    pub(crate) async fn fill(&self, peer: &str, session: &str) {
        let other = if peer == "alice" { "bob" } else { "alice" };
        while self.send(&id(session), other, candidate(1)).await.is_ok() {}
    }

    /// What lies among the dead letters; it is dropped.
    pub(crate) async fn letters(&self) -> Vec<DeadLetter> {
        let dead = self.platform.outbox.dead_letters();
        let found = dead.list(None, 100).await.unwrap().letters;
        for letter in &found {
            assert!(dead.drop(&letter.id, "the test has seen it").await.unwrap());
        }
        found
    }

    /// Moves the clock second by second until `done` says so.
    pub(crate) async fn wait_for<T>(&self, what: &str, mut done: impl AsyncFnMut() -> Option<T>) -> T {
        testkit::eventually(SOON, what, async || {
            let seen = done().await;
            if seen.is_none() {
                self.hand.advance(Duration::from_secs(1));
            }
            seen
        })
        .await
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
        let sender = Sender::new("gateway", self.clock.clone(), Entropy::system());
        let tenant = id(tenant);
        let asking = self.bus.ask(&sender, &tenant, trail, request, SOON);
        tokio::time::timeout(SOON, asking).await.expect("an answer").unwrap()
    }

    pub(crate) async fn open(&self, from: &str, to: &str) -> Result<SessionOpened, OpenSessionRefusal> {
        self.open_with(from, to, self.proof(from)).await
    }

    pub(crate) async fn open_with(
        &self,
        from: &str,
        to: &str,
        proof: String,
    ) -> Result<SessionOpened, OpenSessionRefusal> {
        decided(self.ask(ACME, &OpenSessionV1::of_two(id(from), id(to), proof)).await)
    }

    pub(crate) async fn send(
        &self,
        session: &SessionId,
        from: &str,
        signal: PeerSignal,
    ) -> Result<Forwarded, SendRefusal> {
        self.send_with(SendV1::plain(session.clone(), id(from), self.proof(from), signal)).await
    }

    pub(crate) async fn send_with(&self, ask: SendV1) -> Result<Forwarded, SendRefusal> {
        decided(self.ask(ACME, &ask).await)
    }

    /// What the gateway that holds the peer is handed for it from now on.
    pub(crate) async fn node_of(&self, peer: &str) -> Node {
        self.gateways.node_of(peer)
    }

    /// Every fact told until now, once all are told.
    pub(crate) async fn facts(&self) -> Vec<SignalingEvent> {
        self.relayed().await;
        self.observer
            .seen()
            .iter()
            .map(|fact| SignalingEvent::decode(&fact.kind, &fact.data).unwrap().unwrap())
            .collect()
    }
}

fn entitlement(peer: &str, tenant: &str) -> Entitlement {
    Entitlement {
        tenant: id(tenant),
        peer: id(peer),
        subscription: id(&format!("sub-{peer}")),
        ver: 2,
        plan: "team".into(),
        limits: BTreeMap::new(),
        features: Vec::new(),
        entitled_until_ms: FAR_MS,
        proof_id: "p-1".into(),
        peer_key: None,
    }
}

pub(crate) fn decided<T, R>(answer: Answer<T, R>) -> Result<T, R> {
    match answer {
        Answer::Ok(reply) => Ok(reply),
        Answer::Refused(refusal) => Err(refusal),
        Answer::Failed(failure) => panic!("{failure:?}"),
    }
}

pub(crate) fn id<T: std::str::FromStr<Err = contracts::IdError>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn offer(generation: u32) -> PeerSignal {
    PeerSignal::Offer { sdp: SAMPLE_SDP.into(), generation }
}

pub(crate) fn answer(generation: u32) -> PeerSignal {
    PeerSignal::Answer { sdp: SAMPLE_SDP.into(), generation }
}

pub(crate) fn candidate(generation: u32) -> PeerSignal {
    let candidate = "candidate:1 1 udp 2130706431 127.0.0.1 49152 typ host".into();
    PeerSignal::Candidate { candidate, sdp_mid: Some("0".into()), generation }
}

fn platform_config(folder: &Path, setting: &Setting) -> PlatformConfig {
    let store = setting.store.clone().unwrap_or_else(|| format!("sqlite:{}", folder.display()));
    let env = [
        ("SYNAPSE_PLATFORM__STORE".to_owned(), store),
        ("SYNAPSE_PLATFORM__CREATE_RESOURCES".to_owned(), "true".to_owned()),
    ];
    config::load(Sources { service: PLATFORM, defaults: PLATFORM_DEFAULTS, file: None, env: env.into_iter() }).unwrap()
}

fn signaling_config(setting: &Setting) -> signaling::Config {
    let asks = if setting.caches { Vec::new() } else { vec![("MAX_CACHED_PEERS", "0".to_owned())] };
    let settings = asks.into_iter().chain(setting.signaling.iter().cloned());
    let env = settings.map(|(key, value)| (format!("SYNAPSE_SIGNALING__{key}"), value));
    config::load(Sources { service: signaling::NAME, defaults: &[signaling::DEFAULTS], file: None, env }).unwrap()
}
