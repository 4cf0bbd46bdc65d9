//! Each event of the subscription service, from the request, the hint, the report, the operator or the start that makes
//! it.

use bus::Trail;
use clock::Clock;
use contracts::events::billing::{ProofKeyWithdrawnV1, QuotaExceededV1, QuotaRestoredV1, ReconciledV1};
use contracts::events::gateway::{GatewayEvent, UsageRecordedV1};
use contracts::events::subscription::{
    CreatedV1, ProofKeyPublishedV1, ProofRevokedV1, RestoredBecause, StatusChangedV1, StatusChangedV2,
    TransitionRejectedV1,
};
use contracts::events::webhook::{StripeSubscriptionChangedV1, WebhookEvent};
use contracts::requests::subscription::{ChangePlanV1, SubscriptionView};
use contracts::{Answer, Contract};
use reqwest::Method;
use stripe_emulator::Options;
use testkit::contract::{Events, On};

use crate::harness::{GOLD, World, tenant, wish};
use crate::reconcile::reconciled;
use crate::usage::used;

testkit::on_every_bus!(every_event_keeps_its_promises);

/// A quota small enough to be used up, and a plan that allows more.
const PLANS: &str = r#"[
  { name = "team", price_ids = { test = ["price_team_monthly"] }, limits = { relay_bytes_month = 1000 } },
  { name = "gold", price_ids = { test = ["price_gold_monthly"] }, limits = { relay_bytes_month = 5000 } },
]"#;
const SETTINGS: &[(&str, &str)] =
    &[("plans", PLANS), ("usage.sweep_interval_ms", "100"), ("reconcile.calls_per_second", "20")];

async fn every_event_keeps_its_promises(on: On) {
    let world = World::on_bus(on, Clock::system(), SETTINGS, Options::default()).await;
    let service = &world.service;
    let mut events = Events::of(subscription::NAME, &service.place, &service.observer);
    events.made_at_start(&[ProofKeyPublishedV1::KIND]).await;

    let create = async |trail: &Trail| {
        service.ask_on(trail, tenant().as_str(), &wish("ada", "key-1")).await;
        service.settled().await;
    };
    events.produces(&[CreatedV1::KIND], create).await;
    events.nothing_follows("the same wish under the same key", create).await;

    let view = service.create(&wish("ada", "key-1")).await.unwrap();
    withdrawal(&world, &mut events).await;
    reconciliation(&world, &mut events).await;
    quotas(&world, &mut events, &view).await;
    statuses(&world, &mut events, &view).await;
    events.finish(env!("CARGO_TARGET_TMPDIR"));
}

async fn withdrawal(world: &World, events: &mut Events<'_>) {
    let (_, told) = world.admin(Method::GET, "/billing/proof-keys").await;
    let path = format!("/billing/proof-keys/{}/withdraw?reason=leaked", told["keys"][0]["kid"].as_str().unwrap());
    let withdraw = async || {
        let (status, _) = world.admin(Method::POST, &path).await;
        world.service.settled().await;
        status
    };
    let made = [ProofKeyWithdrawnV1::KIND, ProofKeyPublishedV1::KIND];
    let told = events.makes_by_itself(&made, async || assert_eq!(withdraw().await, 200)).await;
    assert_eq!(told[0].kind, ProofKeyWithdrawnV1::KIND, "nothing is trusted in its place before it is gone");
    events.nothing_follows("a key that is withdrawn already", async |_| assert_eq!(withdraw().await, 404)).await;
}

async fn reconciliation(world: &World, events: &mut Events<'_>) {
    let run = async |query: &str| {
        reconciled(world, query).await;
        world.service.settled().await;
    };
    events.nothing_follows("a comparison that may change nothing", async |_| run("?dry_run=true").await).await;
    events.makes_by_itself(&[ReconciledV1::KIND], async || run("").await).await;
    events.makes_by_itself(&[ReconciledV1::KIND], async || run("?mode=backfill").await).await;
}

async fn quotas(world: &World, events: &mut Events<'_>, view: &SubscriptionView) {
    let measure = async |trail: &Trail, bytes: u64, number: u64| {
        let usage = used(view, "relay_bytes", bytes, world.service.platform.clock.now_ms());
        world.service.publish(trail, number, &GatewayEvent::from(UsageRecordedV1 { usage })).await;
        world.service.settled().await;
    };
    events.nothing_follows("what the plan allows", async |trail| measure(trail, 600, 1).await).await;
    events.produces(&[QuotaExceededV1::KIND], async |trail: &Trail| measure(trail, 600, 2).await).await;
    events.nothing_follows("more of what was told", async |trail| measure(trail, 600, 3).await).await;
    let grow = ChangePlanV1 {
        subscription_id: view.subscription_id.clone(),
        user_id: view.user_id.clone(),
        is_admin: false,
        price_id: GOLD.into(),
        idempotency_key: "to-gold".into(),
    };
    let grown = async || {
        let answer = world.service.ask("acme", &grow).await;
        assert!(matches!(answer, Answer::Ok(_)), "{answer:?}");
    };
    let made = events.makes_by_itself(&[QuotaRestoredV1::KIND], grown).await;
    let restored: QuotaRestoredV1 = serde_json::from_slice(&made[0].data).unwrap();
    assert_eq!(restored.reason, RestoredBecause::PlanGrew);
}

async fn statuses(world: &World, events: &mut Events<'_>, view: &SubscriptionView) {
    let changed = [StatusChangedV2::KIND, StatusChangedV1::KIND];
    world.set_status(view, "past_due").await;
    events.produces(&changed, async |trail: &Trail| hint(world, trail, view, "past_due", 1).await).await;
    events.nothing_follows("news that is old", async |trail| hint(world, trail, view, "past_due", 2).await).await;

    world.cancel_at_stripe(&view.stripe_subscription_id).await;
    let ended = [StatusChangedV2::KIND, StatusChangedV1::KIND, ProofRevokedV1::KIND];
    events.produces(&ended, async |trail: &Trail| hint(world, trail, view, "canceled", 3).await).await;
    let revived = async |trail: &Trail| hint(world, trail, view, "active", 4).await;
    events.produces(&[TransitionRejectedV1::KIND], revived).await;
}

async fn hint(world: &World, trail: &Trail, view: &SubscriptionView, status: &str, number: u64) {
    let hint = StripeSubscriptionChangedV1 {
        subscription_id: view.subscription_id.clone(),
        stripe_subscription_id: view.stripe_subscription_id.clone(),
        stripe_event_id: format!("evt_{number}"),
        hinted_status: Some(status.to_owned()),
        ..StripeSubscriptionChangedV1::samples().remove(0)
    };
    world.service.publish(trail, number, &WebhookEvent::from(hint)).await;
    world.service.settled().await;
}
