//! What a verifier is told that starts late.

use contracts::Answer;
use contracts::requests::billing::{ProofSnapshot, ProofSnapshotV1};
use contracts::requests::subscription::SubscriptionView;

use crate::harness::{World, until, wish};

async fn canceled(world: &World, user: &str, number: u64) -> SubscriptionView {
    let view = world.service.create(&wish(user, "key-1")).await.unwrap();
    world.cancel_at_stripe(&view.stripe_subscription_id).await;
    world.service.hint(&view, "canceled", number).await;
    until("it is canceled", async || format!("{:?}", world.service.get(&view).await.status) == "Canceled").await;
    view
}

async fn page(world: &World, after: Option<String>, limit: u32) -> ProofSnapshot {
    match world.service.ask("platform", &ProofSnapshotV1 { after, limit }).await {
        Answer::Ok(page) => page,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_has_every_key_and_every_revocation_page_by_page() {
    let world = World::start(&[]).await;
    let mut wanted = Vec::new();
    for number in 1..=3 {
        wanted.push(canceled(&world, &format!("user-{number}"), number).await.subscription_id);
    }
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let told = page(&world, after, 2).await;
        assert_eq!(told.keys.len(), 1);
        assert!(told.revocations.len() <= 2);
        found.extend(told.revocations);
        match told.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert!(found.iter().all(|revoked| revoked.min_ver == 2 && revoked.reason == "canceled"), "{found:?}");
    let mut found: Vec<_> = found.into_iter().map(|revoked| revoked.subscription_id).collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    let bad = world.service.ask("platform", &ProofSnapshotV1 { after: Some("nonsense".into()), limit: 2 }).await;
    assert!(matches!(bad, Answer::Failed(failure) if !failure.retryable && failure.message.starts_with("after:")));
    let bad = world.service.ask("platform", &ProofSnapshotV1 { after: None, limit: 0 }).await;
    assert!(matches!(bad, Answer::Failed(failure) if failure.message.starts_with("limit:")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_that_starts_after_a_revocation_knows_it() {
    let world = World::start(&[]).await;
    let view = canceled(&world, "ada", 1).await;
    // Its service reads none of the subscription's events here: only the snapshot can tell it.
    let book = service::ProofBook::start(&world.service.webhook, service::proof_rules()).await.unwrap();
    until("the late verifier knows", async || book.is_revoked(&view.subscription_id, 1)).await;
    assert!(!book.is_revoked(&view.subscription_id, 2));
}
