use std::collections::{BTreeMap, BTreeSet};

use contracts::Answer;
use contracts::events::subscription::{Status, SubscriptionEvent};
use contracts::requests::subscription::{CreateRefusal, CreateV1, GetRefusal, GetV1};
use futures::future::join_all;
use serde_json::json;
use testkit::eventually;

use crate::harness::{SOON, World, until, wish};

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_created_told_and_marked_at_stripe() {
    let world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    assert_eq!((view.plan.as_str(), view.status), ("team", Status::Active));
    assert!(view.current_period_end_ms.is_some());
    assert_eq!(world.service.get(&view).await, view);
    let [at_stripe] = world.at_stripe().await.try_into().unwrap();
    let expected = json!({"synapse_tenant": "acme", "synapse_subscription": view.subscription_id,
        "synapse_user": "ada", "synapse_plan": "team", "team": "blue"});
    assert_eq!(at_stripe["metadata"], expected);
    let facts = world.service.facts().await;
    let created = facts.iter().filter(|(_, fact)| matches!(fact, SubscriptionEvent::Created(_)));
    assert_eq!(created.map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [1]);
    let foreign = world.service.ask("other", &GetV1 { subscription_id: view.subscription_id }).await;
    assert_eq!(foreign, Answer::Refused(GetRefusal::NotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_customer_is_made_once() {
    let world = World::start(&[]).await;
    let first = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let second = world.service.create(&wish("ada", "key-2")).await.unwrap();
    world.service.create(&wish("bob", "key-1")).await.unwrap();
    assert_ne!(first.subscription_id, second.subscription_id);
    assert_eq!(world.asked("POST /v1/customers").await, 2);
    assert_eq!(world.at_stripe().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_copies_of_one_wish_make_one_subscription() {
    let world = World::start(&[]).await;
    let ask = wish("ada", "key-1");
    let answers = join_all((0..100).map(|_| world.service.create(&ask))).await;
    let ids: BTreeSet<_> = answers.into_iter().map(|view| view.unwrap().stripe_subscription_id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(world.at_stripe().await.len(), 1);
    assert_eq!(world.asked("POST /v1/subscriptions").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_with_another_wish_is_refused() {
    let world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let other = CreateV1 { metadata: BTreeMap::new(), ..wish("ada", "key-1") };
    assert_eq!(world.service.create(&other).await, Err(CreateRefusal::IdempotencyMismatch));
    assert_ne!(world.service.create(&wish("bob", "key-1")).await.unwrap().subscription_id, view.subscription_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_wishes_are_refused_before_stripe_hears_of_them() {
    let world = World::start(&[]).await;
    let unknown = CreateV1 { price_id: "price_free".into(), ..wish("ada", "key-1") };
    let allowed = vec!["price_team_monthly".to_owned()];
    assert_eq!(world.service.create(&unknown).await, Err(CreateRefusal::UnknownPrice { allowed }));
    let metadata = BTreeMap::from([
        ("synapse_user".to_owned(), "eve".to_owned()),
        ("a[b]".to_owned(), "v".repeat(501)),
        ("k".repeat(41), "v".to_owned()),
    ]);
    let Err(CreateRefusal::InvalidMetadata { violations }) =
        world.service.create(&CreateV1 { metadata, ..wish("ada", "key-1") }).await
    else {
        panic!("not refused")
    };
    assert_eq!(violations.len(), 4, "{violations:?}");
    let path = CreateV1 { payment_method_id: Some("../customers".into()), ..wish("ada", "key-1") };
    assert!(matches!(world.service.create(&path).await, Err(CreateRefusal::PaymentFailed { .. })));
    assert_eq!(world.stripe_get("/_emulator/requests").await["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_card_stays_refused_under_its_key() {
    let world = World::start(&[]).await;
    let poor = CreateV1 { payment_method_id: Some("pm_card_chargeCustomerFail".into()), ..wish("ada", "key-1") };
    let Err(CreateRefusal::PaymentFailed { message }) = world.service.create(&poor).await else { panic!("accepted") };
    assert!(message.contains("another payment method"), "{message}");
    let asked = world.asked("POST /v1/subscriptions").await;
    assert_eq!(world.service.create(&poor).await, Err(CreateRefusal::PaymentFailed { message }));
    assert_eq!(world.asked("POST /v1/subscriptions").await, asked, "Stripe is not asked again");
    let acts = CreateV1 { payment_method_id: Some("pm_card_authenticationRequired".into()), ..wish("ada", "key-2") };
    assert!(matches!(world.service.create(&acts).await, Err(CreateRefusal::PaymentFailed { .. })));
    assert_eq!(world.at_stripe().await.len(), 0);
    assert_eq!(world.service.create(&wish("ada", "key-3")).await.unwrap().status, Status::Active);
}

/// Stripe made it, we died before we knew: `retry` then takes it up again.
async fn killed_between_stripe_and_our_commit() -> World {
    let mut world = World::start(&[]).await;
    world.fault(json!({"kind": "timeout", "stage": "after", "path": "/v1/subscriptions", "method": "POST"})).await;
    let (bus, sender) = (world.service.platform.bus.clone(), world.service.platform.sender.clone());
    let lost = tokio::spawn(async move {
        let (tenant, trail) = (crate::harness::tenant(), bus::Trail::new("lost"));
        let _ = bus.ask(&sender, &tenant, &trail, &wish("ada", "key-1"), SOON).await;
    });
    until("Stripe has made it", async || world.at_stripe().await.len() == 1).await;
    world.crash_and_restart().await;
    lost.abort();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_stripe_and_our_commit_makes_no_second_subscription() {
    let world = killed_between_stripe_and_our_commit().await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let [at_stripe] = world.at_stripe().await.try_into().unwrap();
    assert_eq!(at_stripe["id"], view.stripe_subscription_id);
    let facts = world.service.facts().await;
    assert_eq!(facts.iter().filter(|(_, fact)| matches!(fact, SubscriptionEvent::Created(_))).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn stripes_news_completes_what_a_crash_cut_off() {
    let world = killed_between_stripe_and_our_commit().await;
    let [at_stripe] = world.at_stripe().await.try_into().unwrap();
    let id = at_stripe["metadata"]["synapse_subscription"].as_str().unwrap();
    let hint = contracts::events::webhook::StripeSubscriptionChangedV1 {
        subscription_id: id.parse().unwrap(),
        stripe_subscription_id: at_stripe["id"].as_str().unwrap().to_owned(),
        ..contracts::Contract::samples().remove(0)
    };
    world.service.hint_with(hint, 1).await;
    let ask = GetV1 { subscription_id: id.parse().unwrap() };
    let view = eventually(SOON, "it is live", async || match world.service.ask("acme", &ask).await {
        Answer::Ok(view) => Some(view),
        _ => None,
    })
    .await;
    assert_eq!(world.service.create(&wish("ada", "key-1")).await.unwrap(), view);
    assert_eq!(world.at_stripe().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_remembered_across_restarts() {
    let mut world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    world.service.settled().await;
    world.crash_and_restart().await;
    assert_eq!(world.service.create(&wish("ada", "key-1")).await.unwrap(), view);
    assert_eq!(world.at_stripe().await.len(), 1);
}
