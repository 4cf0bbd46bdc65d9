//! The real gateway on a free port, an embedded bus and a SQLite file, under a clock that only the test moves. What is
//! behind it are doubles on the same bus; the subscription double's facts go through an outbox of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use auth::{Entitlement, Grant, ProofSigner, Role, SignerRules, SigningKey, TokenMinter};
use bus::{Bus, Sender, Trail};
use clock::{Clock, Entropy, ManualClock};
use contracts::events::presence::PeerStatus;
use contracts::events::subscription::{ProofKeyPublishedV1, ProofRevokedV1, SubscriptionEvent};
use contracts::frames::ServerFrame;
use contracts::requests::presence::{DisconnectV1, LookupV1};
use contracts::requests::subscription::{ListProofKeysV1, ProofKeys};
use contracts::{Fact, Request, Signal};
use outbox::Unit;
use serde_json::{Value, json};
use service::config::{self, Mode, Sources};
use service::{Host, PLATFORM, PLATFORM_DEFAULTS, PROOF_AUDIENCE, PROOF_ISSUER, Platform, PlatformConfig};
use tempfile::TempDir;
use testkit::contract::{On, Place};

use crate::client::{Answer, Client, raw};
use crate::doubles::Doubles;

/// Longest wait for anything; a slow machine needs more than a quick one, and nobody waits for it in vain.
pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const START_MS: u64 = 1_790_000_000_000;
pub(crate) const SECRET: &str = "a secret of thirty-two bytes or so";
pub(crate) const ACME: &str = "acme";

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) bus: Bus,
    pub(crate) clock: Clock,
    pub(crate) hand: ManualClock,
    pub(crate) doubles: Arc<Doubles>,
    pub(crate) node: String,
    pub(crate) host: Host,
    /// The router as it prints itself.
    pub(crate) router: String,
    signer: ProofSigner,
    platform: Platform,
    subscription: Platform,
    sequence: AtomicU64,
    place: Place,
}

/// Another gateway process.
pub(crate) struct Neighbour {
    pub(crate) address: SocketAddr,
    pub(crate) node: String,
    pub(crate) host: Host,
    _folder: TempDir,
}

pub(crate) async fn run(test: impl AsyncFnOnce(&World)) {
    run_with(&[], test).await;
}

/// Runs a test on a fresh world with these settings of the gateway; fails when it leaves anything in an outbox or among
/// the dead letters.
pub(crate) async fn run_with(settings: &[(&str, &str)], test: impl AsyncFnOnce(&World)) {
    let folder = TempDir::new().unwrap();
    run_world(World::start(On::Embedded, folder.path(), settings).await, test).await;
}

/// The same with a broker between gateways, as in production.
pub(crate) async fn run_on_nats(test: impl AsyncFnOnce(&World)) {
    let folder = TempDir::new().unwrap();
    run_world(World::start(On::Nats, folder.path(), &[]).await, test).await;
}

async fn run_world(world: World, test: impl AsyncFnOnce(&World)) {
    world.doubles.serve(&world.bus, &world.clock).await;
    world.publish_key().await;
    test(&world).await;
    world.stop().await;
}

/// The same without anybody behind the gateway.
pub(crate) async fn run_alone(test: impl AsyncFnOnce(&World)) {
    run_unknowing(On::Embedded, async |world| {
        world.publish_key().await;
        test(world).await;
    })
    .await;
}

/// The same on any bus, and the gateway does not know the proof key yet.
pub(crate) async fn run_unknowing(on: On, test: impl AsyncFnOnce(&World)) {
    let folder = TempDir::new().unwrap();
    let world = World::start(on, folder.path(), &[]).await;
    test(&world).await;
    world.stop().await;
}

impl World {
    async fn start(on: On, folder: &Path, settings: &[(&str, &str)]) -> Self {
        let (clock, hand) = Clock::manual(START_MS);
        let mut place = Place::start(on).await;
        let read = gateway::SUBSCRIPTIONS.iter().map(|line| (line.kind.to_owned(), vec![gateway::NAME.to_owned()]));
        let bus = place.bus(read.collect(), &clock, Some(&hand)).await;
        let host = Host::on(platform_config(folder), bus.clone(), clock.clone(), Entropy::system());
        let platform = host.platform(gateway::NAME).await.unwrap();
        let subscription = host.platform("subscription").await.unwrap();
        let router = gateway::start(gateway_config(settings), platform.clone()).await.unwrap();
        let printed = format!("{router:?}");
        let address = host.serve_public(gateway::NAME, router).await.unwrap();
        let key = SigningKey::from_seed("k-1", &[7; 32]).unwrap();
        Self {
            signer: ProofSigner::new(key, START_MS + 86_400_000, SignerRules::new(PROOF_ISSUER, PROOF_AUDIENCE)),
            doubles: Arc::default(),
            node: platform.node_id.to_string(),
            router: printed,
            sequence: AtomicU64::new(1),
            address,
            bus,
            clock,
            hand,
            host,
            platform,
            subscription,
            place,
        }
    }

    /// A second gateway on the same bus, with a store of its own.
    pub(crate) async fn neighbour(&self, settings: &[(&str, &str)]) -> Neighbour {
        let folder = TempDir::new().unwrap();
        let keys = ProofKeys { keys: vec![self.signer.public()] };
        self.doubles.script::<ListProofKeysV1>(&contracts::Answer::Ok(keys));
        let host = Host::on(platform_config(folder.path()), self.bus.clone(), self.clock.clone(), Entropy::system());
        let platform = host.platform(gateway::NAME).await.unwrap();
        let node = platform.node_id.to_string();
        let router = gateway::start(gateway_config(settings), platform).await.unwrap();
        let address = host.serve_public(gateway::NAME, router).await.unwrap();
        Neighbour { address, node, host, _folder: folder }
    }

    /// From now on presence says that this peer is at that gateway.
    pub(crate) fn locate(&self, peer: &str, node: &str, status: PeerStatus) {
        let mut view = LookupV1::replies().remove(0);
        (view.peer_id, view.node_id, view.status) = (peer.parse().unwrap(), node.parse().unwrap(), status);
        self.doubles.script::<LookupV1>(&contracts::Answer::Ok(view));
    }

    /// A connection of `acme`'s peer at a gateway, with more in its auth frame; what the auth frame gave.
    pub(crate) async fn enter_at(&self, address: SocketAddr, peer: &str, more: &Value) -> (Client, Value) {
        let mut auth = self.auth_frame(peer);
        auth.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut client = Client::connect(address).await;
        assert!(matches!(client.next().await, ServerFrame::Hello { .. }));
        let result = client.accepted(&auth).await.unwrap();
        (client, result)
    }

    /// What every test must leave behind: nothing.
    async fn stop(self) {
        self.relayed().await;
        let letters = self.platform.outbox.dead_letters();
        assert_eq!(letters.list(None, 10).await.unwrap().letters.len(), 0, "dead letters");
        let host = self.host.clone();
        let draining = tokio::spawn(async move { host.drain().await });
        // In one process draining needs no clock: every task heeds the stop. A broker's connection is given its second.
        testkit::eventually(SOON, "the end", async || {
            if !self.place.is_embedded() {
                self.hand.advance(Duration::from_millis(50));
            }
            draining.is_finished().then_some(())
        })
        .await;
    }

    /// The gateway's own store.
    pub(crate) fn store(&self) -> &store::Store {
        self.platform.outbox.store()
    }

    pub(crate) fn platform_mode(&self) -> Mode {
        self.platform.mode
    }

    pub(crate) async fn relayed(&self) {
        testkit::eventually(SOON, "empty outboxes", async || {
            let rows =
                self.platform.outbox.pending().await.unwrap() + self.subscription.outbox.pending().await.unwrap();
            if rows == 0 { Ok(()) } else { Err(format!("{rows} rows")) }
        })
        .await;
    }

    /// Publishes a fact of the subscription service; returns once the gateway has read it.
    pub(crate) async fn publish(&self, fact: &impl Fact) {
        let mut unit = Unit::new();
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        unit.publish(&ACME.parse().unwrap(), sequence, &Trail::new("double"), fact);
        self.subscription.outbox.commit(unit).await.unwrap();
        self.relayed().await;
    }

    /// The gateway learns the key that [`World::proof`] signs with.
    pub(crate) async fn publish_key(&self) {
        self.publish(&SubscriptionEvent::from(ProofKeyPublishedV1 { key: self.signer.public() })).await;
        // A broker holds what was published before the gateway has read it.
        let known = store::Key::new("proof-keys", "k-1");
        let read = async || self.platform.outbox.store().get(&known).await.unwrap();
        testkit::eventually(SOON, "the gateway to know the key", read).await;
    }

    pub(crate) async fn revoke(&self, subscription: &str, min_ver: u64) {
        let (subscription_id, until_ms) = (subscription.parse().unwrap(), self.clock.now_ms() + 300_000);
        let fact = ProofRevokedV1 { subscription_id, min_ver, until_ms, reason: "canceled".into() };
        self.publish(&SubscriptionEvent::from(fact)).await;
    }

    /// Sends a signal as another process would.
    pub(crate) async fn tell(&self, address: &str, tenant: &str, signal: &impl Signal) {
        let sender = Sender::new("double", self.clock.clone(), Entropy::system());
        self.bus.tell(&sender, address, &tenant.parse().unwrap(), &Trail::new("double"), signal).await.unwrap();
    }

    /// A token of the user `ada` that lives for an hour.
    pub(crate) fn token(&self) -> String {
        self.token_of(ACME, "ada", Role::User, 3_600_000)
    }

    pub(crate) fn token_of(&self, tenant: &str, user: &str, role: Role, ttl_ms: u64) -> String {
        let minter = TokenMinter::hs256("synapse", "synapse-gateway", "hs-1", SECRET.into()).unwrap();
        let (tenant, user) = (tenant.parse().unwrap(), user.parse().unwrap());
        minter.mint(&Grant { tenant, user, role, ttl_ms, token_id: "t-1".into() }, self.clock.now_ms())
    }

    /// A proof of `acme`'s peer under `sub-<peer>`.
    pub(crate) fn proof(&self, peer: &str, ver: u64) -> String {
        self.proof_of(ACME, peer, &format!("sub-{peer}"), ver)
    }

    pub(crate) fn proof_of(&self, tenant: &str, peer: &str, subscription: &str, ver: u64) -> String {
        let entitlement = Entitlement {
            tenant: tenant.parse().unwrap(),
            peer: peer.parse().unwrap(),
            subscription: subscription.parse().unwrap(),
            ver,
            plan: "team".into(),
            limits: BTreeMap::from([("peers".into(), 50)]),
            features: Vec::new(),
            entitled_until_ms: START_MS + 86_400_000,
            proof_id: "p-1".into(),
            peer_key: None,
        };
        self.signer.issue(entitlement, self.clock.now_ms()).unwrap().proof
    }

    pub(crate) fn auth_frame(&self, peer: &str) -> Value {
        let (token, proof) = (self.token(), self.proof(peer, 2));
        json!({"type": "auth", "id": "auth-1", "token": token, "peer_id": peer, "proof": proof})
    }

    /// A connection that has read its hello.
    pub(crate) async fn connect(&self) -> Client {
        let mut client = Client::connect(self.address).await;
        assert!(matches!(client.next().await, ServerFrame::Hello { .. }));
        client
    }

    /// A connection of `acme`'s peer that was accepted.
    pub(crate) async fn enter(&self, peer: &str) -> Client {
        self.enter_with(&self.auth_frame(peer)).await
    }

    pub(crate) async fn enter_with(&self, auth: &Value) -> Client {
        let mut client = self.connect().await;
        client.accepted(auth).await;
        client
    }

    /// The leaves that presence was told, once there are `count`: peer, generation, reason.
    pub(crate) async fn leaves(&self, count: usize) -> Vec<(String, u64, String)> {
        testkit::eventually(SOON, "presence to be told", async || {
            let seen = self.doubles.seen::<DisconnectV1>().len();
            if seen >= count { Ok(()) } else { Err(format!("{seen} leaves")) }
        })
        .await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let leave =
            |body: &Value| (text(&body["peer_id"]), body["generation"].as_u64().unwrap(), text(&body["reason"]));
        self.doubles.seen::<DisconnectV1>().iter().map(|seen| leave(&seen.body)).collect()
    }

    /// An HTTP request with a good token.
    pub(crate) async fn http(&self, line: &str, headers: &str, body: &str) -> Answer {
        let token = format!("Authorization: Bearer {}\r\n{headers}", self.token());
        self.http_as(line, &token, body).await
    }

    pub(crate) async fn http_as(&self, line: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n");
        raw(self.address, &format!("{head}{headers}\r\n{body}")).await
    }
}

fn platform_config(folder: &Path) -> PlatformConfig {
    let env = [
        ("SYNAPSE_PLATFORM__STORE".to_owned(), format!("sqlite:{}", folder.display())),
        ("SYNAPSE_PLATFORM__HTTP_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
    ];
    config::load(Sources { service: PLATFORM, defaults: PLATFORM_DEFAULTS, file: None, env: env.into_iter() }).unwrap()
}

fn gateway_config(settings: &[(&str, &str)]) -> gateway::Config {
    let name = |key: &str| format!("SYNAPSE_GATEWAY__{}", key.to_ascii_uppercase());
    // What the doubles say counts at once, unless a test is about that.
    let usual = [("token_secret", SECRET), ("max_cached_peers", "0")];
    let usual = usual.iter().filter(|(key, _)| settings.iter().all(|(other, _)| key != other));
    let env = usual.chain(settings).map(|(key, value)| (name(key), (*value).to_owned()));
    config::load(Sources { service: gateway::NAME, defaults: &[gateway::DEFAULTS], file: None, env }).unwrap()
}
