use std::time::Duration;

use contracts::events::subscription::{Status, StatusChangedV1, SubscriptionEvent};
use contracts::events::webhook::StripeSubscriptionChangedV1;
use contracts::requests::subscription::{SubscriptionView, VerifyRefusal};
use contracts::{Answer, Contract};
use testkit::eventually;

use crate::harness::{SOON, World, prove, until, wish};

async fn becomes(world: &World, view: &SubscriptionView, status: Status) {
    until(&format!("it is {status:?}"), async || world.service.get(view).await.status == status).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doubled_reordered_and_stale_hints_end_at_stripes_truth() {
    let world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let life = ["past_due", "active", "past_due", "unpaid", "canceled"];
    let mut number = 0;
    for (step, status) in life.iter().enumerate() {
        world.set_status(&view, status).await;
        // What Stripe may send now: this news twice, then older news again.
        for hinted in [status, status, &life[step / 2], &life[0]] {
            number += 1;
            world.service.hint(&view, hinted, number).await;
        }
    }
    becomes(&world, &view, Status::Canceled).await;
    let facts = world.service.facts().await;
    assert_eq!(world.service.get(&view).await.status, Status::Canceled, "stale hints take nothing back");
    let of_it: Vec<_> =
        facts.iter().filter(|(_, fact)| !matches!(fact, SubscriptionEvent::ProofKeyPublished(_))).collect();
    let mut numbers: Vec<_> = of_it.iter().map(|(sequence, _)| *sequence).collect();
    numbers.dedup();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
    let last = of_it.iter().rev().find_map(|(sequence, fact)| match fact {
        SubscriptionEvent::StatusChangedV2(changed) => Some((*sequence, changed.clone())),
        _ => None,
    });
    let (sequence, last) = last.unwrap();
    assert_eq!((last.current, last.entitled), (Status::Canceled, false));
    let twin = of_it.iter().any(|(number, fact)| {
        *number == sequence
            && matches!(fact, SubscriptionEvent::StatusChangedV1(old) if *old == StatusChangedV1::from(&last))
    });
    assert!(twin, "v1 is told under the same number");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_at_stripe_voids_the_proofs() {
    let world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    assert!(matches!(world.service.ask("acme", &prove(&view, "ada")).await, Answer::Ok(_)));
    world.cancel_at_stripe(&view.stripe_subscription_id).await;
    world.service.hint(&view, "canceled", 1).await;
    becomes(&world, &view, Status::Canceled).await;
    let refused = VerifyRefusal::NotEntitled { status: Status::Canceled };
    assert_eq!(world.service.ask("acme", &prove(&view, "ada")).await, Answer::Refused(refused));
    let facts = world.service.facts().await;
    let revoked: Vec<_> = facts
        .iter()
        .filter_map(|(_, fact)| match fact {
            SubscriptionEvent::ProofRevoked(revoked) => Some(revoked),
            _ => None,
        })
        .collect();
    let now_ms = world.service.platform.clock.now_ms();
    assert_eq!((revoked.len(), revoked[0].min_ver, revoked[0].reason.as_str()), (1, 2, "canceled"));
    assert!((now_ms + 200_000..now_ms + 400_000).contains(&revoked[0].until_ms));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_alone_changes_nothing_and_an_impossible_one_is_audited() {
    let world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    world.service.hint(&view, "incomplete_expired", 1).await;
    world.service.settled().await;
    let rejected = eventually(SOON, "the hint is audited", async || {
        world.service.facts().await.into_iter().find_map(|(sequence, fact)| match fact {
            SubscriptionEvent::TransitionRejected(rejected) => Some((sequence, rejected)),
            _ => None,
        })
    })
    .await;
    assert_eq!((rejected.0, rejected.1.from, rejected.1.to), (2, Status::Active, Status::IncompleteExpired));
    assert_eq!(world.service.get(&view).await.status, Status::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_hints_is_a_few_looks_at_stripe() {
    let world = World::start(&[("stripe.fetch_spacing_ms", "300")]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let begun = world.service.platform.clock.monotonic();
    world.set_status(&view, "past_due").await;
    for number in 1..=12 {
        world.service.hint(&view, "past_due", number).await;
    }
    becomes(&world, &view, Status::PastDue).await;
    world.service.settled().await;
    let looks = world.asked(&format!("GET /v1/subscriptions/{}", view.stripe_subscription_id)).await;
    let took = world.service.platform.clock.monotonic().saturating_sub(begun);
    let most = 2 + (took.as_millis() / Duration::from_millis(300).as_millis()) as u64;
    assert!((1..=most).contains(&looks), "{looks} looks in {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_about_others_things_do_nothing() {
    let world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let foreign = StripeSubscriptionChangedV1 {
        subscription_id: "nobodys".parse().unwrap(),
        stripe_subscription_id: view.stripe_subscription_id.clone(),
        ..StripeSubscriptionChangedV1::samples().remove(0)
    };
    world.service.hint_with(foreign, 1).await;
    // Another object's id in a hint about a live subscription is not believed either: ours is read.
    let lured = StripeSubscriptionChangedV1 {
        subscription_id: view.subscription_id.clone(),
        stripe_subscription_id: "sub_of_somebody_else".into(),
        ..StripeSubscriptionChangedV1::samples().remove(0)
    };
    world.service.hint_with(lured, 2).await;
    world.service.settled().await;
    assert_eq!(world.service.get(&view).await, view);
    assert_eq!(world.asked("GET /v1/subscriptions/sub_of_somebody_else").await, 0);
}
