use std::time::Duration;

use bus::BusErrorKind;
use bytes::Bytes;

use crate::harness::*;

const ASK: &str = "test.ask.v1";

on_every_backend!(
    a_request_gets_its_reply,
    nobody_serving_is_told_at_once,
    an_unanswered_request_times_out,
    a_dropped_request_times_out,
    a_cancelled_request_harms_nobody,
    processes_of_a_service_share_requests,
    no_more_requests_are_unanswered_than_asked_for,
    a_request_that_can_never_be_sent_is_refused,
    a_request_carries_its_trail,
    drain_lets_requests_be_answered,
);

async fn a_request_gets_its_reply(h: &mut Harness) {
    let mut requests = h.bus.requests("alpha", &[ASK, "test.other.v1"], 8).await.unwrap();
    let asker = h.process().await;
    let (reply, ()) = tokio::join!(asker.request(envelope(ASK, "a", 5), PATIENCE), async {
        let request = requests.next().await.unwrap();
        assert_eq!(good(&request.incoming).sequence, 5);
        request.respond(Bytes::from_static(b"{\"ok\":true}"));
    });
    assert_eq!(&reply.unwrap()[..], b"{\"ok\":true}");
}

async fn nobody_serving_is_told_at_once(h: &mut Harness) {
    let asked = h.bus.request(envelope(ASK, "a", 1), PATIENCE);
    let result = tokio::time::timeout(Duration::from_secs(5), asked).await.unwrap();
    assert_eq!(kind_of(result), BusErrorKind::NoResponder);
}

async fn an_unanswered_request_times_out(h: &mut Harness) {
    let mut requests = h.bus.requests("alpha", &[ASK], 8).await.unwrap();
    let asked = h.bus.request(envelope(ASK, "a", 1), Duration::from_millis(300)).await;
    assert_eq!(kind_of(asked), BusErrorKind::Timeout);
    // An answer that comes too late goes nowhere.
    requests.next().await.unwrap().respond(Bytes::new());
}

async fn a_dropped_request_times_out(h: &mut Harness) {
    let mut requests = h.bus.requests("alpha", &[ASK], 1).await.unwrap();
    let (asked, ()) = tokio::join!(h.bus.request(envelope(ASK, "a", 1), Duration::from_millis(300)), async {
        drop(requests.next().await.unwrap());
    });
    assert_eq!(kind_of(asked), BusErrorKind::Timeout);
    // Its place is free again.
    let (asked, ()) = tokio::join!(h.bus.request(envelope(ASK, "a", 1), PATIENCE), async {
        requests.next().await.unwrap().respond(Bytes::from_static(b"1"));
    });
    asked.unwrap();
}

async fn a_cancelled_request_harms_nobody(h: &mut Harness) {
    let mut requests = h.bus.requests("alpha", &[ASK], 1).await.unwrap();
    let cancelled = tokio::time::timeout(QUIET, h.bus.request(envelope(ASK, "a", 1), PATIENCE)).await;
    assert!(cancelled.is_err());
    requests.next().await.unwrap().respond(Bytes::from_static(b"1"));
    let (asked, ()) = tokio::join!(h.bus.request(envelope(ASK, "a", 2), PATIENCE), async {
        let request = requests.next().await.unwrap();
        assert_eq!(good(&request.incoming).sequence, 2);
        request.respond(Bytes::from_static(b"2"));
    });
    assert_eq!(&asked.unwrap()[..], b"2");
}

async fn processes_of_a_service_share_requests(h: &mut Harness) {
    let other = h.process().await;
    for (name, bus) in [("one", h.bus.clone()), ("two", other.clone())] {
        let mut requests = bus.requests("alpha", &[ASK], 4).await.unwrap();
        tokio::spawn(async move {
            let _bus = bus;
            while let Some(request) = requests.next().await {
                request.respond(Bytes::from_static(name.as_bytes()));
            }
        });
    }
    let mut names = Vec::new();
    for number in 0..60 {
        names.push(h.bus.request(envelope(ASK, "a", number), PATIENCE).await.unwrap());
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 2, "each answered some, and each request has one answer");
}

async fn no_more_requests_are_unanswered_than_asked_for(h: &mut Harness) {
    let mut requests = h.bus.requests("alpha", &[ASK], 2).await.unwrap();
    let asked: Vec<_> = (0..4)
        .map(|number| {
            let bus = h.bus.clone();
            tokio::spawn(async move { bus.request(envelope(ASK, "a", number), PATIENCE).await })
        })
        .collect();
    let mut held = vec![requests.next().await.unwrap(), requests.next().await.unwrap()];
    assert!(tokio::time::timeout(QUIET, requests.next()).await.is_err());
    held.pop().unwrap().respond(Bytes::from_static(b"1"));
    held.push(requests.next().await.unwrap());
    held.into_iter().for_each(|request| request.respond(Bytes::from_static(b"1")));
    requests.next().await.unwrap().respond(Bytes::from_static(b"1"));
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
}

async fn a_request_that_can_never_be_sent_is_refused(h: &mut Harness) {
    let _requests = h.bus.requests("alpha", &[ASK], 2).await.unwrap();
    let mut bad = envelope(ASK, "a", 1);
    bad.source = "a\u{7}b".to_owned();
    assert_eq!(kind_of(h.bus.request(bad, PATIENCE).await), BusErrorKind::Invalid);
    let mut huge = envelope(ASK, "a", 1);
    huge.data = vec![b' '; 9 * 1024 * 1024].into();
    assert_eq!(kind_of(h.bus.request(huge, PATIENCE).await), BusErrorKind::Invalid);
}

async fn a_request_carries_its_trail(h: &mut Harness) {
    let mut requests = h.bus.requests("alpha", &[ASK], 2).await.unwrap();
    let mut sent = envelope(ASK, "a", 1);
    sent.trail.causation_id = Some("cause".to_owned());
    sent.trail.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    sent.expires_at_ms = Some(sent.time_ms + 1_000);
    let (_, ()) = tokio::join!(h.bus.request(sent.clone(), PATIENCE), async {
        let request = requests.next().await.unwrap();
        assert_eq!(good(&request.incoming), &sent);
        request.respond(Bytes::from_static(b"1"));
    });
}

async fn drain_lets_requests_be_answered(h: &mut Harness) {
    let mut requests = h.bus.requests("alpha", &[ASK], 2).await.unwrap();
    let asker = h.process().await;
    let asked = tokio::spawn(async move { asker.request(envelope(ASK, "a", 1), PATIENCE).await });
    let request = requests.next().await.unwrap();
    let drained = tokio::spawn({
        let bus = h.bus.clone();
        async move { bus.drain(PATIENCE).await }
    });
    assert!(requests.next().await.is_none());
    request.respond(Bytes::from_static(b"1"));
    drained.await.unwrap();
    asked.await.unwrap().unwrap();
}
