//! Brokers that die and come back.

use std::time::Duration;

use bus::BusErrorKind;
use bytes::Bytes;
use testkit::servers::NatsVersion;

use crate::harness::*;

async fn connected(h: &Harness, wanted: bool) {
    testkit::eventually(PATIENCE, "the connection to change", async || (h.bus.is_connected() == wanted).then_some(()))
        .await;
}

async fn everything_comes_back_after_a_kill(version: NatsVersion) {
    let mut h = Harness::start(Kind::Nats(version)).await;
    let mut deliveries = h.subscribe("alpha").await;
    let mut requests = h.bus.requests("alpha", &["test.ask.v1"], 4).await.unwrap();
    let mut signals = h.bus.listen("test.ping.v1", Some("n"), None, 4).await.unwrap();
    all_ok(&h.publish(events("a", 1..=2)).await.unwrap());
    assert_eq!(take(&mut deliveries, 2).await.len(), 2);

    h.nats.as_mut().unwrap().kill9();
    connected(&h, false).await;
    let clock = clock::Clock::system();
    let before = clock.monotonic();
    for result in h.publish(events("a", 3..=4)).await.unwrap() {
        assert_eq!(kind_of(result), BusErrorKind::Unavailable);
    }
    let asked = h.bus.request(envelope("test.ask.v1", "a", 1), PATIENCE).await;
    assert_eq!(kind_of(asked), BusErrorKind::Unavailable);
    assert_eq!(kind_of(h.bus.signal("n", envelope("test.ping.v1", "a", 1)).await), BusErrorKind::Unavailable);
    assert!(clock.monotonic() - before < Duration::from_secs(5));

    let server = h.nats.take().unwrap();
    h.nats = Some(
        tokio::task::spawn_blocking(move || {
            let mut server = server;
            server.restart();
            server
        })
        .await
        .unwrap(),
    );
    connected(&h, true).await;
    // The outbox publishes again what failed.
    testkit::eventually(PATIENCE, "publishing to work again", async || {
        let results = h.publish(events("b", 5..=5)).await.unwrap();
        results.into_iter().collect::<Result<Vec<_>, _>>()
    })
    .await;
    loop {
        let delivery = next(&mut deliveries).await;
        let number = number(&delivery);
        delivery.ack().await.unwrap();
        if number == 5 {
            break;
        }
    }
    let served = tokio::spawn(async move {
        let request = requests.next().await.unwrap();
        request.respond(Bytes::from_static(b"1"));
        requests
    });
    h.bus.request(envelope("test.ask.v1", "a", 1), PATIENCE).await.unwrap();
    served.await.unwrap();
    h.bus.signal("n", envelope("test.ping.v1", "a", 7)).await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, signals.next()).await.unwrap().unwrap().sequence, 7);
}

async fn streams_that_vanished_are_made_again(version: NatsVersion) {
    let h = Harness::start(Kind::Nats(version)).await;
    let mut deliveries = h.subscribe("alpha").await;
    all_ok(&h.publish(vec![event("a", 1)]).await.unwrap());
    take(&mut deliveries, 1).await;
    let context = async_nats::jetstream::new(async_nats::connect(h.nats.as_ref().unwrap().url()).await.unwrap());
    context.delete_stream("SYNAPSE_EVENTS").await.unwrap();
    testkit::eventually(PATIENCE, "publishing to work again", async || {
        let results = h.publish(vec![event("a", 2)]).await.unwrap();
        results.into_iter().collect::<Result<Vec<_>, _>>()
    })
    .await;
    assert_eq!(take(&mut deliveries, 1).await[0].1, 2);
}

async fn a_silent_server_fails_publishing_in_bounded_time(version: NatsVersion) {
    let mut h = Harness::start(Kind::Nats(version)).await;
    h.nats.as_mut().unwrap().freeze();
    let published = h.publish(events("a", 1..=3));
    for result in tokio::time::timeout(Duration::from_secs(15), published).await.unwrap().unwrap() {
        assert_eq!(kind_of(result), BusErrorKind::Unavailable);
    }
    h.nats.as_mut().unwrap().thaw();
    let mut deliveries = h.subscribe("alpha").await;
    // Published again, as an outbox does: in order, whatever the silent server had stored.
    testkit::eventually(PATIENCE, "publishing to work again", async || {
        let results = h.publish(events("b", 1..=3)).await.unwrap();
        results.into_iter().collect::<Result<Vec<_>, _>>()
    })
    .await;
    let mut last = 0;
    while last < 3 {
        let delivery = next(&mut deliveries).await;
        if good(&delivery.incoming).key == "acme/b" {
            assert!(number(&delivery) <= last + 1);
            last = last.max(number(&delivery));
        }
        delivery.ack().await.unwrap();
    }
}

macro_rules! on_both_servers {
    ($($case:ident),+) => {
        mod nats_2_9_10 { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case(testkit::servers::NatsVersion::V2_9_10).await; }
        )+ }
        mod nats_2_15_1 { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case(testkit::servers::NatsVersion::V2_15_1).await; }
        )+ }
    };
}

on_both_servers!(
    everything_comes_back_after_a_kill,
    streams_that_vanished_are_made_again,
    a_silent_server_fails_publishing_in_bounded_time
);
