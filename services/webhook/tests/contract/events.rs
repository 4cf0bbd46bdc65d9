//! Each event of the webhook service, from a signed body that Stripe posts.

use bus::Trail;
use contracts::Contract;
use contracts::events::webhook::StripeSubscriptionChangedV1;
use testkit::contract::{Events, Observer, On};

use crate::harness::{Running, Setup, pretty, subscription_event};

testkit::on_every_bus!(every_event_keeps_its_promises);

async fn every_event_keeps_its_promises(on: On) {
    let folder = tempfile::tempdir().unwrap();
    let service = Running::with(folder.path(), Setup { on, ..Setup::default() }).await;
    let _subscription = service.reader().await;
    let observer = Observer::start(&service.host.bus, webhook::NAME).await;
    let mut events = Events::of(webhook::NAME, &service.place, &observer);
    let hinted = [StripeSubscriptionChangedV1::KIND];
    for (id, status) in [("evt_1", "past_due"), ("evt_2", "active")] {
        let body = pretty(&subscription_event(id, status));
        let posted = async || post(&service, &body).await;
        let made = events.makes_by_itself(&hinted, posted).await;
        assert_eq!(made[0].trail.causation_id.as_deref(), Some(id), "Stripe's event caused it");
        events.nothing_follows("the same event of Stripe again", async |_: &Trail| posted().await).await;
    }
    let foreign = subscription_event("evt_3", "active").to_string().replace("synapse_subscription", "theirs");
    events.nothing_follows("a subscription of somebody else", async |_| post(&service, &foreign).await).await;
    events.finish(env!("CARGO_TARGET_TMPDIR"));
}

async fn post(service: &Running, body: &str) {
    service.post(body).await.ok();
    service.drained().await;
}
