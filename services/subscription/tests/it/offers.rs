//! What is on offer, and Stripe's pages on which it is bought and managed.

use std::collections::BTreeMap;

use contracts::events::subscription::Status;
use contracts::events::webhook::{StripeCheckoutChangedV1, StripeCustomerChangedV1};
use contracts::requests::subscription::{
    CheckPlansV1, Checkout, CheckoutRefusal, CreateCheckoutV1, CreatePortalV1, GetV1, ListPlansV1, PlansReport, Portal,
    PortalRefusal,
};
use contracts::{Answer, Contract};
use futures::future::join_all;
use serde_json::{Value, json};
use testkit::eventually;

use crate::harness::{APP, FOREIGN, PRICE, SOON, World, prove, until, wish};

fn checkout(user: &str, key: &str) -> CreateCheckoutV1 {
    CreateCheckoutV1 {
        user_id: user.parse().unwrap(),
        price_id: PRICE.into(),
        success_url: format!("{APP}/bought?session={{CHECKOUT_SESSION_ID}}"),
        cancel_url: format!("{APP}/plans"),
        email: Some(format!("{user}@example.com")),
        metadata: BTreeMap::from([("team".into(), "blue".into())]),
        idempotency_key: key.into(),
    }
}

async fn open(world: &World, ask: &CreateCheckoutV1) -> Checkout {
    match world.service.ask("acme", ask).await {
        Answer::Ok(checkout) => checkout,
        other => panic!("{other:?}"),
    }
}

async fn pay(world: &World, checkout: &Checkout) -> Value {
    let path = format!("/_emulator/checkout/sessions/{}/complete", checkout.stripe_checkout_session_id);
    world.post(&path, json!({"payment_method": "pm_card_visa", "email": "ada@example.com"})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bought_on_stripes_page_becomes_a_subscription() {
    let world = World::start(&[]).await;
    let ask = checkout("ada", "key-1");
    let opened = open(&world, &ask).await;
    assert!(opened.url.starts_with("http") && opened.stripe_checkout_session_id.starts_with("cs_"), "{opened:?}");
    let answers = join_all((0..50).map(|_| world.service.ask("acme", &ask))).await;
    assert!(answers.into_iter().all(|answer| answer == Answer::Ok(opened.clone())), "one page per key");
    assert_eq!(world.asked("POST /v1/checkout/sessions").await, 1);
    let get = GetV1 { subscription_id: opened.subscription_id.clone() };
    assert!(matches!(world.service.ask("acme", &get).await, Answer::Refused(_)), "not bought yet");
    pay(&world, &opened).await;
    let [at_stripe] = world.at_stripe().await.try_into().unwrap();
    assert_eq!(at_stripe["metadata"]["synapse_subscription"], opened.subscription_id.as_str());
    let hint = StripeCheckoutChangedV1 {
        subscription_id: opened.subscription_id.clone(),
        stripe_checkout_session_id: opened.stripe_checkout_session_id.clone(),
        stripe_subscription_id: Some(at_stripe["id"].as_str().unwrap().to_owned()),
        ..StripeCheckoutChangedV1::samples().remove(0)
    };
    world.service.hint_with(hint, 1).await;
    let view = eventually(SOON, "it is live", async || match world.service.ask("acme", &get).await {
        Answer::Ok(view) => Some(view),
        _ => None,
    })
    .await;
    assert_eq!((view.status, view.plan.as_str(), view.user_id.as_str()), (Status::Active, "team", "ada"));
    assert_eq!(view.metadata, ask.metadata);
    assert!(matches!(world.service.ask("acme", &prove(&view, "ada")).await, Answer::Ok(_)));
    assert_eq!(world.service.create(&wish("ada", "key-2")).await.unwrap().status, Status::Active);
    assert_eq!(world.asked("POST /v1/customers").await, 1, "the same customer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_can_not_make_a_reservation_somebody_elses_subscription() {
    let world = World::start(&[]).await;
    let bought = world.service.create(&wish("eve", "key-1")).await.unwrap();
    let opened = open(&world, &checkout("ada", "key-1")).await;
    let forged = StripeCheckoutChangedV1 {
        subscription_id: opened.subscription_id.clone(),
        stripe_subscription_id: Some(bought.stripe_subscription_id.clone()),
        ..StripeCheckoutChangedV1::samples().remove(0)
    };
    world.service.hint_with(forged, 1).await;
    world.service.settled().await;
    let letters = world.service.platform.outbox.dead_letters();
    until("it is given up", async || letters.list(None, 10).await.unwrap().letters.len() == 1).await;
    let get = GetV1 { subscription_id: opened.subscription_id };
    assert!(matches!(world.service.ask("acme", &get).await, Answer::Refused(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_lead_elsewhere_or_sell_what_is_not_on_offer_are_not_opened() {
    let world = World::start(&[]).await;
    let bad = CreateCheckoutV1 {
        success_url: "https://app.example.com.evil.example/".into(),
        cancel_url: "javascript:alert(1)".into(),
        metadata: BTreeMap::from([("synapse_tenant".into(), "other".into())]),
        ..checkout("ada", "key-1")
    };
    let Answer::Refused(CheckoutRefusal::Invalid { violations }) = world.service.ask("acme", &bad).await else {
        panic!("opened")
    };
    let fields: Vec<_> = violations.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(fields, ["metadata.synapse_tenant", "success_url", "cancel_url"]);
    let tampered = CreateCheckoutV1 { price_id: FOREIGN.into(), ..checkout("ada", "key-1") };
    assert!(matches!(
        world.service.ask("acme", &tampered).await,
        Answer::Refused(CheckoutRefusal::UnknownPrice { .. })
    ));
    open(&world, &checkout("ada", "key-1")).await;
    let other = CreateCheckoutV1 { cancel_url: format!("{APP}/other"), ..checkout("ada", "key-1") };
    assert_eq!(world.service.ask("acme", &other).await, Answer::Refused(CheckoutRefusal::IdempotencyMismatch));
    let created = contracts::requests::subscription::CreateRefusal::IdempotencyMismatch;
    assert_eq!(world.service.create(&wish("ada", "key-1")).await, Err(created), "one key, one intent of any kind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_opened_once_whatever_stripe_does() {
    let mut world = World::start(&[("stripe.request_timeout_ms", "400")]).await;
    for (number, fault) in [
        json!({"kind": "error", "status": 500, "stage": "after"}),
        json!({"kind": "reset", "stage": "after"}),
        json!({"kind": "timeout", "delay_ms": 1_000}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut fault = fault;
        fault["path"] = json!("/v1/checkout/sessions");
        world.fault(fault).await;
        let ask = checkout("ada", &format!("key-{number}"));
        let opened = open(&world, &ask).await;
        world.crash_and_restart().await;
        assert_eq!(open(&world, &ask).await, opened);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_portal_is_for_those_who_bought() {
    let world = World::start(&[]).await;
    let portal =
        |user: &str, return_url: &str| CreatePortalV1 { user_id: user.parse().unwrap(), return_url: return_url.into() };
    let none = Answer::<Portal, _>::Refused(PortalRefusal::NoCustomer);
    assert_eq!(world.service.ask("acme", &portal("ada", APP)).await, none);
    world.service.create(&wish("ada", "key-1")).await.unwrap();
    let Answer::Ok(opened) = world.service.ask("acme", &portal("ada", APP)).await else { panic!("refused") };
    assert!(opened.url.starts_with("http"));
    assert_eq!(world.service.ask("other", &portal("ada", APP)).await, none, "another tenant's ada is somebody else");
    let elsewhere = world.service.ask("acme", &portal("ada", "https://evil.example/")).await;
    assert!(matches!(elsewhere, Answer::Refused(PortalRefusal::Invalid { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_that_is_gone_at_stripe_is_made_anew() {
    let world = World::start(&[]).await;
    let first = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let customer = |at: &Value| at["customer"].as_str().unwrap().to_owned();
    let old = customer(&world.at_stripe().await[0]);
    let hint = |deleted| StripeCustomerChangedV1 {
        stripe_customer_id: old.clone(),
        deleted,
        ..StripeCustomerChangedV1::samples().remove(0)
    };
    // Said, but not true.
    world.service.hint_with(hint(true), 1).await;
    world.service.settled().await;
    world.delete_at_stripe(&format!("/v1/customers/{old}")).await;
    world.service.hint_with(hint(true), 2).await;
    until("the customer is forgotten", async || {
        let portal = CreatePortalV1 { user_id: "ada".parse().unwrap(), return_url: APP.into() };
        world.service.ask("acme", &portal).await == Answer::Refused(PortalRefusal::NoCustomer)
    })
    .await;
    let second = world.service.create(&wish("ada", "key-2")).await.unwrap();
    let at_stripe = world.stripe_get(&format!("/v1/subscriptions/{}", second.stripe_subscription_id)).await;
    assert_ne!(customer(&at_stripe), old);
    assert_ne!(first.subscription_id, second.subscription_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenant_sees_its_offers() {
    let world = World::start(&[]).await;
    let names = async |tenant: &str| match world.service.ask(tenant, &ListPlansV1 {}).await {
        Answer::Ok(plans) => plans.plans.into_iter().map(|plan| plan.name).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(names("acme").await, ["team", "gold"]);
    assert_eq!(names("beta").await, ["own", "team", "gold"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_compared_with_stripes() {
    let world = World::start(&[]).await;
    let report = async || match world.service.ask("platform", &CheckPlansV1 {}).await {
        Answer::Ok(report) => report,
        other => panic!("{other:?}"),
    };
    let problems = |report: &PlansReport| -> BTreeMap<String, Vec<String>> {
        report.prices.iter().map(|line| (line.price_id.clone(), line.problems.clone())).collect()
    };
    let first = report().await;
    assert!(!first.ok && !first.livemode && first.prices.len() == 4, "{first:?}");
    let told = problems(&first);
    assert!(told[FOREIGN][0].contains("no such price") && told[PRICE].is_empty(), "{told:?}");
    world.form(&format!("/v1/prices/{PRICE}"), "active=false").await;
    let told = problems(&report().await);
    assert!(told[PRICE][0].contains("not active"), "{told:?}");
    world.fault(json!({"kind": "error", "status": 500, "path": "/v1/prices", "times": 99})).await;
    assert!(
        matches!(world.service.ask("platform", &CheckPlansV1 {}).await, Answer::Failed(_)),
        "no report is better than a wrong one"
    );
}
