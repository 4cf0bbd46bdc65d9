//! Sweeps, counted in what they ask of the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use clock::{Clock, Entropy, ManualClock};
use contracts::events::presence::PeerWentOfflineV1;
use contracts::requests::presence::{ConnectV1, Profile};
use outbox::Outbox;
use service::config::{self, Sources};
use service::{Host, PLATFORM, PLATFORM_DEFAULTS};
use store::{Action, Backend, Item, Key, Page, Query, Store};
use tempfile::TempDir;

use super::*;
use crate::{Config, DEFAULTS, NAME, counts};

const LEASE_MS: u64 = 30_000;
const WENT_OFFLINE: &str = <PeerWentOfflineV1 as contracts::Contract>::KIND;

/// A store that counts what is asked of it.
struct Counting {
    inner: Store,
    reads: Arc<AtomicUsize>,
    commits: Arc<AtomicUsize>,
    /// Offline facts that were committed.
    told: Arc<AtomicUsize>,
}

#[async_trait]
impl Backend for Counting {
    fn system(&self) -> &'static str {
        self.inner.backend_name()
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.get(key).await
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.query(query).await
    }

    async fn query_index(&self, query: &Query) -> Result<Page, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.query_index(query).await
    }

    async fn transact(&self, actions: Vec<Action>) -> Result<(), StoreError> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        let is_fact = |action: &&Action| matches!(action, Action::Put { item, .. } if item.body.contains(WENT_OFFLINE));
        let facts = actions.iter().filter(is_fact).count();
        self.inner.transact(actions).await?;
        self.told.fetch_add(facts, Ordering::Relaxed);
        Ok(())
    }
}

/// Two presence processes on one table, which only the tests make sweep.
struct World {
    one: Presence,
    other: Presence,
    hand: ManualClock,
    reads: Arc<AtomicUsize>,
    commits: Arc<AtomicUsize>,
    told: Arc<AtomicUsize>,
    _folder: TempDir,
}

async fn world() -> World {
    let folder = TempDir::new().unwrap();
    let (clock, hand) = Clock::manual(1_790_000_000_000);
    let env = [("SYNAPSE_PLATFORM__STORE".to_owned(), format!("sqlite:{}", folder.path().display()))];
    let sources = Sources { service: PLATFORM, defaults: PLATFORM_DEFAULTS, file: None, env: env.into_iter() };
    let bus = bus::Bus::embedded(bus::EmbeddedOptions::default(), clock.clone());
    let host = Host::on(config::load(sources).unwrap(), bus.clone(), clock.clone(), Entropy::system());
    let mut platform = host.platform(NAME).await.unwrap();
    let counters: [Arc<AtomicUsize>; 3] = std::array::from_fn(|_| Arc::default());
    let [reads, commits, told] = counters;
    let inner = platform.outbox.store().clone();
    let (reads_of, commits_of, told_of) = (Arc::clone(&reads), Arc::clone(&commits), Arc::clone(&told));
    let counting = Counting { inner, reads: reads_of, commits: commits_of, told: told_of };
    let store = Store::on(Arc::new(counting), "counted", clock.clone());
    platform.outbox = Outbox::new(NAME, store, bus, clock, Entropy::system(), outbox::Options::default());
    let sources = Sources { service: NAME, defaults: &[DEFAULTS], file: None, env: std::iter::empty() };
    let config: Config = config::load(sources).unwrap();
    let one = Presence::open(config.clone(), platform.clone()).await.unwrap();
    let other = Presence::open(config, platform).await.unwrap();
    World { one, other, hand, reads, commits, told, _folder: folder }
}

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

impl World {
    /// Places peers without telling anybody, and forgets what that cost.
    async fn place(&self, peers: usize) {
        let now_ms = self.one.platform.clock.now_ms();
        for numbers in (0..peers).collect::<Vec<_>>().chunks(20) {
            let mut draft = Draft::default();
            for number in numbers {
                let ask = ConnectV1 {
                    peer_id: format!("peer-{number}").parse().unwrap(),
                    user_id: "ada".parse().unwrap(),
                    node_id: "gateway-1".parse().unwrap(),
                    connection_id: "c1".parse().unwrap(),
                    subscription_id: "sub-1".parse().unwrap(),
                    proof_ver: 1,
                    max_peers: None,
                    status: None,
                    profile: Profile::default(),
                    address: None,
                };
                let peer = Peer::connect(None, ask, None, now_ms, LEASE_MS).unwrap().peer;
                self.one.peers.write(&mut draft, &acme(), None, &peer, now_ms);
            }
            assert!(self.one.peers.commit(draft).await.unwrap());
        }
        assert_eq!(self.here().await, peers as u64);
        self.reads.store(0, Ordering::Relaxed);
        self.commits.store(0, Ordering::Relaxed);
    }

    async fn here(&self) -> u64 {
        counts::read(self.one.peers.store(), &acme(), counts::HERE).await.unwrap()
    }

    /// How many ends of peers were told.
    fn told(&self) -> usize {
        self.told.load(Ordering::Relaxed)
    }
}

async fn sweep_to_the_end(presence: &Presence) -> usize {
    let mut ended = 0;
    loop {
        let swept = sweep(presence).await.unwrap();
        ended += swept.ended;
        if !swept.more {
            return ended;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_ended_leases_cost_a_few_hundred_commits() {
    let world = world().await;
    world.place(10_000).await;
    assert_eq!(sweep(&world.one).await.unwrap(), Swept::default(), "no lease has ended");
    world.hand.advance(Duration::from_millis(LEASE_MS));
    let watch = Clock::system();
    let begun = watch.monotonic();
    assert_eq!(sweep_to_the_end(&world.one).await, 10_000);
    let took = watch.monotonic().saturating_sub(begun);
    let (commits, reads) = (world.commits.load(Ordering::Relaxed), world.reads.load(Ordering::Relaxed));
    println!("10,000 ended leases: {took:?}, {commits} commits, {reads} reads");
    // Three rows a peer, a hundred a transaction; a page of 63 makes three transactions.
    assert!(commits <= 10_000 / 16 + 2 * 16 * 12, "{commits} commits");
    assert!(reads <= 10_000 / 10, "{reads} reads");
    assert_eq!((world.here().await, world.told()), (0, 10_000), "each was told once");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_a_sweep_and_tell_each_end_once() {
    let world = world().await;
    world.place(2_000).await;
    world.hand.advance(Duration::from_millis(LEASE_MS));
    let mut shares = (0, 0);
    while world.here().await > 0 {
        let (one, other) = tokio::join!(sweep_to_the_end(&world.one), sweep_to_the_end(&world.other));
        shares = (shares.0 + one, shares.1 + other);
    }
    assert_eq!(shares.0 + shares.1, 2_000, "{shares:?}");
    assert_eq!(world.told(), 2_000, "each was told once");
    // Both looked at every shard, and neither did the other's work again.
    let commits = world.commits.load(Ordering::Relaxed);
    assert!(commits <= 2_000 / 10 + 300, "{commits} commits");
}

#[tokio::test]
async fn a_sweep_that_died_is_carried_on() {
    let world = world().await;
    world.place(100).await;
    world.hand.advance(Duration::from_millis(LEASE_MS));
    // A process took every shard and died.
    for shard in 0..SHARDS {
        let now_ms = world.one.platform.clock.now_ms();
        assert!(world.one.peers.claim(shard, now_ms, 7).await.unwrap().is_some());
    }
    assert_eq!(sweep_to_the_end(&world.other).await, 0, "it may be at it");
    world.hand.advance(Duration::from_secs(5));
    assert_eq!(sweep_to_the_end(&world.other).await, 100);
    assert_eq!((world.here().await, world.told()), (0, 100));
}

#[tokio::test]
async fn who_was_heard_of_meanwhile_stays_and_the_others_of_the_batch_go() {
    let world = world().await;
    world.place(40).await;
    world.hand.advance(Duration::from_millis(LEASE_MS));
    let now_ms = world.one.platform.clock.now_ms();
    let mut found = Vec::new();
    for shard in 0..SHARDS {
        found.extend(world.one.peers.ended_leases(shard, now_ms, 100, None).await.unwrap().peers);
    }
    assert_eq!(found.len(), 40);
    // After the sweep has read them.
    let (trail, saved) = (Trail::new("beat"), found[3].1.peer.peer_id.clone());
    let beat = |known: Option<Peer>| {
        let peer = known.and_then(|peer| peer.heartbeat(1, now_ms, LEASE_MS));
        Ok::<_, Infallible>(peer.map(|peer| crate::peer::Change { peer, fact: None }))
    };
    change(&world.other, &acme(), &saved, &trail, None, beat).await.unwrap();
    assert_eq!(end_all(&world.one, found, now_ms).await.unwrap(), 39);
    assert_eq!((world.here().await, world.told()), (1, 39));
    let stands = world.one.peers.find(&acme(), &saved).await.unwrap().unwrap().peer;
    assert!(stands.marks().is_some() && stands.lease_until_ms == now_ms + LEASE_MS);
}
