//! What the tunnel service reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent::{Options, Origin, Proved, Prover};
use auth::{ProofSigner, Role, SignerRules, SigningKey};
use bus::Trail;
use clock::{Clock, Entropy};
use contracts::requests::billing::ProofSnapshotV1;
use contracts::requests::subscription::ListProofKeysV1;
use contracts::signals::EVERYBODY;
use contracts::signals::gateway::EntitlementLostV1;
use contracts::{Contract, Fact};
use outbox::Unit;
use service::{Host, PROOF_AUDIENCE, PROOF_ISSUER};
use tempfile::TempDir;
use testkit::contract::{Answers, On, Place, ReadingSuite, golden_facts};

use crate::harness::{ACME, START_MS, edge_config, entitlement, platform_config, token_at};

testkit::on_every_bus!(what_is_read_is_what_is_committed);

async fn what_is_read_is_what_is_committed(on: On) {
    let folder = TempDir::new().unwrap();
    let (clock, hand) = Clock::manual(START_MS);
    let mut place = Place::start(on).await;
    let read: Vec<&str> = tunnel::SUBSCRIPTIONS.iter().map(|line| line.kind).collect();
    let routes = read.iter().map(|kind| ((*kind).to_owned(), vec![tunnel::NAME.to_owned()])).collect();
    let bus = place.bus(routes, &clock, Some(&hand)).await;
    let host = Host::on(platform_config(&folder), bus.clone(), clock.clone(), Entropy::system());
    let platform = host.platform(tunnel::NAME).await.unwrap();
    let subscription = host.platform("subscription").await.unwrap();
    let public = tunnel::start(edge_config(&[("proof_required", "true")]), platform).await.unwrap();
    let edge = host.serve_public(tunnel::NAME, public).await.unwrap();

    let asked = [ListProofKeysV1::KIND, ProofSnapshotV1::KIND];
    let others = Answers::serve(&bus, &asked).await;
    let suite = ReadingSuite::start(tunnel::NAME, &read, &[EntitlementLostV1::KIND], &asked);
    // Asked for again after a while as long as it is refused or goes on.
    others.each(&suite, ProofSnapshotV1::KIND, async |_| hand.advance(Duration::from_secs(31))).await;
    others
        .each(&suite, ListProofKeysV1::KIND, async |_| {
            // The key is unknown, and was asked for a while ago.
            hand.advance(Duration::from_secs(2));
            let _ = agent::start(options(edge, clock.now_ms())).await;
        })
        .await;
    suite.signal_all(&bus, &clock, EntitlementLostV1::KIND, EVERYBODY).await;
    let number = AtomicU64::new(1);
    for fact in read.into_iter().flat_map(golden_facts) {
        publish(&subscription, number.fetch_add(1, Ordering::Relaxed), &fact).await;
    }
    suite.finish(env!("CARGO_MANIFEST_DIR"), env!("CARGO_TARGET_TMPDIR")).await;
}

async fn publish(subscription: &service::Platform, sequence: u64, fact: &impl Fact) {
    let mut unit = Unit::new();
    unit.publish(&ACME.parse().unwrap(), sequence, &Trail::new("golden"), fact);
    subscription.outbox.commit(unit).await.unwrap();
}

/// An agent whose proof is signed by a key that nobody told of.
fn options(edge: std::net::SocketAddr, now_ms: u64) -> Options {
    let origin = Origin::try_new("127.0.0.1:1").unwrap();
    let prover = Prover::new(move || {
        let key = SigningKey::from_seed("unknown", &[9; 32]).unwrap();
        let signer = ProofSigner::new(key, now_ms + 86_400_000, SignerRules::new(PROOF_ISSUER, PROOF_AUDIENCE));
        let proof = signer.issue(entitlement("laptop", now_ms), now_ms).unwrap().proof;
        Box::pin(async move { Ok(Proved { proof, refresh_at_ms: u64::MAX }) })
    });
    let token = token_at(ACME, "ada", Role::User, now_ms);
    Options { prover: Some(prover), ..Options::new(format!("http://{edge}"), token, "laptop".parse().unwrap(), origin) }
}
