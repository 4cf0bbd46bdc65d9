use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::harness::*;

on_every_backend!(
    two_services_both_get_an_event,
    two_processes_share_and_each_event_comes_once,
    the_order_holds_across_two_consumers,
    a_dead_process_leaves_its_events_in_order,
);

async fn two_services_both_get_an_event(h: &mut Harness) {
    let mut alpha = h.subscribe("alpha").await;
    let mut beta = h.subscribe("beta").await;
    let published = h.publish(vec![envelope(SHARED, "a", 1)]);
    assert_eq!(take(&mut alpha, 1).await, take(&mut beta, 1).await);
    all_ok(&published.await.unwrap());
}

async fn two_processes_share_and_each_event_comes_once(h: &mut Harness) {
    let other = h.process().await;
    let mut first = h.subscribe("alpha").await;
    let mut second = subscribe_with(&other, "alpha", 64).await;
    let published = h.publish((0..60).map(|key| event(&format!("k{key}"), 1)).collect());
    let mut keys = Vec::new();
    while keys.len() < 60 {
        let delivery = tokio::select! {
            delivery = next(&mut first) => delivery,
            delivery = next(&mut second) => delivery,
        };
        keys.push(good(&delivery.incoming).key.clone());
        delivery.ack().await.unwrap();
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 60);
    all_ok(&published.await.unwrap());
    // After some rounds both work: pins are spread.
    let mut by = [0, 0];
    for round in 0..60 {
        let _published = h.publish((0..32).map(|key| event(&format!("k{key}"), round)).collect());
        for _ in 0..32 {
            let (who, delivery) = tokio::select! {
                delivery = next(&mut first) => (0, delivery),
                delivery = next(&mut second) => (1, delivery),
            };
            by[who] += 1;
            delivery.ack().await.unwrap();
        }
        if by[0] >= 32 && by[1] >= 32 {
            return;
        }
        tokio::time::timeout(Duration::from_millis(100), std::future::pending::<()>()).await.unwrap_err();
    }
    panic!("one process gets everything: {by:?}");
}

async fn the_order_holds_across_two_consumers(h: &mut Harness) {
    assert!(h.bus.capabilities().ordered_across_consumers);
    let other = h.process().await;
    let (sender, mut seen) = mpsc::unbounded_channel();
    for bus in [h.bus.clone(), other.clone()] {
        let mut deliveries = subscribe_with(&bus, "alpha", 16).await;
        let sender = sender.clone();
        tokio::spawn(async move {
            while let Some(delivery) = deliveries.next().await {
                sender.send((good(&delivery.incoming).key.clone(), number(&delivery))).unwrap();
                delivery.ack().await.unwrap();
            }
        });
    }
    let mut last: HashMap<String, u64> = HashMap::new();
    for round in 0..10 {
        let batch = (1..=5).flat_map(|n| (0..8).map(move |key| event(&format!("k{key}"), round * 5 + n))).collect();
        let _published = h.publish(batch);
        for _ in 0..40 {
            let (key, number) = tokio::time::timeout(PATIENCE, seen.recv()).await.unwrap().unwrap();
            let before = last.insert(key.clone(), number).unwrap_or(0);
            assert_eq!(before + 1, number, "{key}");
        }
    }
}

async fn a_dead_process_leaves_its_events_in_order(h: &mut Harness) {
    let doomed = h.process().await;
    let mut deliveries = subscribe_with(&doomed, "alpha", 64).await;
    let _published = h.publish((1..=4).flat_map(|n| (0..4).map(move |key| event(&format!("k{key}"), n))).collect());
    let held = [next(&mut deliveries).await, next(&mut deliveries).await];
    // Gone without settling anything, as after a crash.
    held.into_iter().for_each(std::mem::forget);
    std::mem::forget(deliveries);
    if h.kind != Kind::Embedded {
        drop(doomed);
    }
    let mut deliveries = h.subscribe("alpha").await;
    let mut last: HashMap<String, u64> = HashMap::new();
    while last.values().sum::<u64>() < 16 {
        let delivery = next(&mut deliveries).await;
        let (key, number) = (good(&delivery.incoming).key.clone(), number(&delivery));
        let before = last.get(&key).copied().unwrap_or(0);
        assert!(number <= before + 1, "{key}: {number} came after {before}");
        last.insert(key, number.max(before));
        delivery.ack().await.unwrap();
    }
}
