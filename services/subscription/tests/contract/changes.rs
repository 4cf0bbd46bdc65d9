//! The requests that change a subscription, open Stripe's pages, and tell what is there and on offer.

use contracts::requests::subscription::{
    CancelV1, ChangePlanV1, CheckPlansV1, CreateCheckoutV1, CreatePortalV1, ListPlansV1, ListV1, ResumeV1,
    SubscriptionView,
};
use serde_json::json;
use testkit::contract::Requests;

use super::requests::state;
use crate::harness::{APP, GOLD, PRICE, World, YEAR, wish};

pub(super) async fn changes(world: &World, requests: &mut Requests<'_>) {
    let view = requests.good(&wish("bob", "own")).await;
    plans(world, requests, &view).await;
    let resume =
        ResumeV1 { subscription_id: view.subscription_id.clone(), user_id: view.user_id.clone(), is_admin: false };
    let cancel = CancelV1 {
        subscription_id: view.subscription_id.clone(),
        user_id: view.user_id.clone(),
        is_admin: false,
        at_period_end: true,
    };
    assert_eq!(requests.good(&cancel).await.cancel_at_period_end, Some(true));
    requests.twice(&cancel, async || state(world).await).await;
    requests.late(&cancel, async || state(world).await).await;
    requests.bodies(&cancel).await;
    requests.refused("not_found", &CancelV1 { subscription_id: "nobodys".parse().unwrap(), ..cancel.clone() }).await;
    requests.refused("not_owner", &CancelV1 { user_id: "mallory".parse().unwrap(), ..cancel.clone() }).await;
    assert_eq!(requests.good(&resume).await.cancel_at_period_end, Some(false));
    requests.twice(&resume, async || state(world).await).await;
    requests.late(&resume, async || state(world).await).await;
    requests.bodies(&resume).await;
    requests.refused("not_found", &ResumeV1 { subscription_id: "nobodys".parse().unwrap(), ..resume.clone() }).await;
    requests.refused("not_owner", &ResumeV1 { user_id: "mallory".parse().unwrap(), ..resume.clone() }).await;
    world.set_status(&view, "paused").await;
    requests.refused("illegal_transition", &cancel).await;
    let path = format!("/v1/subscriptions/{}/resume", view.stripe_subscription_id);
    world.fault(json!({"kind": "error", "status": 402, "path": path})).await;
    requests.refused("payment_failed", &resume).await;
    world.set_status(&view, "canceled").await;
    requests.refused("illegal_transition", &resume).await;
    let change = ChangePlanV1 {
        subscription_id: view.subscription_id.clone(),
        user_id: view.user_id,
        is_admin: false,
        price_id: GOLD.into(),
        idempotency_key: "too-late".into(),
    };
    requests.refused("illegal_transition", &change).await;
}

async fn plans(world: &World, requests: &mut Requests<'_>, view: &SubscriptionView) {
    let change = ChangePlanV1 {
        subscription_id: view.subscription_id.clone(),
        user_id: view.user_id.clone(),
        is_admin: false,
        price_id: GOLD.into(),
        idempotency_key: "change-1".into(),
    };
    assert_eq!(requests.good(&change).await.plan, "gold");
    requests.twice(&change, async || state(world).await).await;
    requests
        .late(&ChangePlanV1 { idempotency_key: "late".into(), ..change.clone() }, async || state(world).await)
        .await;
    requests.bodies(&change).await;
    let other = |key: &str| ChangePlanV1 { idempotency_key: key.into(), price_id: YEAR.into(), ..change.clone() };
    requests.refused("idempotency_mismatch", &other("change-1")).await;
    requests.refused("unknown_price", &ChangePlanV1 { price_id: "price_free".into(), ..other("2") }).await;
    requests.refused("not_owner", &ChangePlanV1 { user_id: "mallory".parse().unwrap(), ..other("3") }).await;
    requests.refused("not_found", &ChangePlanV1 { subscription_id: "nobodys".parse().unwrap(), ..other("4") }).await;
    let path = format!("/v1/subscriptions/{}", view.stripe_subscription_id);
    world.fault(json!({"kind": "error", "status": 402, "path": path, "method": "POST"})).await;
    requests.refused("payment_failed", &other("5")).await;
}

pub(super) async fn pages(world: &World, requests: &mut Requests<'_>) {
    let checkout = CreateCheckoutV1 {
        user_id: "carol".parse().unwrap(),
        price_id: PRICE.into(),
        success_url: APP.into(),
        cancel_url: APP.into(),
        email: None,
        metadata: Default::default(),
        idempotency_key: "page".into(),
    };
    requests.good(&checkout).await;
    requests.twice(&checkout, async || state(world).await).await;
    requests
        .late(&CreateCheckoutV1 { idempotency_key: "late".into(), ..checkout.clone() }, async || state(world).await)
        .await;
    requests.bodies(&checkout).await;
    requests.refused("unknown_price", &CreateCheckoutV1 { price_id: "price_free".into(), ..checkout.clone() }).await;
    let elsewhere = "https://evil.example".to_owned();
    requests.refused("invalid", &CreateCheckoutV1 { cancel_url: elsewhere.clone(), ..checkout.clone() }).await;
    requests.refused("idempotency_mismatch", &CreateCheckoutV1 { price_id: GOLD.into(), ..checkout }).await;
    let portal = CreatePortalV1 { user_id: "carol".parse().unwrap(), return_url: APP.into() };
    requests.good(&portal).await;
    requests.one_effect(&portal, async || state(world).await, "each is another page, and it changes nothing").await;
    requests.late(&portal, async || state(world).await).await;
    requests.bodies(&portal).await;
    requests.refused("no_customer", &CreatePortalV1 { user_id: "nobody".parse().unwrap(), ..portal.clone() }).await;
    requests.refused("invalid", &CreatePortalV1 { return_url: elsewhere, ..portal }).await;
}

pub(super) async fn tells(world: &World, requests: &mut Requests<'_>) {
    let list = ListV1 { user_id: Some("bob".parse().unwrap()), status: None, limit: 10, after: None };
    assert_eq!(requests.good(&list).await.subscriptions.len(), 1);
    requests.twice(&list, async || state(world).await).await;
    requests.late(&list, async || state(world).await).await;
    requests.bodies(&list).await;
    requests.refused("invalid_page", &ListV1 { limit: 0, ..list }).await;
    assert_eq!(requests.good(&ListPlansV1 {}).await.plans.len(), 2);
    requests.twice(&ListPlansV1 {}, async || state(world).await).await;
    requests.late(&ListPlansV1 {}, async || state(world).await).await;
    requests.bodies(&ListPlansV1 {}).await;
    assert!(!requests.good(&CheckPlansV1 {}).await.ok);
    requests.twice(&CheckPlansV1 {}, async || state(world).await).await;
    requests.late(&CheckPlansV1 {}, async || state(world).await).await;
    requests.bodies(&CheckPlansV1 {}).await;
}
