//! Usage told by others, quotas, and Stripe's entitlements.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::Trail;
use contracts::events::gateway::{GatewayEvent, UsageRecordedV1 as Relayed};
use contracts::events::subscription::{RestoredBecause, SubscriptionEvent};
use contracts::events::tunnel::{TunnelEvent, UsageRecordedV1 as Tunnelled};
use contracts::events::usage::Usage;
use contracts::events::webhook::{StripeEntitlementsChangedV1, WebhookEvent};
use contracts::requests::billing::{UsageV1, UsageView};
use contracts::requests::subscription::SubscriptionView;
use contracts::{Answer, Contract};
use outbox::Unit;
use reqwest::Method;

use crate::harness::{SOON, World, prove, tenant, until, wish};

/// 2026-09-21 14:13:20 UTC.
const NOW: u64 = 1_790_000_000_000;
const PLANS: &str = r#"[{ name = "team", price_ids = { test = ["price_team_monthly"] }, features = ["relay"],
    limits = { relay_bytes_month = 1000, tunnel_requests_minute = 10, tunnel_bytes_day = 500 } }]"#;
const LARGER: &str = r#"[{ name = "team", price_ids = { test = ["price_team_monthly"] }, features = ["relay"],
    limits = { relay_bytes_month = 5000 } }]"#;

pub(crate) fn used(view: &SubscriptionView, meter: &str, amount: u64, at_ms: u64) -> Usage {
    Usage {
        subscription_id: view.subscription_id.clone(),
        node_id: "node-1".parse().unwrap(),
        from_ms: at_ms - 1_000,
        to_ms: at_ms,
        amounts: BTreeMap::from([(meter.to_owned(), amount)]),
    }
}

async fn tell(world: &World, fact: &impl contracts::Fact, sequence: u64) {
    let mut unit = Unit::new();
    unit.publish(&tenant(), sequence, &Trail::new("measured"), fact);
    world.service.webhook.outbox.commit(unit).await.unwrap();
}

async fn relayed(world: &World, view: &SubscriptionView, bytes: u64, sequence: u64) {
    let usage = used(view, "relay_bytes", bytes, world.service.platform.clock.now_ms());
    tell(world, &GatewayEvent::from(Relayed { usage }), sequence).await;
}

async fn view(world: &World, of: &SubscriptionView) -> UsageView {
    match world.service.ask("acme", &UsageV1 { subscription_id: of.subscription_id.clone() }).await {
        Answer::Ok(view) => view,
        other => panic!("{other:?}"),
    }
}

async fn shown(world: &World, of: &SubscriptionView, meter: &str, window: &str) -> (u64, Option<u64>) {
    let view = view(world, of).await;
    let found = view.windows.iter().find(|line| line.meter == meter && line.window == window);
    found.map_or((0, None), |line| (line.used, line.allowed))
}

async fn quotas(world: &World) -> Vec<String> {
    let facts = world.service.facts().await.into_iter();
    let short = |(number, fact)| match fact {
        SubscriptionEvent::QuotaExceeded(fact) => Some(format!("{number} +{} {}", fact.limit, fact.used)),
        SubscriptionEvent::QuotaRestored(fact) => Some(format!("{number} -{} {:?}", fact.limit, fact.reason)),
        _ => None,
    };
    facts.filter_map(short).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_counted_once_and_told_with_what_is_allowed() {
    let world = World::start(&[("plans", PLANS)]).await;
    let bought = world.service.create(&wish("ada", "key-1")).await.unwrap();
    assert_eq!(shown(&world, &bought, "relay_bytes", "month").await, (0, Some(1_000)), "limits show before any use");
    for sequence in 1..=20 {
        relayed(&world, &bought, 10, sequence).await;
    }
    let now_ms = world.service.platform.clock.now_ms();
    let tunnel = Tunnelled { usage: used(&bought, "tunnel_bytes", 77, now_ms) };
    tell(&world, &TunnelEvent::from(tunnel), 1).await;
    until("all is counted", async || {
        shown(&world, &bought, "relay_bytes", "month").await.0 == 200
            && shown(&world, &bought, "tunnel_bytes", "day").await == (77, Some(500))
    })
    .await;
    world.service.settled().await;
    assert_eq!(shown(&world, &bought, "relay_bytes", "month").await, (200, Some(1_000)));
    let told = view(&world, &bought).await;
    assert_eq!((told.user_id.as_str(), told.plan.as_str(), told.features), ("ada", "team", vec!["relay".to_owned()]));
    let (status, by_admin) = world.admin(Method::GET, &format!("/billing/usage/acme/{}", bought.subscription_id)).await;
    assert_eq!((status, by_admin["plan"].as_str()), (200, Some("team")));
    let (status, _) = world.admin(Method::GET, "/billing/usage/acme/nobody").await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_exceeded_once_and_restored_when_its_window_ends() {
    let (world, hand) = World::at(NOW, &[("plans", PLANS)]).await;
    let bought = world.service.create(&wish("ada", "key-1")).await.unwrap();
    for sequence in 1..=5 {
        let now_ms = world.service.platform.clock.now_ms();
        let usage = used(&bought, "tunnel_requests", 4, now_ms);
        tell(&world, &TunnelEvent::from(Tunnelled { usage }), sequence).await;
    }
    until("the quota is used up", async || !quotas(&world).await.is_empty()).await;
    assert_eq!(quotas(&world).await, ["1 +tunnel_requests_minute 12"]);
    // The sweep finds the window's end; nothing has to be used for that.
    testkit::eventually(SOON, "the window's end", async || {
        hand.advance(Duration::from_secs(5));
        let told = quotas(&world).await;
        if told.len() == 2 { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
    assert_eq!(quotas(&world).await[1], format!("2 -tunnel_requests_minute {:?}", RestoredBecause::WindowEnded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_plan_restores_what_was_used_up() {
    let mut world = World::start(&[("plans", PLANS), ("usage.sweep_interval_ms", "100")]).await;
    let bought = world.service.create(&wish("ada", "key-1")).await.unwrap();
    relayed(&world, &bought, 1_500, 1).await;
    until("the quota is used up", async || quotas(&world).await == ["1 +relay_bytes_month 1500"]).await;
    world.set("plans", LARGER);
    world.crash_and_restart().await;
    until("it is restored", async || quotas(&world).await == ["2 -relay_bytes_month PlanGrew"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_a_dead_letter_and_what_is_nobodys_is_dropped() {
    let world = World::start(&[]).await;
    let bought = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let mut odd = used(&bought, "relay_bytes", 1, NOW);
    odd.amounts = BTreeMap::from([("Relay Bytes".to_owned(), 1)]);
    tell(&world, &GatewayEvent::from(Relayed { usage: odd }), 1).await;
    let mut strangers = used(&bought, "relay_bytes", 1, NOW);
    strangers.subscription_id = "nobody".parse().unwrap();
    tell(&world, &GatewayEvent::from(Relayed { usage: strangers }), 2).await;
    let letters = world.service.platform.outbox.dead_letters();
    until("the odd one is put aside", async || letters.list(None, 10).await.unwrap().letters.len() == 1).await;
    world.service.settled().await;
    assert_eq!(letters.list(None, 10).await.unwrap().letters.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn stripes_entitlements_go_before_the_plans_features() {
    let world = World::start(&[("plans", PLANS)]).await;
    let bought = world.service.create(&wish("ada", "key-1")).await.unwrap();
    assert_eq!(view(&world, &bought).await.features, ["relay"]);
    let feature = world.make_at_stripe("/v1/entitlements/features", &[("lookup_key", "gold"), ("name", "Gold")]).await;
    let price = world.stripe_get("/v1/prices/price_team_monthly").await;
    let product = price["product"].as_str().unwrap();
    let form = [("entitlement_feature", feature["id"].as_str().unwrap())];
    world.make_at_stripe(&format!("/v1/products/{product}/features"), &form).await;
    let subscription = world.stripe_get(&format!("/v1/subscriptions/{}", bought.stripe_subscription_id)).await;
    let hint = StripeEntitlementsChangedV1 {
        stripe_customer_id: subscription["customer"].as_str().unwrap().to_owned(),
        // What the announcement says decides nothing.
        hinted_features: vec!["everything".into()],
        ..StripeEntitlementsChangedV1::samples().remove(0)
    };
    tell(&world, &WebhookEvent::from(hint), 1).await;
    until("the entitlements are read", async || view(&world, &bought).await.features == ["gold"]).await;
    let Answer::Ok(issued) = world.service.ask("acme", &prove(&bought, "ada")).await else { panic!("no proof") };
    let verifier = crate::proofs::verifier(&world).await;
    let (tenant, peer, now_ms) = (tenant(), "alice".parse().unwrap(), world.service.platform.clock.now_ms());
    let expected = auth::Expected { tenant: &tenant, peer: &peer, peer_key: None };
    assert_eq!(verifier.verify(&issued.proof, expected, now_ms).unwrap().features, ["gold"]);
}
