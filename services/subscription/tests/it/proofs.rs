use std::time::Duration;

use auth::{Expected, ProofError, ProofVerifier};
use contracts::Answer;
use contracts::events::subscription::{ProofKey, ProofRevokedV1, Status, SubscriptionEvent};
use contracts::requests::subscription::{CreateV1, ListProofKeysV1, ProofIssued, VerifyRefusal};
use stripe_emulator::Options;

use crate::harness::{World, prove, tenant, until, wish};

const NOW: u64 = 1_790_000_000_000;

pub(crate) async fn keys(world: &World) -> Vec<ProofKey> {
    match world.service.ask("platform", &ListProofKeysV1 {}).await {
        Answer::Ok(reply) => reply.keys,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn verifier(world: &World) -> ProofVerifier {
    let verifier = ProofVerifier::new(service::proof_rules());
    for key in keys(world).await {
        verifier.add_key(&key, world.service.platform.clock.now_ms()).unwrap();
    }
    verifier
}

async fn proof(world: &World, ask: &contracts::requests::subscription::VerifyV1) -> ProofIssued {
    match world.service.ask("acme", ask).await {
        Answer::Ok(issued) => issued,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_good_for_its_peer_with_the_published_key() {
    let world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let issued = proof(&world, &prove(&view, "ada")).await;
    let verifier = verifier(&world).await;
    let (tenant, peer, now_ms) = (tenant(), "alice".parse().unwrap(), world.service.platform.clock.now_ms());
    let good =
        verifier.verify(&issued.proof, Expected { tenant: &tenant, peer: &peer, peer_key: None }, now_ms).unwrap();
    assert_eq!((good.plan.as_str(), good.ver, good.limits["peers"]), ("team", 1, 50));
    assert_eq!(good.subscription, view.subscription_id);
    assert!(good.expires_at_ms <= now_ms + 300_000);
    let (other, elsewhere) = ("bob".parse().unwrap(), "other".parse().unwrap());
    let wrong = verifier.verify(&issued.proof, Expected { tenant: &tenant, peer: &other, peer_key: None }, now_ms);
    assert_eq!(wrong.unwrap_err(), ProofError::WrongPeer);
    let wrong = verifier.verify(&issued.proof, Expected { tenant: &elsewhere, peer: &peer, peer_key: None }, now_ms);
    assert_eq!(wrong.unwrap_err(), ProofError::WrongTenant);
    let published = world.service.facts().await.into_iter().find_map(|(_, fact)| match fact {
        SubscriptionEvent::ProofKeyPublished(published) => Some(published.key),
        _ => None,
    });
    assert_eq!(published.map(|key| key.kid), Some(good.kid.clone()));
    let revoked = ProofRevokedV1 {
        subscription_id: view.subscription_id,
        min_ver: 2,
        until_ms: now_ms + 400_000,
        reason: "canceled".into(),
    };
    verifier.revoke(&revoked, now_ms);
    let void = verifier.verify(&issued.proof, Expected { tenant: &tenant, peer: &peer, peer_key: None }, now_ms);
    assert_eq!(void.unwrap_err(), ProofError::Revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_of_an_entitled_subscription_gets_a_proof() {
    let options = Options { auto_confirm: false, ..Options::default() };
    let world = World::on(clock::Clock::system(), &[], options).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let refused = |refusal| Answer::<ProofIssued, _>::Refused(refusal);
    assert_eq!(world.service.ask("acme", &prove(&view, "eve")).await, refused(VerifyRefusal::NotOwner));
    assert_eq!(world.service.ask("other", &prove(&view, "ada")).await, refused(VerifyRefusal::NotFound));
    let unpaid = CreateV1 { payment_method_id: None, ..wish("ada", "key-2") };
    let waiting = world.service.create(&unpaid).await.unwrap();
    assert_eq!(waiting.status, Status::Incomplete);
    let not_entitled = refused(VerifyRefusal::NotEntitled { status: Status::Incomplete });
    assert_eq!(world.service.ask("acme", &prove(&waiting, "ada")).await, not_entitled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_payment_has_a_grace_and_proofs_end_with_it() {
    let (world, hand) = World::at(NOW, &[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    world.set_status(&view, "past_due").await;
    world.service.hint(&view, "past_due", 1).await;
    until("it is past due", async || world.service.get(&view).await.status == Status::PastDue).await;
    hand.advance(Duration::from_secs(72 * 3_600 - 60));
    let last = proof(&world, &prove(&view, "ada")).await;
    assert_eq!(last.expires_at_ms, NOW + 72 * 3_600_000, "never beyond the end of the grace");
    hand.advance(Duration::from_secs(60));
    let refused = Answer::Refused(VerifyRefusal::NotEntitled { status: Status::PastDue });
    assert_eq!(world.service.ask("acme", &prove(&view, "ada")).await, refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_subscription_is_looked_up_before_its_proof_is_refused_or_issued() {
    let (world, hand) = World::at(NOW, &[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let end_ms = view.current_period_end_ms.unwrap();
    world.set_status(&view, "canceled").await;
    // The hint was lost. Until the period ends, the stored state counts.
    assert!(matches!(world.service.ask("acme", &prove(&view, "ada")).await, Answer::Ok(_)));
    hand.set(end_ms);
    let refused = Answer::Refused(VerifyRefusal::NotEntitled { status: Status::Canceled });
    assert_eq!(world.service.ask("acme", &prove(&view, "ada")).await, refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_published_ahead_and_survive_a_restart() {
    let (mut world, hand) = World::at(NOW, &[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let (tenant, peer) = (tenant(), "alice".parse().unwrap());
    let expected = Expected { tenant: &tenant, peer: &peer, peer_key: None };
    let [first] = keys(&world).await.try_into().unwrap();
    let ahead = Duration::from_secs(600);
    hand.advance(Duration::from_secs(24 * 3_600) - ahead);
    until("the next key is published", async || keys(&world).await.len() == 2).await;
    let old = proof(&world, &prove(&view, "ada")).await;
    let now_ms = world.service.platform.clock.now_ms();
    assert_eq!(verifier(&world).await.verify(&old.proof, expected, now_ms).unwrap().kid, first.kid, "not used yet");
    hand.advance(ahead);
    let new = proof(&world, &prove(&view, "ada")).await;
    let now_ms = world.service.platform.clock.now_ms();
    let verifier = verifier(&world).await;
    let kid = verifier.verify(&new.proof, expected, now_ms).unwrap().kid.clone();
    assert_ne!(kid, first.kid);
    world.crash_and_restart().await;
    let again = proof(&world, &prove(&view, "ada")).await;
    assert_eq!(verifier.verify(&again.proof, expected, now_ms).unwrap().kid, kid);
    assert_eq!(keys(&world).await.len(), 2);
}
