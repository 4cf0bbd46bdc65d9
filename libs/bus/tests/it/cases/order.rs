use std::collections::HashMap;
use std::time::Duration;

use crate::harness::*;

on_every_backend!(
    a_key_keeps_its_order,
    many_keys_keep_their_orders_in_one_batch,
    keys_run_side_by_side,
    a_nakked_event_is_not_overtaken_by_its_key,
    a_key_that_waits_holds_up_others_only_as_declared,
    the_order_holds_when_everything_fails_once,
);

async fn a_key_keeps_its_order(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let published = h.publish(events("a", 1..=30));
    let seen = take(&mut deliveries, 30).await;
    assert_eq!(seen.into_iter().map(|(_, number)| number).collect::<Vec<_>>(), (1..=30).collect::<Vec<_>>());
    all_ok(&published.await.unwrap());
}

async fn many_keys_keep_their_orders_in_one_batch(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let batch = (1..=10).flat_map(|number| (0..12).map(move |key| event(&format!("k{key}"), number))).collect();
    let published = h.publish(batch);
    let mut last: HashMap<String, u64> = HashMap::new();
    for (key, number) in take(&mut deliveries, 120).await {
        let before = last.insert(key.clone(), number).unwrap_or(0);
        assert_eq!(before + 1, number, "{key}");
    }
    all_ok(&published.await.unwrap());
}

async fn keys_run_side_by_side(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let _published = h.publish((0..20).map(|key| event(&format!("k{key}"), 1)).collect());
    let first = next(&mut deliveries).await;
    let second = next(&mut deliveries).await;
    assert_ne!(good(&first.incoming).key, good(&second.incoming).key);
    first.ack().await.unwrap();
    second.ack().await.unwrap();
    take(&mut deliveries, 18).await;
}

async fn a_nakked_event_is_not_overtaken_by_its_key(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let published = h.publish(events("a", 1..=3));
    let first = next(&mut deliveries).await;
    assert_eq!(number(&first), 1);
    first.nak(Duration::from_secs(1)).await.unwrap();
    quiet(&mut deliveries).await;
    let seen = take(&mut deliveries, 3).await;
    assert_eq!(seen.into_iter().map(|(_, number)| number).collect::<Vec<_>>(), [1, 2, 3]);
    all_ok(&published.await.unwrap());
}

async fn a_key_that_waits_holds_up_others_only_as_declared(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    // With 16 partitions some of these keys share the waiting one's.
    let mut batch = vec![event("waits", 1)];
    batch.extend((0..64).map(|key| event(&format!("k{key}"), 1)));
    let _published = h.publish(batch);
    let mut waiting = None;
    let mut others = 0;
    // Every other key, or nothing more for a while.
    let patience = if h.bus.capabilities().parallel_keys { PATIENCE } else { Duration::from_secs(1) };
    while others < 64 {
        let Ok(delivery) = tokio::time::timeout(patience, deliveries.next()).await else { break };
        let delivery = delivery.unwrap();
        delivery.extend().await.unwrap();
        if good(&delivery.incoming).key == "acme/waits" {
            waiting = Some(delivery);
        } else {
            delivery.ack().await.unwrap();
            others += 1;
            if let Some(waiting) = &waiting {
                waiting.extend().await.unwrap();
            }
        }
    }
    assert_eq!(others == 64, h.bus.capabilities().parallel_keys, "{others} of 64 other keys ran on");
    waiting.expect("the first key came too").ack().await.unwrap();
    take(&mut deliveries, 64 - others).await;
}

async fn the_order_holds_when_everything_fails_once(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let batch = (1..=4).flat_map(|number| (0..4).map(move |key| event(&format!("k{key}"), number))).collect();
    let published = h.publish(batch);
    let mut tries: HashMap<(String, u64), u32> = HashMap::new();
    let mut last: HashMap<String, u64> = HashMap::new();
    while last.values().sum::<u64>() < 16 {
        let delivery = next(&mut deliveries).await;
        let (key, number) = (good(&delivery.incoming).key.clone(), number(&delivery));
        let tried = tries.entry((key.clone(), number)).or_default();
        *tried += 1;
        assert_eq!(last.get(&key).copied().unwrap_or(0) + 1, number, "{key}");
        if *tried == 1 {
            delivery.nak(Duration::from_millis(10)).await.unwrap();
        } else {
            delivery.ack().await.unwrap();
            last.insert(key, number);
        }
    }
    all_ok(&published.await.unwrap());
}
