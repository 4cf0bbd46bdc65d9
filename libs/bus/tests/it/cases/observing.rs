//! Looking on without taking part.

use bus::{BusErrorKind, NatsOptions, Observation, Observe, Observed};
use bytes::Bytes;
use clock::Clock;

use crate::harness::*;

const ASK: &str = "test.ask.v1";
const PING: &str = "test.ping.v1";

on_every_backend!(
    an_observer_sees_events_and_takes_none_away,
    an_observer_sees_requests_with_their_replies,
    an_observer_sees_signals_with_their_address,
    a_slow_observer_misses_and_counts,
    a_guest_makes_no_streams,
);

async fn seen(observation: &mut Observation) -> Observed {
    tokio::time::timeout(PATIENCE, observation.next()).await.expect("something comes").expect("the bus is open")
}

async fn an_observer_sees_events_and_takes_none_away(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let other = h.process().await;
    let mut observation = other.observe(Observe::events(64)).await.unwrap();
    assert_eq!(observation.covers_events(), !h.is_sqs());
    let _published = h.publish(events("a", 1..=3));
    assert_eq!(take(&mut deliveries, 3).await.len(), 3);
    if h.is_sqs() {
        return;
    }
    for number in 1..=3 {
        let Observed::Event(Ok(event)) = seen(&mut observation).await else { panic!("an event") };
        assert_eq!((event.sequence, event.key.as_str()), (number, "acme/a"));
    }
    quiet(&mut deliveries).await;
}

async fn an_observer_sees_requests_with_their_replies(h: &mut Harness) {
    let mut requests = h.bus.requests("alpha", &[ASK], 8).await.unwrap();
    let other = h.process().await;
    let mut observation = other.observe(Observe::everything(64)).await.unwrap();
    let (reply, ()) = tokio::join!(h.bus.request(envelope(ASK, "a", 7), PATIENCE), async {
        requests.next().await.unwrap().respond(Bytes::from_static(b"{\"ok\":7}"));
    });
    reply.unwrap();
    let Observed::Request(Ok(asked)) = seen(&mut observation).await else { panic!("a request") };
    let Observed::Reply { request, data } = seen(&mut observation).await else { panic!("a reply") };
    assert_eq!((asked.sequence, request.id == asked.id, &data[..]), (7, true, &b"{\"ok\":7}"[..]));
}

async fn an_observer_sees_signals_with_their_address(h: &mut Harness) {
    let other = h.process().await;
    let mut observation = other.observe(Observe::everything(64)).await.unwrap();
    h.bus.signal("node 1", envelope(PING, "a", 9)).await.unwrap();
    let Observed::Signal { address, incoming } = seen(&mut observation).await else { panic!("a signal") };
    assert_eq!((address.as_str(), incoming.unwrap().sequence), ("node 1", 9));
}

async fn a_slow_observer_misses_and_counts(h: &mut Harness) {
    let other = h.process().await;
    let observation = other.observe(Observe::everything(2)).await.unwrap();
    for number in 0..10 {
        h.bus.signal("x", envelope(PING, "a", number)).await.unwrap();
    }
    testkit::eventually(PATIENCE, "the rest to be counted", async || {
        let missed = observation.left_out();
        if missed == 8 { Ok(()) } else { Err(missed.to_string()) }
    })
    .await;
}

async fn a_guest_makes_no_streams(h: &mut Harness) {
    let Some(nats) = &h.nats else { return };
    let elsewhere = NatsOptions { stream: "ELSEWHERE".into(), create_streams: false, ..nats_options(nats) };
    let refused = bus::Bus::nats(elsewhere, Clock::system()).await.err().expect("there is no such stream");
    assert_eq!(refused.kind(), BusErrorKind::Unfit);
    assert!(refused.to_string().contains("stream ELSEWHERE: it is not there"), "{refused}");
}
