//! Each event of the webhook service, from a signed body that Stripe posts.

use bus::Trail;
use contracts::Contract;
use contracts::events::webhook::{
    StripeCatalogueChangedV1, StripeCheckoutChangedV1, StripeCustomerChangedV1, StripeEntitlementsChangedV1,
    StripeInvoiceChangedV1, StripeSubscriptionChangedV1,
};
use serde_json::{Value, json};
use testkit::contract::{Events, Observer, On};

use crate::harness::{NOW_S, Running, Setup, event, pretty, subscription_event};

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
    // Ours are known by Stripe's ids as well, once one of their events was marked.
    let marks = [("synapse_subscription", "theirs"), ("sub_1", "sub_9"), ("cus_1", "cus_9"), ("si_1", "si_9")];
    let foreign = subscription_event("evt_3", "active").to_string();
    let foreign = marks.into_iter().fold(foreign, |text, (ours, theirs)| text.replace(ours, theirs));
    events.nothing_follows("a subscription of somebody else", async |_| post(&service, &foreign).await).await;
    for (number, (name, object, made)) in others().into_iter().enumerate() {
        let id = format!("evt_other_{number}");
        let body = pretty(&event(&id, name, &object));
        let posted = async || post(&service, &body).await;
        for fact in events.makes_by_itself(&made, posted).await {
            assert_eq!(fact.trail.causation_id.as_deref(), Some(id.as_str()), "{name}: Stripe's event caused it");
        }
        events.nothing_follows("the same event of Stripe again", async |_: &Trail| posted().await).await;
    }
    let strangers = pretty(&event("evt_strangers", "customer.updated", &json!({"id": "cus_7", "object": "customer"})));
    events.nothing_follows("a customer of nobody here", async |_| post(&service, &strangers).await).await;
    events.finish(env!("CARGO_TARGET_TMPDIR"));
}

async fn post(service: &Running, body: &str) {
    service.post(body).await.ok();
    service.drained().await;
}

/// Stripe's events besides those of subscriptions, and what follows from each. Whose `cus_1` is, an earlier event told.
fn others() -> Vec<(&'static str, Value, Vec<&'static str>)> {
    let ours = json!({"synapse_tenant": "acme", "synapse_subscription": "s-1"});
    let invoice = json!({
        "id": "in_1", "object": "invoice", "customer": "cus_1", "status": "open", "attempt_count": 1,
        "billing_reason": "subscription_cycle", "next_payment_attempt": NOW_S + 3_600,
        "parent": {"subscription_details": {"subscription": "sub_1", "metadata": ours}},
    });
    let session = json!({
        "id": "cs_1", "object": "checkout.session", "status": "complete", "payment_status": "paid",
        "subscription": "sub_1", "customer": "cus_1", "metadata": ours,
    });
    let customer = json!({"id": "cus_1", "object": "customer", "metadata": {"synapse_tenant": "acme"}});
    let summary = json!({
        "object": "entitlements.active_entitlement_summary", "customer": "cus_1", "livemode": false,
        "entitlements": {"object": "list", "data": [{"id": "ent_1", "lookup_key": "relay"}]},
    });
    let price = json!({"id": "price_1", "object": "price", "product": "prod_1"});
    let billed = vec![StripeSubscriptionChangedV1::KIND, StripeInvoiceChangedV1::KIND];
    vec![
        ("invoice.payment_failed", invoice, billed),
        ("checkout.session.completed", session, vec![StripeCheckoutChangedV1::KIND]),
        ("customer.updated", customer, vec![StripeCustomerChangedV1::KIND]),
        ("entitlements.active_entitlement_summary.updated", summary, vec![StripeEntitlementsChangedV1::KIND]),
        ("price.updated", price.clone(), vec![StripeCatalogueChangedV1::KIND]),
        ("price.deleted", price, vec![StripeCatalogueChangedV1::KIND]),
    ]
}
