use std::collections::{BTreeMap, BTreeSet};

use contracts::Answer;
use contracts::events::subscription::{Status, SubscriptionEvent};
use contracts::requests::subscription::{CreateRefusal, CreateV1, GetRefusal, GetV1};
use futures::future::join_all;
use serde_json::json;
use stripe_emulator::Options;
use testkit::eventually;

use crate::harness::{FOREIGN, GOLD, PRICE, SOON, World, YEAR, until, wish};

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
    let allowed: Vec<String> = [PRICE, YEAR, GOLD].map(str::to_owned).into();
    assert_eq!(world.service.create(&unknown).await, Err(CreateRefusal::UnknownPrice { allowed: allowed.clone() }));
    for tampered in [FOREIGN, "price_live"] {
        let other = CreateV1 { price_id: tampered.into(), ..wish("ada", "key-1") };
        let refused = Err(CreateRefusal::UnknownPrice { allowed: allowed.clone() });
        assert_eq!(world.service.create(&other).await, refused, "of another tenant, or of the other mode");
    }
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
    let path =
        CreateV1 { payment_method_id: Some("../customers".into()), email: Some(String::new()), ..wish("ada", "key-1") };
    let Err(CreateRefusal::Invalid { violations }) = world.service.create(&path).await else { panic!("not refused") };
    assert!(violations[0].starts_with("email: ") && violations[1].starts_with("payment_method_id: "), "{violations:?}");
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
    assert_eq!(world.at_stripe().await.len(), 0);
    assert_eq!(world.service.create(&wish("ada", "key-3")).await.unwrap().status, Status::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_wants_the_payer_is_told_with_what_to_do_until_it_is_done() {
    let world = World::start(&[]).await;
    let acts = CreateV1 { payment_method_id: Some("pm_card_authenticationRequired".into()), ..wish("ada", "key-1") };
    let Err(CreateRefusal::PaymentActionRequired { subscription_id, payment }) = world.service.create(&acts).await
    else {
        panic!("not asked to act")
    };
    let secret = payment.client_secret.clone().unwrap();
    assert!(secret.starts_with("pi_"), "{payment:?}");
    let again = Err(CreateRefusal::PaymentActionRequired { subscription_id: subscription_id.clone(), payment });
    assert_eq!(world.service.create(&acts).await, again, "the same key, the same step");
    assert_eq!(world.at_stripe().await.len(), 1);
    let intent = secret.split("_secret").next().unwrap();
    world.post(&format!("/_emulator/payment_intents/{intent}/authenticate"), json!({"succeed": true})).await;
    let view = world.service.create(&acts).await.unwrap();
    assert_eq!((view.status, view.subscription_id), (Status::Active, subscription_id));
    assert_eq!(world.at_stripe().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_card_the_subscription_waits_and_says_how_it_is_paid() {
    let options = Options { auto_confirm: false, ..Options::default() };
    let world = World::on(clock::Clock::system(), &[], options).await;
    let waiting = CreateV1 { payment_method_id: None, ..wish("ada", "key-1") };
    let view = world.service.create(&waiting).await.unwrap();
    assert_eq!(view.status, Status::Incomplete);
    assert!(view.payment.as_ref().unwrap().client_secret.as_ref().unwrap().starts_with("pi_"));
    assert_eq!(world.service.create(&waiting).await.unwrap(), view);
    assert_eq!(world.service.get(&view).await.payment, None, "the secret is told to nobody else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_method_that_is_not_there_is_the_callers_to_correct() {
    let world = World::start(&[]).await;
    let missing = CreateV1 { payment_method_id: Some("pm_nobodys".into()), ..wish("ada", "key-1") };
    let Err(CreateRefusal::Invalid { violations }) = world.service.create(&missing).await else { panic!("accepted") };
    assert!(violations[0].starts_with("payment_method_id: "), "{violations:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_buys_a_hundred_times_at_once_is_one_customer() {
    let world = World::start(&[("stripe.rate_per_endpoint", "100")]).await;
    let wishes: Vec<_> = (0..100)
        .map(|number| CreateV1 {
            email: Some(format!("ada+{number}@example.com")),
            ..wish("ada", &format!("key-{number}"))
        })
        .collect();
    let answers = join_all(wishes.iter().map(|ask| world.service.create(ask))).await;
    let ids: BTreeSet<_> = answers.into_iter().map(|view| view.unwrap().stripe_subscription_id).collect();
    assert_eq!(ids.len(), 100);
    let customers = world.stripe_get("/v1/customers?limit=100").await;
    assert_eq!(customers["data"].as_array().unwrap().len(), 1);
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
