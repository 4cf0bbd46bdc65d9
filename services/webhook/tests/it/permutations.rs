//! Whatever order and however often the events of a lifecycle come in: each is one fact, numbered without gaps, and what
//! is stored is the same.

use std::collections::BTreeSet;

use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::harness::{Running, event, pretty, subscription_event};

/// A subscription's life, several events in one second.
fn lifecycle() -> Vec<(String, Value)> {
    let metadata = json!({"synapse_tenant": "acme", "synapse_subscription": "s-1"});
    let invoice = |status: &str| {
        json!({"id": "in_1", "object": "invoice", "status": status, "customer": "cus_1",
               "parent": {"subscription_details": {"subscription": "sub_1", "metadata": metadata}}})
    };
    let customer = json!({"id": "cus_1", "object": "customer", "metadata": {"synapse_tenant": "acme"}});
    let events = [
        event("evt_0", "customer.created", &customer),
        subscription_event("evt_1", "incomplete"),
        event("evt_2", "invoice.created", &invoice("draft")),
        event("evt_3", "invoice.paid", &invoice("paid")),
        subscription_event("evt_4", "active"),
        event("evt_5", "invoice.payment_failed", &invoice("open")),
        subscription_event("evt_6", "past_due"),
        subscription_event("evt_7", "canceled"),
        event("evt_8", "charge.failed", &json!({"id": "ch_1", "object": "charge"})),
    ];
    events.into_iter().map(|event| (event["id"].as_str().unwrap().to_owned(), event)).collect()
}

/// Facts that each event of the lifecycle becomes.
const FACTS: [usize; 9] = [1, 1, 2, 2, 1, 2, 1, 1, 0];

async fn converges(order: &[usize]) {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let facts = service.reader().await;
    let events = lifecycle();
    for number in order {
        service.post(pretty(&events[*number].1)).await.ok();
    }
    service.drained().await;
    let came: BTreeSet<usize> = order.iter().copied().collect();
    let all = facts.all();
    assert_eq!(all.len(), came.iter().map(|number| FACTS[*number]).sum::<usize>(), "{order:?}");
    for key in ["acme/subscription/s-1", "acme/customer/cus_1"] {
        let mut numbers: Vec<_> = all.iter().filter(|fact| fact.key == key).map(|fact| fact.sequence).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{order:?}");
    }
    for (number, (id, _)) in events.iter().enumerate().filter(|(number, _)| came.contains(number)) {
        let stored = service.event(id).await.unwrap();
        let expected = if FACTS[number] == 0 { "unmapped" } else { "published" };
        assert_eq!(stored["state"], expected, "{id} in {order:?}");
    }
    assert_eq!(service.listed("quarantined").await.len() + service.listed("conflict").await.len(), 0, "{order:?}");
    let repeats: u64 = service.listed("duplicate").await.iter().map(|event| event["repeats"].as_u64().unwrap()).sum();
    assert_eq!(repeats as usize, order.len() - came.len(), "{order:?}");
    service.host.drain().await;
}

#[test]
fn every_order_and_every_repetition_gives_the_same_facts() {
    let cases = u32::try_from(24 * testkit::scale()).unwrap();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let orders = proptest::collection::vec(0..FACTS.len(), 1..28);
    let run = |order: Vec<usize>| {
        runtime.block_on(converges(&order));
        Ok(())
    };
    runner.run(&orders, run).unwrap();
    // And all of them, backwards, three times over.
    let order: Vec<usize> = (0..FACTS.len()).rev().cycle().take(3 * FACTS.len()).collect();
    runtime.block_on(converges(&order));
}
