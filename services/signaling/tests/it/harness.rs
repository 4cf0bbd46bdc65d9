//! The real service on an embedded bus and a SQLite file, under a clock that only the test moves. Presence and the
//! subscription service are doubles: simple owners on the same bus, whose facts go through outboxes of their own.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth::{Entitlement, ProofSigner, SignerRules, SigningKey};
use bus::{Asked, Bus, Sender, Signals, Trail};
use clock::{Clock, Entropy, ManualClock};
use contracts::events::presence::{OfflineReason, PeerStatus, PeerWentOfflineV1, PresenceEvent};
use contracts::events::signaling::SignalingEvent;
use contracts::events::subscription::{ProofKeyPublishedV1, ProofRevokedV1, SubscriptionEvent};
use contracts::requests::presence::{LookupRefusal, LookupV1, PeerView, Profile};
use contracts::requests::signaling::{
    Forwarded, OpenSessionRefusal, OpenSessionV1, SendRefusal, SendV1, SessionOpened,
};
use contracts::requests::subscription::{ListProofKeysV1, NeverRefused, ProofKeys};
use contracts::signals::signaling::{DeliverV1, PeerSignal};
use contracts::{Answer, Contract, Request, SessionId};
use outbox::Unit;
use service::config::{self, Sources};
use service::{Host, PLATFORM, PLATFORM_DEFAULTS, PROOF_AUDIENCE, PROOF_ISSUER, Platform, PlatformConfig};
use tempfile::TempDir;
use testkit::contract::{Observer, On, Place};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything; a slow machine needs more than a quick one, and nobody waits for it in vain.
pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const START_MS: u64 = 1_790_000_000_000;
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
    platform: Platform,
    pub(crate) presence: Platform,
    pub(crate) subscription: Platform,
    host: Host,
    pub(crate) observer: Observer,
    pub(crate) place: Place,
    sequence: AtomicUsize,
}

/// What the presence double says counts at once.
const ASKS_EACH_TIME: [(&str, &str); 1] = [("max_cached_peers", "0")];

/// Runs a test on a fresh world that knows the proof key and has `alice`, `bob` and `carol` online; fails when it leaves
/// anything in an outbox or among the dead letters.
pub(crate) async fn run(test: impl AsyncFnOnce(&World)) {
    run_on(On::Embedded, test).await;
}

/// The same on another bus.
pub(crate) async fn run_on(on: On, test: impl AsyncFnOnce(&World)) {
    run_with(on, &ASKS_EACH_TIME, test).await;
}

/// The same with these settings.
pub(crate) async fn run_with(on: On, settings: &[(&str, &str)], test: impl AsyncFnOnce(&World)) {
    let folder = TempDir::new().unwrap();
    let (clock, hand) = Clock::manual(START_MS);
    let world = World::start_at(Place::start(on).await, folder.path(), settings, clock, hand).await;
    world.serve_doubles().await;
    world.publish_key().await;
    test(&world).await;
    world.stop().await;
}

/// The same on a bus where nobody else answers, and without the proof key.
pub(crate) async fn run_alone(on: On, test: impl AsyncFnOnce(&World)) {
    let folder = TempDir::new().unwrap();
    let (clock, hand) = Clock::manual(START_MS);
    let world = World::start_at(Place::start(on).await, folder.path(), &ASKS_EACH_TIME, clock, hand).await;
    test(&world).await;
    world.stop().await;
}

impl World {
    pub(crate) async fn start(folder: &Path, clock: Clock, hand: ManualClock) -> Self {
        let world = Self::start_at(Place::start(On::Embedded).await, folder, &ASKS_EACH_TIME, clock, hand).await;
        world.serve_doubles().await;
        world
    }

    async fn start_at(
        mut place: Place,
        folder: &Path,
        settings: &[(&str, &str)],
        clock: Clock,
        hand: ManualClock,
    ) -> Self {
        let read = signaling::SUBSCRIPTIONS.iter().map(|line| (line.kind.to_owned(), vec![signaling::NAME.into()]));
        let bus = place.bus(read.collect(), &clock, Some(&hand)).await;
        let host = Host::on(platform_config(folder), bus.clone(), clock.clone(), Entropy::system());
        let observer = Observer::start(&bus, signaling::NAME).await;
        // The same key in every life of a test's world.
        let key = SigningKey::from_seed("k-1", &[7; 32]).unwrap();
        let world = Self {
            signer: ProofSigner::new(key, START_MS + 86_400_000, SignerRules::new(PROOF_ISSUER, PROOF_AUDIENCE)),
            peers: Arc::default(),
            lookups: Arc::default(),
            key_requests: Arc::default(),
            stuck: Arc::new(watch::Sender::new(true)),
            keys: Arc::new(Mutex::new(ProofKeys { keys: Vec::new() })),
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
        let routes = signaling::start(signaling_config(settings), world.platform.clone()).await.unwrap();
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

    pub(crate) fn proof_with(&self, signer: &ProofSigner, peer: &str, tenant: &str) -> String {
        let entitlement = Entitlement {
            tenant: id(tenant),
            peer: id(peer),
            subscription: id(&format!("sub-{peer}")),
            ver: 2,
            plan: "team".into(),
            limits: BTreeMap::new(),
            features: Vec::new(),
            entitled_until_ms: START_MS + 86_400_000,
            proof_id: "p-1".into(),
            peer_key: None,
        };
        signer.issue(entitlement, self.clock.now_ms()).unwrap().proof
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

    /// Presence says that a peer went; returns once signaling has read it.
    pub(crate) async fn lose(&self, peer: &str) {
        self.place(peer, PeerStatus::Offline);
        let fact = PeerWentOfflineV1 { peer_id: id(peer), generation: 1, reason: OfflineReason::TimedOut };
        self.publish(&self.presence, &PresenceEvent::from(fact)).await;
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
        decided(self.ask(ACME, &OpenSessionV1 { from: id(from), to: id(to), proof }).await)
    }

    pub(crate) async fn send(
        &self,
        session: &SessionId,
        from: &str,
        signal: PeerSignal,
    ) -> Result<Forwarded, SendRefusal> {
        let proof = self.proof(from);
        decided(self.ask(ACME, &SendV1 { session_id: session.clone(), from: id(from), proof, signal }).await)
    }

    /// Listens as the gateway that holds the peer.
    pub(crate) async fn node_of(&self, peer: &str) -> Signals {
        self.bus.listen(DeliverV1::KIND, Some(&format!("node-{peer}")), None, 1_000).await.unwrap()
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

fn decided<T, R>(answer: Answer<T, R>) -> Result<T, R> {
    match answer {
        Answer::Ok(reply) => Ok(reply),
        Answer::Refused(refusal) => Err(refusal),
        Answer::Failed(failure) => panic!("{failure:?}"),
    }
}

/// The next signal that a gateway is handed.
pub(crate) async fn next(node: &mut Signals) -> DeliverV1 {
    let signal = tokio::time::timeout(SOON, node.next()).await.expect("a signal").unwrap();
    serde_json::from_slice(&signal.data).unwrap()
}

/// Whether nothing waits. Signals in one process are handed over before the request they follow from is answered.
pub(crate) async fn is_quiet(node: &mut Signals) -> bool {
    tokio::select! {
        biased;
        _ = node.next() => false,
        () = std::future::ready(()) => true,
    }
}

pub(crate) fn id<T: std::str::FromStr<Err = contracts::IdError>>(text: &str) -> T {
    text.parse().unwrap()
}

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

pub(crate) fn offer(generation: u32) -> PeerSignal {
    PeerSignal::Offer { sdp: SDP.into(), generation }
}

pub(crate) fn answer(generation: u32) -> PeerSignal {
    PeerSignal::Answer { sdp: SDP.into(), generation }
}

pub(crate) fn candidate(generation: u32) -> PeerSignal {
    let candidate = "candidate:1 1 udp 2130706431 127.0.0.1 49152 typ host".into();
    PeerSignal::Candidate { candidate, sdp_mid: Some("0".into()), generation }
}

fn platform_config(folder: &Path) -> PlatformConfig {
    let env = [("SYNAPSE_PLATFORM__STORE".to_owned(), format!("sqlite:{}", folder.display()))];
    config::load(Sources { service: PLATFORM, defaults: PLATFORM_DEFAULTS, file: None, env: env.into_iter() }).unwrap()
}

fn signaling_config(settings: &[(&str, &str)]) -> signaling::Config {
    let name = |key: &str| format!("SYNAPSE_SIGNALING__{}", key.to_ascii_uppercase());
    let env = settings.iter().map(|(key, value)| (name(key), (*value).to_owned()));
    config::load(Sources { service: signaling::NAME, defaults: &[signaling::DEFAULTS], file: None, env }).unwrap()
}
