//! How signaling learns keys and revocations.

use std::sync::atomic::Ordering;
use std::time::Duration;

use auth::{ProofSigner, SignerRules, SigningKey};
use bus::{Sender, Trail};
use clock::{Clock, Entropy};
use contracts::requests::signaling::OpenSessionRefusal;
use contracts::signals::EVERYBODY;
use contracts::signals::gateway::EntitlementLostV1;
use service::{PROOF_AUDIENCE, PROOF_ISSUER};
use tempfile::TempDir;

use crate::harness::{ACME, SOON, START_MS, World, id, run};

fn refused(answer: Result<contracts::requests::signaling::SessionOpened, OpenSessionRefusal>, word: &str) {
    match answer {
        Err(OpenSessionRefusal::ProofRefused { message }) => assert!(message.contains(word), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_that_was_published_is_known_without_asking_and_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let (clock, hand) = Clock::manual(START_MS);
    let world = World::start(folder.path(), clock.clone(), hand.clone()).await;
    world.publish_key().await;
    world.open("alice", "bob").await.unwrap();
    assert_eq!(world.key_requests.load(Ordering::Relaxed), 0);
    world.revoke("sub-carol", 3).await;
    world.stop().await;

    let world = World::start(folder.path(), clock, hand).await;
    world.open("alice", "bob").await.unwrap();
    refused(world.open("carol", "bob").await, "revoked");
    assert_eq!(world.key_requests.load(Ordering::Relaxed), 0);
    world.stop().await;
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once_and_not_by_everybody() {
    run(async |world| {
        let key = SigningKey::from_seed("k-2", &[8; 32]).unwrap();
        let rules = SignerRules::new(PROOF_ISSUER, PROOF_AUDIENCE);
        let second = ProofSigner::new(key, START_MS + 86_400_000, rules.clone());
        world.keys.lock().unwrap().keys.push(second.public());
        let proof = world.proof_with(&second, "alice", ACME);
        let opened = futures::future::join_all((0..10).map(|_| world.open_with("alice", "bob", proof.clone()))).await;
        assert!(opened.iter().all(Result::is_ok), "{opened:?}");
        assert_eq!(world.key_requests.load(Ordering::Relaxed), 1);

        // A key that nobody published: refused, and within the cooldown nobody is asked again.
        let forged = ProofSigner::new(SigningKey::from_seed("k-3", &[9; 32]).unwrap(), u64::MAX, rules);
        let forged = world.proof_with(&forged, "alice", ACME);
        for _ in 0..5 {
            refused(world.open_with("alice", "bob", forged.clone()).await, "unknown key");
        }
        assert_eq!(world.key_requests.load(Ordering::Relaxed), 1);
        world.hand.advance(Duration::from_secs(1));
        refused(world.open_with("alice", "bob", forged).await, "unknown key");
        assert_eq!(world.key_requests.load(Ordering::Relaxed), 2);
    })
    .await;
}

#[tokio::test]
async fn a_revocation_event_voids_older_proofs_only() {
    run(async |world| {
        world.revoke("sub-alice", 2).await;
        world.open("alice", "bob").await.unwrap();
        world.revoke("sub-alice", 3).await;
        refused(world.open("alice", "bob").await, "revoked");
        world.open("bob", "carol").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_revocation_that_another_process_read_comes_by_signal() {
    run(async |world| {
        world.open("alice", "bob").await.unwrap();
        let lost = EntitlementLostV1 {
            subscription_id: id("sub-alice"),
            min_ver: 3,
            until_ms: START_MS + 300_000,
            reason: "canceled".into(),
        };
        let sender = Sender::new("signaling", world.clock.clone(), Entropy::system());
        world.bus.tell(&sender, EVERYBODY, &id(ACME), &Trail::new("other"), &lost).await.unwrap();
        testkit::eventually(SOON, "the revocation to be known", async || {
            world.open("alice", "bob").await.is_err().then_some(())
        })
        .await;
        refused(world.open("alice", "bob").await, "revoked");
    })
    .await;
}

#[tokio::test]
async fn a_session_that_stands_carries_nothing_for_a_revoked_peer() {
    run(async |world| {
        let session = world.open("alice", "bob").await.unwrap().session_id;
        world.revoke("sub-alice", 3).await;
        let from_revoked = world.send(&session, "alice", crate::harness::offer(1)).await;
        assert!(
            matches!(from_revoked, Err(contracts::requests::signaling::SendRefusal::ProofRefused { .. })),
            "{from_revoked:?}"
        );
        let to_revoked = world.send(&session, "bob", crate::harness::offer(1)).await;
        assert_eq!(to_revoked, Err(contracts::requests::signaling::SendRefusal::PeerOffline));
    })
    .await;
}
