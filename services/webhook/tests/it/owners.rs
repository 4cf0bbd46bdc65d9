//! Whose an event is: by the object's own metadata, or by what earlier events told of the object.

use contracts::Contract;
use contracts::events::webhook::{
    StripeCatalogueChangedV1, StripeCheckoutChangedV1, StripeCustomerChangedV1, StripeEntitlementsChangedV1,
};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::harness::{Running, event, pretty, subscription_event};

async fn post(service: &Running, id: &str, kind: &str, object: &Value) {
    service.post(pretty(&event(id, kind, object))).await.ok();
}

#[tokio::test]
async fn a_customers_events_find_their_tenant_once_a_subscription_told_it() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let facts = service.reader().await;
    let summary = json!({
        "object": "entitlements.active_entitlement_summary", "customer": "cus_1", "livemode": false,
        "entitlements": {"object": "list", "data": [{"id": "ent_1", "lookup_key": "relay"}, {"lookup_key": "tunnels"}]},
    });
    let kind = "entitlements.active_entitlement_summary.updated";
    post(&service, "evt_early", kind, &summary).await;
    assert_eq!(service.event("evt_early").await.unwrap()["state"], "unassigned");
    service.post(pretty(&subscription_event("evt_1", "active"))).await.ok();
    post(&service, "evt_2", kind, &summary).await;
    let customer = json!({"id": "cus_1", "object": "customer", "metadata": {}});
    post(&service, "evt_3", "customer.deleted", &customer).await;
    service.drained().await;
    let [entitled] = &facts.of(StripeEntitlementsChangedV1::KIND)[..] else { panic!("{:?}", facts.all()) };
    assert_eq!((entitled.key.as_str(), entitled.sequence), ("acme/customer/cus_1", 1));
    let payload: StripeEntitlementsChangedV1 = serde_json::from_slice(&entitled.data).unwrap();
    assert_eq!(payload.hinted_features, ["relay", "tunnels"]);
    let [deleted] = &facts.of(StripeCustomerChangedV1::KIND)[..] else { panic!("{:?}", facts.all()) };
    assert_eq!((deleted.tenant.as_str(), deleted.sequence), ("acme", 2));
    // What came too early can be published now.
    let (status, answer) = service.operate("POST", "/webhooks/evt_early/replay").await;
    assert_eq!((status, &answer["events"][0]["action"]), (200, &json!("publish")), "{answer}");
    service.drained().await;
    assert_eq!(facts.of(StripeEntitlementsChangedV1::KIND).len(), 2);
}

#[tokio::test]
async fn a_thin_event_about_a_known_subscription_is_a_hint_to_fetch_it() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let facts = service.reader().await;
    let thin = |id: &str, about: &str| {
        json!({
            "id": id, "object": "v2.core.event", "type": "v2.billing.subscription.updated", "livemode": false,
            "created": "2026-09-21T14:13:18.000Z", "related_object": {"id": about, "type": "subscription"},
        })
    };
    service.post(thin("evt_early", "sub_1").to_string()).await.ok();
    service.post(pretty(&subscription_event("evt_1", "active"))).await.ok();
    service.post(thin("evt_2", "sub_1").to_string()).await.ok();
    service.post(thin("evt_3", "mtr_1").to_string()).await.ok();
    service.drained().await;
    let hints: Vec<_> = facts
        .payloads()
        .into_iter()
        .map(|fact| (fact.stripe_event_id, fact.subscription_id.to_string(), fact.hinted_status))
        .collect();
    assert_eq!(
        hints,
        [("evt_1".into(), "s-1".into(), Some("active".to_owned())), ("evt_2".to_owned(), "s-1".to_owned(), None)]
    );
    let state = async |id: &str| service.event(id).await.unwrap()["state"].clone();
    assert_eq!((state("evt_early").await, state("evt_3").await), (json!("unassigned"), json!("unmapped")));
}

#[tokio::test]
async fn an_invoice_without_metadata_finds_its_subscription() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let facts = service.reader().await;
    service.post(pretty(&subscription_event("evt_1", "active"))).await.ok();
    post(&service, "evt_2", "invoice.paid", &json!({"id": "in_1", "object": "invoice", "subscription": "sub_1"})).await;
    service.drained().await;
    assert_eq!(facts.payloads()[1].subscription_id.as_str(), "s-1");
}

#[tokio::test]
async fn checkouts_and_the_catalogue_have_their_facts() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let facts = service.reader().await;
    let metadata = json!({"synapse_tenant": "acme", "synapse_subscription": "s-1"});
    let session = json!({"id": "cs_1", "object": "checkout.session", "status": "complete", "subscription": "sub_1",
                         "customer": "cus_1", "metadata": metadata});
    post(&service, "evt_1", "checkout.session.completed", &session).await;
    post(&service, "evt_2", "price.updated", &json!({"id": "price_1", "object": "price", "product": "prod_1"})).await;
    post(&service, "evt_3", "product.deleted", &json!({"id": "prod_1", "object": "product"})).await;
    service.drained().await;
    assert_eq!(facts.of(StripeCheckoutChangedV1::KIND)[0].key, "acme/subscription/s-1");
    let keys: Vec<_> = facts.of(StripeCatalogueChangedV1::KIND).into_iter().map(|fact| fact.key).collect();
    assert_eq!(keys, ["platform/catalogue/price_1", "platform/catalogue/prod_1"]);
}
