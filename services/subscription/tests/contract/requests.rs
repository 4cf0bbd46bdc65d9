//! Each request that the subscription service serves.

use bus::Trail;
use clock::Clock;
use contracts::Answer;
use contracts::events::gateway::{GatewayEvent, UsageRecordedV1};
use contracts::events::subscription::Status;
use contracts::requests::billing::{ProofSnapshotV1, UsageV1};
use contracts::requests::subscription::{CreateV1, GetV1, ListProofKeysV1, SubscriptionView, VerifyV1};
use stripe_emulator::Options;
use testkit::contract::{On, Requests};

use super::changes;
use crate::harness::{World, prove, until, wish};
use crate::usage::used;

testkit::on_every_bus!(every_request_is_answered_as_promised);

async fn every_request_is_answered_as_promised(on: On) {
    let world = World::on_bus(on, Clock::system(), &[], Options::default()).await;
    let platform = &world.service.platform;
    let mut requests = Requests::of(subscription::NAME, &platform.bus, &platform.clock);
    let view = creates(&world, &mut requests).await;
    gets(&world, &mut requests, &view).await;
    uses(&world, &mut requests, &view).await;
    changes::changes(&world, &mut requests).await;
    changes::pages(&world, &mut requests).await;
    changes::tells(&world, &mut requests).await;
    verifies(&world, &mut requests, &view).await;
    keys(&world, &mut requests, &view).await;
    requests.finish();
}

/// What a request could change: subscriptions at Stripe, and what was told.
pub(super) async fn state(world: &World) -> (usize, usize) {
    world.service.settled().await;
    world.service.place.quiet().await;
    (world.at_stripe().await.len(), world.service.observer.seen().len())
}

async fn creates(world: &World, requests: &mut Requests<'_>) -> SubscriptionView {
    let view = requests.good(&wish("ada", "key-1")).await;
    requests.twice(&wish("ada", "key-1"), async || state(world).await).await;
    requests.late(&wish("ada", "key-late"), async || state(world).await).await;
    requests.bodies(&wish("ada", "key-1")).await;
    let unknown = CreateV1 { price_id: "price_free".into(), ..wish("ada", "key-2") };
    requests.refused("unknown_price", &unknown).await;
    let mut marked = wish("ada", "key-3");
    marked.metadata.insert("synapse_tenant".into(), "other".into());
    requests.refused("invalid_metadata", &marked).await;
    let other = CreateV1 { metadata: Default::default(), ..wish("ada", "key-1") };
    requests.refused("idempotency_mismatch", &other).await;
    for (code, method, key) in [
        ("invalid", "no id of Stripe's", "key-4"),
        ("payment_failed", "pm_card_chargeCustomerFail", "key-5"),
        ("payment_action_required", "pm_card_authenticationRequired", "key-6"),
    ] {
        requests.refused(code, &CreateV1 { payment_method_id: Some(method.into()), ..wish("ada", key) }).await;
    }
    view
}

async fn gets(world: &World, requests: &mut Requests<'_>, view: &SubscriptionView) {
    let get = GetV1 { subscription_id: view.subscription_id.clone() };
    assert_eq!(requests.good(&get).await, *view);
    requests.twice(&get, async || state(world).await).await;
    requests.late(&get, async || state(world).await).await;
    requests.bodies(&get).await;
    requests.refused("not_found", &GetV1 { subscription_id: "nobodys".parse().unwrap() }).await;
}

async fn uses(world: &World, requests: &mut Requests<'_>, view: &SubscriptionView) {
    let usage = UsageV1 { subscription_id: view.subscription_id.clone() };
    let measured = used(view, "relay_bytes", 77, world.service.platform.clock.now_ms());
    let fact = GatewayEvent::from(UsageRecordedV1 { usage: measured });
    world.service.publish(&Trail::new("measured"), 1, &fact).await;
    until("it is counted", async || match world.service.ask("acme", &usage).await {
        Answer::Ok(told) => told.windows.iter().any(|line| (line.window.as_str(), line.used) == ("month", 77)),
        other => panic!("{other:?}"),
    })
    .await;
    let told = requests.good(&usage).await;
    assert_eq!((told.user_id, told.plan.as_str()), (view.user_id.clone(), "team"));
    requests.one_effect(&usage, async || state(world).await, "it tells the windows of now, and they go on").await;
    requests.late(&usage, async || state(world).await).await;
    requests.bodies(&usage).await;
    requests.refused("not_found", &UsageV1 { subscription_id: "nobodys".parse().unwrap() }).await;
}

/// What verifiers ask for; a proof of `view` was revoked.
async fn keys(world: &World, requests: &mut Requests<'_>, view: &SubscriptionView) {
    let list = ListProofKeysV1 {};
    let keys = requests.good(&list).await.keys;
    assert_eq!(keys.len(), 1);
    requests.twice(&list, async || state(world).await).await;
    requests.late(&list, async || state(world).await).await;
    requests.bodies(&list).await;
    let snapshot = ProofSnapshotV1 { after: None, limit: 500 };
    let told = requests.good(&snapshot).await;
    assert_eq!(told.keys, keys);
    assert!(told.revocations.iter().any(|revoked| revoked.subscription_id == view.subscription_id), "{told:?}");
    requests.twice(&snapshot, async || state(world).await).await;
    requests.late(&snapshot, async || state(world).await).await;
    requests.bodies(&snapshot).await;
}

async fn verifies(world: &World, requests: &mut Requests<'_>, view: &SubscriptionView) {
    let verify = prove(view, "ada");
    assert!(!requests.good(&verify).await.proof.is_empty());
    requests.one_effect(&verify, async || state(world).await, "each is another proof, and none is kept").await;
    requests.late(&verify, async || state(world).await).await;
    requests.bodies(&verify).await;
    let nobodys = VerifyV1 { subscription_id: "nobodys".parse().unwrap(), ..verify.clone() };
    requests.refused("not_found", &nobodys).await;
    requests.refused("not_owner", &prove(view, "mallory")).await;
    world.cancel_at_stripe(&view.stripe_subscription_id).await;
    world.service.hint(view, "canceled", 1).await;
    until("it is canceled", async || world.service.get(view).await.status == Status::Canceled).await;
    requests.refused("not_entitled", &verify).await;
}
