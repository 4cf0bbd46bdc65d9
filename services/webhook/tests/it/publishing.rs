//! Which facts follow, how they are numbered, and that the answer waits for nobody.

use std::sync::Arc;

use contracts::Contract;
use contracts::events::webhook::{StripeInvoiceChangedV1, StripeSubscriptionChangedV1};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::harness::{NOW_S, PATIENCE, Running, event, pretty, subscription_event};

#[tokio::test]
async fn a_change_of_our_subscription_becomes_a_fact_of_its_tenant() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let facts = service.reader().await;
    service.post(pretty(&subscription_event("evt_1", "past_due"))).await.ok();
    service.drained().await;
    let envelope = facts.envelopes().remove(0);
    assert_eq!((envelope.tenant.as_str(), envelope.key.as_str()), ("acme", "acme/subscription/s-1"));
    assert_eq!((envelope.sequence, envelope.source.as_str()), (1, "/synapse/webhook"));
    assert_eq!(envelope.trail.causation_id.as_deref(), Some("evt_1"));
    let metadata = [("synapse_subscription", "s-1"), ("synapse_tenant", "acme"), ("team", "blue")];
    let expected = StripeSubscriptionChangedV1 {
        subscription_id: "s-1".parse().unwrap(),
        stripe_subscription_id: "sub_1".into(),
        stripe_event_id: "evt_1".into(),
        stripe_event_type: "customer.subscription.updated".into(),
        api_version: Some("2025-03-31.basil".into()),
        livemode: false,
        created_s: NOW_S - 2,
        hinted_status: Some("past_due".into()),
        metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        stripe_account: None,
    };
    assert_eq!(facts.payloads(), [expected]);
    let record = service.event("evt_1").await.unwrap();
    assert_eq!((&record["state"], &record["tenant"]), (&json!("published"), &json!("acme")));
    assert_eq!(record["subscription_id"], "s-1");
}

#[tokio::test]
async fn a_failed_payment_becomes_the_same_hint_in_every_version() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let facts = service.reader().await;
    let metadata = json!({"synapse_tenant": "acme", "synapse_subscription": "s-1"});
    let details = json!({"subscription": "sub_1", "metadata": metadata});
    let invoices: [Value; 3] = [
        json!({"id": "in_1", "object": "invoice", "status": "open", "parent": {"subscription_details": details}}),
        json!({"id": "in_1", "object": "invoice", "subscription": "sub_1", "subscription_details": {"metadata": metadata}}),
        json!({"id": "in_1", "object": "invoice", "subscription": null, "parent": null}),
    ];
    for (number, invoice) in invoices.iter().enumerate() {
        service.post(pretty(&event(&format!("evt_{number}"), "invoice.payment_failed", invoice))).await.ok();
    }
    service.drained().await;
    let payloads = facts.payloads();
    assert_eq!(payloads.len(), 2);
    assert!(payloads.iter().all(|fact| fact.stripe_subscription_id == "sub_1" && fact.hinted_status.is_none()));
    assert_eq!(facts.of(StripeInvoiceChangedV1::KIND).len(), 2);
    let numbers: Vec<_> = facts.all().iter().map(|fact| fact.sequence).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(service.event("evt_2").await.unwrap()["state"], "unmapped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn facts_of_a_subscription_are_numbered_without_gaps_however_many_come_at_once() {
    let folder = tempdir().unwrap();
    let service = Arc::new(Running::start(folder.path()).await);
    let facts = service.reader().await;
    let posts: Vec<_> = (0..40)
        .map(|number| {
            let service = Arc::clone(&service);
            tokio::spawn(async move {
                // Each twice, from two sides.
                let body = pretty(&subscription_event(&format!("evt_{}", number / 2), "active"));
                service.post(body).await.status
            })
        })
        .collect();
    for post in posts {
        assert_eq!(post.await.unwrap(), 200);
    }
    service.drained().await;
    let numbers: Vec<u64> = facts.envelopes().iter().map(|envelope| envelope.sequence).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_answer_does_not_wait_for_a_consumer_that_never_settles() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let mut stuck = service.subscribe("subscription", &[StripeSubscriptionChangedV1::KIND]).await;
    let watch = clock::Clock::system();
    let mut fastest = PATIENCE;
    let mut held = Vec::new();
    for number in 0..5 {
        let began = watch.monotonic();
        let body = pretty(&subscription_event(&format!("evt_{number}"), "active"));
        watch.timeout(PATIENCE, service.post(body)).await.expect("an answer").ok();
        fastest = fastest.min(watch.monotonic() - began);
        if number == 0 {
            held.push(watch.timeout(PATIENCE, stuck.next()).await.expect("a fact").unwrap());
        }
    }
    assert!(fastest.as_secs() < 1, "{fastest:?}");
    assert_eq!(service.platform.outbox.pending().await.unwrap(), 5, "all wait in the outbox");
    drop(held);
}
