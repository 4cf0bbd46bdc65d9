use std::time::Duration;

use bus::BusErrorKind;

use crate::harness::*;

on_every_backend!(
    a_batch_arrives_whole,
    a_second_publish_of_an_id_is_dropped_only_as_declared,
    the_same_id_with_another_payload,
    subscribers_that_come_later,
    what_nobody_reads_is_published_at_once,
    what_can_never_be_sent_is_refused,
    one_bad_event_fails_alone_and_holds_up_its_key,
);

async fn a_batch_arrives_whole(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let batch = (0..200).map(|number| event(&format!("k{}", number % 50), number)).collect();
    let published = h.publish(batch);
    let mut numbers: Vec<u64> = take(&mut deliveries, 200).await.into_iter().map(|(_, number)| number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    all_ok(&published.await.unwrap());
}

async fn a_second_publish_of_an_id_is_dropped_only_as_declared(h: &mut Harness) {
    let twice = event("a", 1);
    let published = h.publish(vec![twice.clone()]);
    if h.bus.capabilities().broker_dedupe {
        // Both before it is settled: the emulator of SQS forgets ids then, SQS itself does not.
        all_ok(&published.await.unwrap());
        all_ok(&h.publish(vec![twice, event("a", 2)]).await.unwrap());
        let mut deliveries = h.subscribe("alpha").await;
        let seen: Vec<u64> = take(&mut deliveries, 2).await.into_iter().map(|(_, number)| number).collect();
        assert_eq!(seen, [1, 2]);
    } else {
        let mut deliveries = h.subscribe("alpha").await;
        take(&mut deliveries, 1).await;
        all_ok(&published.await.unwrap());
        let again = h.publish(vec![twice]);
        assert_eq!(take(&mut deliveries, 1).await[0].1, 1);
        all_ok(&again.await.unwrap());
    }
}

async fn the_same_id_with_another_payload(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let first = event("a", 1);
    let mut second = first.clone();
    second.data = "{\"n\":\"another\"}".into();
    let published = h.publish(vec![first, second, event("a", 3)]);
    let seen: Vec<u64> = take(&mut deliveries, 2).await.into_iter().map(|(_, number)| number).collect();
    if h.bus.capabilities().broker_dedupe {
        assert_eq!(seen, [1, 3]);
    } else {
        // Both arrive, so that the inbox can raise the conflict.
        assert_eq!(seen, [1, 1]);
        assert_eq!(take(&mut deliveries, 1).await[0].1, 3);
    }
    all_ok(&published.await.unwrap());
}

async fn subscribers_that_come_later(h: &mut Harness) {
    // Known by the topology: its events wait for it on every backend.
    let published = h.publish(events("a", 1..=3));
    let mut deliveries = h.subscribe("alpha").await;
    assert_eq!(take(&mut deliveries, 3).await.len(), 3);
    all_ok(&published.await.unwrap());
    // Unknown when the event was published.
    let mut late = h.subscribe("gamma").await;
    if h.bus.capabilities().replay_for_new_subscribers {
        assert_eq!(take(&mut late, 3).await.len(), 3);
    } else {
        // SQS: its queue is made empty. Embedded: they were settled by then.
        quiet(&mut late).await;
        let published = h.publish(vec![event("a", 4)]);
        assert_eq!(take(&mut deliveries, 1).await[0].1, 4);
        if h.is_sqs() {
            // Nor does it get later ones: the relay writes to the queues of the topology only.
            quiet(&mut late).await;
        } else {
            assert_eq!(take(&mut late, 1).await[0].1, 4);
        }
        all_ok(&published.await.unwrap());
    }
}

async fn what_nobody_reads_is_published_at_once(h: &mut Harness) {
    let published = h.publish(vec![envelope(UNREAD, "a", 1)]);
    all_ok(&tokio::time::timeout(Duration::from_secs(5), published).await.unwrap().unwrap());
}

async fn what_can_never_be_sent_is_refused(h: &mut Harness) {
    let mut bad = event("a", 1);
    bad.key = "a\nb".to_owned();
    let mut huge = event("b", 1);
    huge.data = vec![b' '; 9 * 1024 * 1024].into();
    for result in h.publish(vec![bad, huge]).await.unwrap() {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), BusErrorKind::Invalid, "{error}");
        assert!(!error.is_retryable());
        assert!(error.to_string().contains("partitionkey: ") || error.to_string().contains("data: "), "{error}");
    }
}

async fn one_bad_event_fails_alone_and_holds_up_its_key(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let mut bad = event("a", 2);
    bad.source = String::new();
    let published = h.publish(vec![event("a", 1), bad, event("a", 3), event("b", 1)]);
    take(&mut deliveries, 2).await;
    quiet(&mut deliveries).await;
    let results = published.await.unwrap();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true], "{results:?}");
}
