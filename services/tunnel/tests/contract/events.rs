//! Each event of the tunnel service.

use std::time::Duration;

use agent::{Options, Origin, Proved, Prover};
use auth::{ProofSigner, Role, SignerRules, SigningKey};
use bus::Trail;
use clock::{Clock, Entropy};
use contracts::Contract;
use contracts::events::subscription::{ProofKeyPublishedV1, SubscriptionEvent};
use contracts::events::tunnel::UsageRecordedV1;
use outbox::Unit;
use service::{Host, PROOF_AUDIENCE, PROOF_ISSUER};
use tempfile::TempDir;
use testkit::contract::{Events, Observer, On, Place};

use crate::harness::{ACME, START_MS, admitted, edge_config, entitlement, platform_config, token_at};
use crate::origin;

testkit::on_every_bus!(every_event_keeps_its_promises);

/// The longest that is allowed, and no connection is given up while a minute passes at once.
const SETTINGS: &[(&str, &str)] = &[
    ("proof_required", "true"),
    ("usage_interval_ms", "60000"),
    ("ping_every_ms", "60000"),
    ("dead_after_ms", "300000"),
];

async fn every_event_keeps_its_promises(on: On) {
    let folder = TempDir::new().unwrap();
    let (clock, hand) = Clock::manual(START_MS);
    let mut place = Place::start(on).await;
    let routes = tunnel::SUBSCRIPTIONS.iter().map(|line| (line.kind.to_owned(), vec![tunnel::NAME.to_owned()]));
    let bus = place.bus(routes.collect(), &clock, Some(&hand)).await;
    let observer = Observer::start(&bus, tunnel::NAME).await;
    let host = Host::on(platform_config(&folder), bus, clock.clone(), Entropy::system());
    let platform = host.platform(tunnel::NAME).await.unwrap();
    let public = tunnel::start(edge_config(SETTINGS), platform).await.unwrap();
    let edge = host.serve_public(tunnel::NAME, public).await.unwrap();

    let key = SigningKey::from_seed("k-1", &[7; 32]).unwrap();
    let signer = ProofSigner::new(key, START_MS + 86_400_000, SignerRules::new(PROOF_ISSUER, PROOF_AUDIENCE));
    let mut unit = Unit::new();
    let published = SubscriptionEvent::from(ProofKeyPublishedV1 { key: signer.public() });
    unit.publish(&ACME.parse().unwrap(), 1, &Trail::new("test"), &published);
    host.platform("subscription").await.unwrap().outbox.commit(unit).await.unwrap();
    let now_ms = clock.now_ms();
    let proof = signer.issue(entitlement("laptop", now_ms), now_ms).unwrap().proof;
    let prover = Prover::new(move || {
        let proof = proof.clone();
        Box::pin(async move { Ok(Proved { proof, refresh_at_ms: u64::MAX }) })
    });
    let origin = Origin::try_new(&origin::start().await.to_string()).unwrap();
    let options = Options::new(
        format!("http://{edge}"),
        token_at(ACME, "ada", Role::User, now_ms),
        "laptop".parse().unwrap(),
        origin,
    );
    let agent = admitted(&Options { prover: Some(prover), name: Some("blue".into()), ..options }).await;

    let mut events = Events::of(tunnel::NAME, &place, &observer);
    let used = async || {
        let answer = reqwest::get(format!("http://{edge}/t/blue/bytes/1000")).await.unwrap();
        assert_eq!(answer.bytes().await.unwrap().len(), 1_000);
        hand.advance(Duration::from_secs(60));
    };
    let made = events.makes_by_itself(&[UsageRecordedV1::KIND], used).await;
    let told: UsageRecordedV1 = serde_json::from_slice(&made[0].data).unwrap();
    let amounts = [("tunnel_bytes".to_owned(), 1_000), ("tunnel_requests".to_owned(), 1)];
    assert_eq!(told.usage.amounts, amounts.into());
    events.nothing_follows("a minute without a request", async |_| hand.advance(Duration::from_secs(60))).await;
    agent.stop().await;
    events.finish(env!("CARGO_TARGET_TMPDIR"));
}
