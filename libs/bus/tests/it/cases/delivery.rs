use std::time::Duration;

use crate::harness::*;

on_every_backend!(
    an_acked_event_never_comes_again,
    a_nak_brings_it_again_after_its_delay,
    a_nak_without_delay_brings_it_at_once,
    a_lease_that_ends_brings_it_again,
    a_dropped_delivery_comes_again,
    an_extended_lease_does_not_end,
    a_terminated_event_lets_its_key_go_on,
    no_more_are_unsettled_than_asked_for,
    attempts_are_counted,
    trail_tenant_and_all_attributes_arrive,
    drain_lets_unsettled_events_settle,
    drain_ends_at_its_deadline,
    what_drain_left_is_delivered_to_the_next_process,
    a_subscription_can_go_and_come,
    what_is_published_outlives_its_process_only_as_declared,
);

async fn an_acked_event_never_comes_again(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let published = h.publish(vec![event("a", 1)]);
    take(&mut deliveries, 1).await;
    all_ok(&published.await.unwrap());
    let again = tokio::time::timeout(LEASE + Duration::from_secs(1), deliveries.next()).await;
    assert!(again.is_err(), "{again:?}");
}

async fn a_nak_brings_it_again_after_its_delay(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let _published = h.publish(vec![event("a", 1)]);
    let clock = clock::Clock::system();
    let first = next(&mut deliveries).await;
    let before = clock.monotonic();
    first.nak(Duration::from_secs(1)).await.unwrap();
    let second = next(&mut deliveries).await;
    let waited = clock.monotonic() - before;
    assert!(waited >= Duration::from_millis(950), "{waited:?}");
    assert_eq!(number(&second), 1);
    second.ack().await.unwrap();
    assert!(h.bus.capabilities().delayed_redelivery);
}

async fn a_nak_without_delay_brings_it_at_once(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let _published = h.publish(vec![event("a", 1)]);
    next(&mut deliveries).await.nak(Duration::ZERO).await.unwrap();
    let again = tokio::time::timeout(LEASE, deliveries.next()).await.expect("sooner than the lease").unwrap();
    again.ack().await.unwrap();
}

async fn a_lease_that_ends_brings_it_again(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let _published = h.publish(events("a", 1..=2));
    let slow = next(&mut deliveries).await;
    let again = next(&mut deliveries).await;
    assert_eq!((number(&slow), number(&again)), (1, 1));
    assert!(again.attempt > slow.attempt);
    again.ack().await.unwrap();
    let after = next(&mut deliveries).await;
    assert_eq!(number(&after), 2);
    after.ack().await.unwrap();
}

async fn a_dropped_delivery_comes_again(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let _published = h.publish(events("a", 1..=2));
    drop(next(&mut deliveries).await);
    let seen = take(&mut deliveries, 2).await;
    assert_eq!(seen.iter().map(|(_, number)| *number).collect::<Vec<_>>(), [1, 2]);
}

async fn an_extended_lease_does_not_end(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let _published = h.publish(vec![event("a", 1)]);
    let slow = next(&mut deliveries).await;
    for _ in 0..8 {
        slow.extend().await.unwrap();
        let other = tokio::time::timeout(LEASE / 4, deliveries.next()).await;
        assert!(other.is_err(), "{other:?}");
    }
    slow.ack().await.unwrap();
    quiet(&mut deliveries).await;
}

async fn a_terminated_event_lets_its_key_go_on(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let published = h.publish(events("a", 1..=2));
    let poison = next(&mut deliveries).await;
    poison.term("it can't be read\r\nat all").await.unwrap();
    let after = next(&mut deliveries).await;
    assert_eq!(number(&after), 2);
    after.ack().await.unwrap();
    all_ok(&published.await.unwrap());
    let again = tokio::time::timeout(LEASE + Duration::from_secs(1), deliveries.next()).await;
    assert!(again.is_err(), "{again:?}");
}

async fn no_more_are_unsettled_than_asked_for(h: &mut Harness) {
    let mut deliveries = subscribe_with(&h.bus, "alpha", 3).await;
    let _published = h.publish((0..10).map(|key| event(&format!("k{key}"), 1)).collect());
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut deliveries).await);
    }
    quiet(&mut deliveries).await;
    held.pop().unwrap().ack().await.unwrap();
    held.push(next(&mut deliveries).await);
    for delivery in held {
        delivery.ack().await.unwrap();
    }
    take(&mut deliveries, 6).await;
}

async fn attempts_are_counted(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let _published = h.publish(vec![event("a", 1)]);
    for attempt in 1..=3 {
        let delivery = next(&mut deliveries).await;
        assert_eq!(delivery.attempt, attempt);
        if attempt == 3 {
            delivery.ack().await.unwrap();
        } else {
            delivery.nak(Duration::ZERO).await.unwrap();
        }
    }
}

async fn trail_tenant_and_all_attributes_arrive(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let mut sent = event("peer/zoë \"1%\"", 9);
    sent.expires_at_ms = Some(sent.time_ms + 5_000);
    sent.trail.causation_id = Some("cause-1".to_owned());
    sent.trail.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    sent.trail.tracestate = Some("vendor=1".to_owned());
    let _published = h.publish(vec![sent.clone()]);
    let delivery = next(&mut deliveries).await;
    assert_eq!(good(&delivery.incoming), &sent);
    delivery.ack().await.unwrap();
}

async fn drain_lets_unsettled_events_settle(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let _published = h.publish(vec![event("a", 1)]);
    let slow = next(&mut deliveries).await;
    let mut drained = tokio::spawn({
        let bus = h.bus.clone();
        async move { bus.drain(PATIENCE).await }
    });
    assert!(tokio::time::timeout(QUIET, &mut drained).await.is_err());
    slow.ack().await.unwrap();
    while deliveries.next().await.is_some() {}
    drained.await.unwrap();
    assert_eq!(kind_of(h.publish(vec![event("a", 2)]).await.unwrap().remove(0)), bus::BusErrorKind::Closed);
}

async fn drain_ends_at_its_deadline(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let _published = h.publish(vec![event("a", 1)]);
    let _stuck = next(&mut deliveries).await;
    let drained = tokio::time::timeout(Duration::from_secs(10), h.bus.drain(Duration::from_millis(500))).await;
    assert!(drained.is_ok());
}

async fn what_drain_left_is_delivered_to_the_next_process(h: &mut Harness) {
    if !h.bus.capabilities().durable {
        // The embedded bus holds nothing itself: its publisher is told that the event was not settled.
        let mut deliveries = h.subscribe("alpha").await;
        let published = h.publish(events("a", 1..=2));
        let first = next(&mut deliveries).await;
        let drained = h.bus.drain(PATIENCE);
        let (_, acked) = tokio::join!(drained, first.ack());
        acked.unwrap();
        let results = published.await.unwrap();
        assert!(results[0].is_ok() && results[1].is_err(), "{results:?}");
        return;
    }
    let mut deliveries = subscribe_with(&h.bus, "alpha", 1).await;
    all_ok(&h.publish(events("a", 1..=3)).await.unwrap());
    let first = next(&mut deliveries).await;
    let (_, acked) = tokio::join!(h.bus.drain(PATIENCE), first.ack());
    acked.unwrap();
    let other = h.process().await;
    let mut deliveries = subscribe_with(&other, "alpha", 64).await;
    let seen = take(&mut deliveries, 2).await;
    assert_eq!(seen.into_iter().map(|(_, number)| number).collect::<Vec<_>>(), [2, 3]);
}

async fn a_subscription_can_go_and_come(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let _published = h.publish(events("a", 1..=2));
    take(&mut deliveries, 1).await;
    drop(deliveries);
    let mut deliveries = h.subscribe("alpha").await;
    assert_eq!(take(&mut deliveries, 1).await[0].1, 2);
}

async fn what_is_published_outlives_its_process_only_as_declared(h: &mut Harness) {
    // A process that publishes and then is gone, without any drain.
    let doomed = h.another().await;
    let mut published = publish(&doomed, events("a", 1..=2));
    if h.bus.capabilities().durable {
        all_ok(&published.await.unwrap());
        drop(doomed);
        let mut deliveries = h.subscribe("alpha").await;
        let seen = take(&mut deliveries, 2).await;
        assert_eq!(seen.into_iter().map(|(_, number)| number).collect::<Vec<_>>(), [1, 2]);
    } else {
        // Never told that they are safe, the outbox keeps them.
        assert!(tokio::time::timeout(QUIET, &mut published).await.is_err(), "nobody has settled them");
        drop(doomed);
        for result in published.await.unwrap() {
            assert_eq!(kind_of(result), bus::BusErrorKind::Closed);
        }
        let next_process = h.another().await;
        let mut deliveries = subscribe_with(&next_process, "alpha", 4).await;
        quiet(&mut deliveries).await;
    }
}
