//! The status of a subscription comes back in two versions at once: this service reads the older one.

use bus::Trail;
use contracts::Contract;
use contracts::events::subscription::{Status, StatusChangedV1, StatusChangedV2, SubscriptionEvent};
use outbox::Unit;
use serde_json::json;
use store::Key;
use tempfile::tempdir;
use testkit::eventually;

use crate::harness::{PATIENCE, Running, pretty, subscription_event};

#[tokio::test]
async fn an_old_and_a_new_reader_of_one_fact_both_get_it() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let facts = service.reader().await;
    let owner = service.host.platform("subscription").await.unwrap();
    let mut new_reader = service.subscribe("gateway", &[StatusChangedV2::KIND]).await;
    service.post(pretty(&subscription_event("evt_1", "past_due"))).await.ok();

    let changed = StatusChangedV2 {
        subscription_id: "s-1".parse().unwrap(),
        previous: Some(Status::Active),
        current: Status::PastDue,
        entitled: true,
        current_period_end_ms: None,
    };
    let old = StatusChangedV1::from(&changed);
    let (mut unit, trail, tenant) = (Unit::new(), Trail::new("c-1"), "acme".parse().unwrap());
    unit.publish(&tenant, 7, &trail, &SubscriptionEvent::from(old));
    unit.publish(&tenant, 7, &trail, &SubscriptionEvent::from(changed.clone()));
    owner.outbox.commit(unit).await.unwrap();

    let delivery = clock::Clock::system().timeout(PATIENCE, new_reader.next()).await.expect("v2").unwrap();
    let seen: StatusChangedV2 = serde_json::from_slice(&delivery.incoming.clone().unwrap().data).unwrap();
    assert_eq!(seen, changed);
    delivery.ack().await.unwrap();
    let ledger = Key::new("subscription#acme", "s-1");
    let noted = eventually(PATIENCE, "the old reader", async || {
        service.item(&ledger).await.filter(|ledger| ledger.get("settled").is_some())
    })
    .await;
    assert_eq!(
        noted,
        json!({
            "facts": 1, "settled": {"status": "past_due", "sequence": 7},
            "links": {"subscription": "sub_1", "customer": "cus_1"},
        })
    );

    // The note does not disturb the numbers.
    service.post(pretty(&subscription_event("evt_2", "active"))).await.ok();
    service.drained().await;
    assert_eq!(facts.envelopes().iter().map(|fact| fact.sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(service.item(&ledger).await.unwrap()["settled"]["status"], "past_due");
}
