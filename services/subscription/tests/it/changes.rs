//! What owners change: plan, cancellation, resumption; who may; what a status does not allow.

use contracts::Answer;
use contracts::events::subscription::{Status, SubscriptionEvent, TransitionRejectedV1};
use contracts::requests::subscription::{
    CancelRefusal, CancelV1, ChangePlanRefusal, ChangePlanV1, ListV1, ResumeRefusal, ResumeV1, SubscriptionListRefusal,
    SubscriptionPage, SubscriptionView,
};
use futures::future::join_all;
use serde_json::json;

use crate::harness::{GOLD, World, YEAR, until, wish};

fn plan(view: &SubscriptionView, price: &str, key: &str) -> ChangePlanV1 {
    ChangePlanV1 {
        subscription_id: view.subscription_id.clone(),
        user_id: view.user_id.clone(),
        is_admin: false,
        price_id: price.into(),
        idempotency_key: key.into(),
    }
}

fn cancel(view: &SubscriptionView, at_period_end: bool) -> CancelV1 {
    let (subscription_id, user_id) = (view.subscription_id.clone(), view.user_id.clone());
    CancelV1 { subscription_id, user_id, is_admin: false, at_period_end }
}

fn resume(view: &SubscriptionView) -> ResumeV1 {
    ResumeV1 { subscription_id: view.subscription_id.clone(), user_id: view.user_id.clone(), is_admin: false }
}

fn done<R: std::fmt::Debug>(answer: Answer<SubscriptionView, R>) -> SubscriptionView {
    match answer {
        Answer::Ok(view) => view,
        other => panic!("{other:?}"),
    }
}

async fn rejections(world: &World) -> Vec<TransitionRejectedV1> {
    let facts = world.service.facts().await.into_iter();
    let rejected = facts.filter_map(|(_, fact)| match fact {
        SubscriptionEvent::TransitionRejected(rejected) => Some(rejected),
        _ => None,
    });
    rejected.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_changed_once_per_key_and_an_old_key_takes_nothing_back() {
    let world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let line = format!("POST /v1/subscriptions/{}", view.stripe_subscription_id);
    let to_gold = plan(&view, GOLD, "to-gold");
    let answers = join_all((0..100).map(|_| world.service.ask("acme", &to_gold))).await;
    for answer in answers {
        let changed = done(answer);
        assert_eq!((changed.plan.as_str(), changed.price_id.as_str()), ("gold", GOLD));
    }
    assert_eq!(world.asked(&line).await, 1);
    let yearly = done(world.service.ask("acme", &plan(&view, YEAR, "to-year")).await);
    assert_eq!((yearly.plan.as_str(), yearly.price_id.as_str()), ("team", YEAR));
    assert_eq!(done(world.service.ask("acme", &to_gold).await), yearly, "the old key again");
    assert_eq!(world.asked(&line).await, 2);
    let other = Answer::Refused(ChangePlanRefusal::IdempotencyMismatch);
    assert_eq!(world.service.ask("acme", &plan(&view, GOLD, "to-year")).await, other);
    let [at_stripe] = world.at_stripe().await.try_into().unwrap();
    assert_eq!(at_stripe["items"]["data"][0]["price"]["id"], YEAR);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_survives_lost_answers_replayed_failures_and_a_crash() {
    let mut world = World::start(&[("stripe.request_timeout_ms", "400")]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let path = format!("/v1/subscriptions/{}", view.stripe_subscription_id);
    let mut target = [GOLD, YEAR].into_iter().cycle();
    for (number, fault) in [
        json!({"kind": "reset", "stage": "after"}),
        json!({"kind": "timeout", "stage": "after", "delay_ms": 1_000}),
        json!({"kind": "error", "status": 500, "stage": "after"}),
        json!({"kind": "error", "status": 500}),
        json!({"kind": "html", "stage": "after"}),
        json!({"kind": "error", "status": 409}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut strike = fault.clone();
        strike["path"] = json!(path);
        strike["method"] = json!("POST");
        world.fault(strike).await;
        let price = target.next().unwrap();
        let changed = done(world.service.ask("acme", &plan(&view, price, &format!("change-{number}"))).await);
        assert_eq!(changed.price_id, price, "{fault}");
        let [at_stripe] = world.at_stripe().await.try_into().unwrap();
        assert_eq!(at_stripe["items"]["data"][0]["price"]["id"], price, "{fault}");
    }
    // Killed between Stripe and our commit: the next try with the same key finds it done.
    world.fault(json!({"kind": "timeout", "stage": "after", "path": path, "method": "POST", "times": 9})).await;
    let price = target.next().unwrap();
    let ask = plan(&view, price, "last");
    let (bus, sender) = (world.service.platform.bus.clone(), world.service.platform.sender.clone());
    let lost = ask.clone();
    let lost = tokio::spawn(async move {
        let trail = bus::Trail::new("lost");
        let _ = bus.ask(&sender, &crate::harness::tenant(), &trail, &lost, crate::harness::SOON).await;
    });
    until("Stripe has changed it", async || world.at_stripe().await[0]["items"]["data"][0]["price"]["id"] == price)
        .await;
    world.crash_and_restart().await;
    lost.abort();
    assert_eq!(done(world.service.ask("acme", &ask).await).price_id, price);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_its_period_or_now_and_is_resumed_before() {
    let world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    for _ in 0..2 {
        let ending = done(world.service.ask("acme", &cancel(&view, true)).await);
        assert_eq!((ending.cancel_at_period_end, ending.status), (Some(true), Status::Active));
    }
    for _ in 0..2 {
        let going_on = done(world.service.ask("acme", &resume(&view)).await);
        assert_eq!((going_on.cancel_at_period_end, going_on.status), (Some(false), Status::Active));
    }
    assert_eq!(world.asked(&format!("POST /v1/subscriptions/{}", view.stripe_subscription_id)).await, 2);
    for _ in 0..2 {
        assert_eq!(done(world.service.ask("acme", &cancel(&view, false)).await).status, Status::Canceled);
    }
    let facts = world.service.facts().await;
    let revoked = facts.iter().filter(|(_, fact)| matches!(fact, SubscriptionEvent::ProofRevoked(_))).count();
    assert_eq!((revoked, rejections(&world).await.len()), (1, 0), "proofs are void at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_whose_answer_was_lost_is_done() {
    let world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let path = format!("/v1/subscriptions/{}", view.stripe_subscription_id);
    world.fault(json!({"kind": "reset", "stage": "after", "path": path, "method": "DELETE"})).await;
    assert_eq!(done(world.service.ask("acme", &cancel(&view, false)).await).status, Status::Canceled);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_status_does_not_allow_is_refused_and_audited() {
    let world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    world.cancel_at_stripe(&view.stripe_subscription_id).await;
    // No hint came: what counts is what Stripe says now.
    let illegal = Answer::Refused(ChangePlanRefusal::IllegalTransition { from: Status::Canceled });
    assert_eq!(world.service.ask("acme", &plan(&view, GOLD, "k")).await, illegal);
    let illegal = Answer::Refused(ResumeRefusal::IllegalTransition { from: Status::Canceled });
    assert_eq!(world.service.ask("acme", &resume(&view)).await, illegal);
    let second = world.service.create(&wish("ada", "key-2")).await.unwrap();
    world.set_status(&second, "unpaid").await;
    let illegal = Answer::Refused(CancelRefusal::IllegalTransition { from: Status::Unpaid });
    assert_eq!(world.service.ask("acme", &cancel(&second, true)).await, illegal);
    let told = rejections(&world).await;
    let told: Vec<_> = told
        .iter()
        .map(|rejected| (rejected.from, rejected.to, rejected.source.as_str(), rejected.asked.as_deref().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            (Status::Canceled, Status::Active, "api", "change_plan"),
            (Status::Canceled, Status::Active, "api", "resume"),
            (Status::Unpaid, Status::Canceled, "api", "cancel_at_period_end"),
        ]
    );
    assert_eq!(world.asked(&format!("POST /v1/subscriptions/{}", second.stripe_subscription_id)).await, 0);
    // Leaving is always possible.
    assert_eq!(done(world.service.ask("acme", &cancel(&second, false)).await).status, Status::Canceled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_subscription_wakes_up() {
    let world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    world.set_status(&view, "paused").await;
    assert_eq!(done(world.service.ask("acme", &resume(&view)).await).status, Status::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_may_not_and_administrators_may() {
    let world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let eve = SubscriptionView { user_id: "eve".parse().unwrap(), ..view.clone() };
    let refused = Answer::Refused(CancelRefusal::NotOwner);
    assert_eq!(world.service.ask("acme", &cancel(&eve, false)).await, refused);
    assert_eq!(world.service.ask("acme", &resume(&eve)).await, Answer::Refused(ResumeRefusal::NotOwner));
    let refused = Answer::Refused(ChangePlanRefusal::NotOwner);
    assert_eq!(world.service.ask("acme", &plan(&eve, GOLD, "k")).await, refused);
    let admin = CancelV1 { is_admin: true, ..cancel(&eve, true) };
    assert_eq!(world.service.ask("other", &admin).await, Answer::Refused(CancelRefusal::NotFound), "of another tenant");
    assert_eq!(done(world.service.ask("acme", &admin).await).cancel_at_period_end, Some(true));
    let tampered = Answer::Refused(ChangePlanRefusal::UnknownPrice {
        allowed: [crate::harness::PRICE, YEAR, GOLD].map(str::to_owned).into(),
    });
    assert_eq!(world.service.ask("acme", &plan(&view, crate::harness::FOREIGN, "k")).await, tampered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_is_refused_leaves_the_plan_as_it_was() {
    let world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let path = format!("/v1/subscriptions/{}", view.stripe_subscription_id);
    world.fault(json!({"kind": "error", "status": 402, "path": path, "method": "POST"})).await;
    let Answer::Refused(ChangePlanRefusal::PaymentFailed { message }) =
        world.service.ask("acme", &plan(&view, YEAR, "k")).await
    else {
        panic!("accepted")
    };
    assert!(message.contains("customer portal"), "{message}");
    assert_eq!(world.service.get(&view).await, view);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_listed_page_by_page() {
    let world = World::start(&[]).await;
    let mut made = Vec::new();
    for (user, key) in [("ada", "1"), ("bob", "1"), ("ada", "2"), ("ada", "3")] {
        made.push(world.service.create(&wish(user, key)).await.unwrap());
    }
    done(world.service.ask("acme", &cancel(&made[2], false)).await);
    let list = async |tenant: &str, user: Option<&str>, status, limit, after: Option<String>| {
        let user_id = user.map(|user| user.parse().unwrap());
        world.service.ask(tenant, &ListV1 { user_id, status, limit, after }).await
    };
    let page = |answer| match answer {
        Answer::Ok(SubscriptionPage { subscriptions, next }) => {
            (subscriptions.into_iter().map(|view| view.subscription_id).collect::<Vec<_>>(), next)
        }
        other => panic!("{other:?}"),
    };
    let id = |at: usize| made[at].subscription_id.clone();
    let (first, next) = page(list("acme", Some("ada"), None, 2, None).await);
    assert_eq!(first, [id(0), id(2)]);
    let (second, _) = page(list("acme", Some("ada"), None, 2, next.clone()).await);
    assert_eq!(second, [id(3)]);
    assert_eq!(page(list("acme", Some("ada"), Some(Status::Active), 10, None).await).0, [id(0), id(3)]);
    assert_eq!(page(list("acme", None, None, 10, None).await).0, [id(0), id(1), id(2), id(3)]);
    assert_eq!(page(list("other", None, None, 10, None).await).0, []);
    for (limit, after) in [(0, None), (101, None), (10, Some("nonsense".to_owned()))] {
        let refused = list("acme", Some("ada"), None, limit, after).await;
        assert!(matches!(refused, Answer::Refused(SubscriptionListRefusal::InvalidPage { .. })), "{refused:?}");
    }
    let foreign = list("acme", Some("bob"), None, 2, next).await;
    let shown = |answer: &Answer<SubscriptionPage, SubscriptionListRefusal>| match answer {
        Answer::Ok(page) => page.subscriptions.iter().all(|view| view.user_id.as_str() == "bob"),
        _ => true,
    };
    assert!(shown(&foreign), "a token of ada's list shows nothing of ada's to bob: {foreign:?}");
}
