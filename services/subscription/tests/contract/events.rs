//! Each event of the subscription service, from the request, the hint or the start that makes it.

use bus::Trail;
use clock::Clock;
use contracts::Contract;
use contracts::events::subscription::{
    CreatedV1, ProofKeyPublishedV1, ProofRevokedV1, StatusChangedV1, StatusChangedV2, TransitionRejectedV1,
};
use contracts::events::webhook::{StripeSubscriptionChangedV1, WebhookEvent};
use contracts::requests::subscription::SubscriptionView;
use stripe_emulator::Options;
use testkit::contract::{Events, On};

use crate::harness::{World, tenant, wish};

testkit::on_every_bus!(every_event_keeps_its_promises);

async fn every_event_keeps_its_promises(on: On) {
    let world = World::on_bus(on, Clock::system(), &[], Options::default()).await;
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
    let changed = [StatusChangedV2::KIND, StatusChangedV1::KIND];
    world.set_status(&view, "past_due").await;
    events.produces(&changed, async |trail: &Trail| hint(&world, trail, &view, "past_due", 1).await).await;
    events.nothing_follows("news that is old", async |trail| hint(&world, trail, &view, "past_due", 2).await).await;

    world.cancel_at_stripe(&view.stripe_subscription_id).await;
    let ended = [StatusChangedV2::KIND, StatusChangedV1::KIND, ProofRevokedV1::KIND];
    events.produces(&ended, async |trail: &Trail| hint(&world, trail, &view, "canceled", 3).await).await;
    let revived = async |trail: &Trail| hint(&world, trail, &view, "active", 4).await;
    events.produces(&[TransitionRejectedV1::KIND], revived).await;
    events.finish(env!("CARGO_TARGET_TMPDIR"));
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
