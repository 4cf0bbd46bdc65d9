use std::time::Duration;

use bus::{BusErrorKind, Signals};

use crate::dropped::Dropped;
use crate::harness::*;

const PING: &str = "test.ping.v1";

on_every_backend!(
    a_signal_reaches_every_listener_at_its_address,
    a_signal_to_another_address_is_not_heard,
    a_group_shares_signals,
    a_wildcard_hears_every_address,
    a_full_buffer_drops_the_oldest,
    odd_addresses_work_and_long_ones_are_refused,
    a_signal_nobody_hears_is_no_error,
    a_listener_that_went_is_forgotten,
);

async fn hear(signals: &mut Signals) -> u64 {
    tokio::time::timeout(PATIENCE, signals.next()).await.expect("a signal comes").unwrap().sequence
}

async fn silent(signals: &mut Signals) {
    let heard = tokio::time::timeout(QUIET, signals.next()).await;
    assert!(heard.is_err(), "{heard:?}");
}

async fn a_signal_reaches_every_listener_at_its_address(h: &mut Harness) {
    let other = h.process().await;
    let mut first = h.bus.listen(PING, Some("node-1"), None, 8).await.unwrap();
    let mut second = other.listen(PING, Some("node-1"), None, 8).await.unwrap();
    h.bus.signal("node-1", envelope(PING, "a", 1)).await.unwrap();
    assert_eq!((hear(&mut first).await, hear(&mut second).await), (1, 1));
}

async fn a_signal_to_another_address_is_not_heard(h: &mut Harness) {
    let mut listener = h.bus.listen(PING, Some("node-1"), None, 8).await.unwrap();
    let mut other_kind = h.bus.listen("test.pong.v1", Some("node-2"), None, 8).await.unwrap();
    h.bus.signal("node-2", envelope(PING, "a", 1)).await.unwrap();
    silent(&mut listener).await;
    silent(&mut other_kind).await;
}

async fn a_group_shares_signals(h: &mut Harness) {
    let other = h.process().await;
    let mut first = h.bus.listen(PING, None, Some("presence"), 100).await.unwrap();
    let mut second = other.listen(PING, None, Some("presence"), 100).await.unwrap();
    for number in 0..40 {
        h.bus.signal("x", envelope(PING, "a", number)).await.unwrap();
    }
    let mut heard = Vec::new();
    let mut by = [0, 0];
    while heard.len() < 40 {
        let (who, number) = tokio::select! {
            number = hear(&mut first) => (0, number),
            number = hear(&mut second) => (1, number),
        };
        by[who] += 1;
        heard.push(number);
    }
    heard.sort_unstable();
    assert_eq!(heard, (0..40).collect::<Vec<_>>());
    assert!(by[0] > 0 && by[1] > 0, "{by:?}");
    silent(&mut first).await;
}

async fn a_wildcard_hears_every_address(h: &mut Harness) {
    let mut listener = h.bus.listen(PING, None, None, 8).await.unwrap();
    h.bus.signal("one", envelope(PING, "a", 1)).await.unwrap();
    h.bus.signal("two", envelope(PING, "a", 2)).await.unwrap();
    assert_eq!((hear(&mut listener).await, hear(&mut listener).await), (1, 2));
}

async fn a_full_buffer_drops_the_oldest(h: &mut Harness) {
    // A listener counts what it drops in the recorder of the thread that made it: this one.
    let dropped = Dropped::default();
    let counting = metrics::set_default_local_recorder(&dropped);
    let mut slow = h.bus.listen(PING, Some("n"), None, 3).await.unwrap();
    drop(counting);
    let mut fast = h.bus.listen(PING, Some("n"), None, 100).await.unwrap();
    for number in 1..=10 {
        h.bus.signal("n", envelope(PING, "a", number)).await.unwrap();
    }
    for number in 1..=10 {
        assert_eq!(hear(&mut fast).await, number);
    }
    // Each listener's signals travel on their own. Of ten in a buffer for three, seven make room.
    testkit::eventually(PATIENCE, "the last signal to be buffered", async || match dropped.count() {
        7 => Ok(()),
        count => Err(format!("{count} were dropped")),
    })
    .await;
    assert_eq!((hear(&mut slow).await, hear(&mut slow).await, hear(&mut slow).await), (8, 9, 10));
    silent(&mut slow).await;
    assert_eq!(dropped.count(), 7);
}

async fn odd_addresses_work_and_long_ones_are_refused(h: &mut Harness) {
    for address in ["a.b", "*", ">", "zoë / 1", "a b"] {
        let mut listener = h.bus.listen(PING, Some(address), None, 8).await.unwrap();
        let mut other = h.bus.listen(PING, Some("other"), None, 8).await.unwrap();
        h.bus.signal(address, envelope(PING, "a", 1)).await.unwrap();
        assert_eq!(hear(&mut listener).await, 1, "{address}");
        assert!(tokio::time::timeout(Duration::from_millis(50), other.next()).await.is_err());
    }
    for address in ["", &"x".repeat(257)] {
        assert_eq!(kind_of(h.bus.signal(address, envelope(PING, "a", 1)).await), BusErrorKind::Invalid);
        assert_eq!(h.bus.listen(PING, Some(address), None, 8).await.unwrap_err().kind(), BusErrorKind::Invalid);
    }
}

async fn a_signal_nobody_hears_is_no_error(h: &mut Harness) {
    h.bus.signal("nowhere", envelope(PING, "a", 1)).await.unwrap();
}

async fn a_listener_that_went_is_forgotten(h: &mut Harness) {
    drop(h.bus.listen(PING, Some("n"), Some("g"), 100).await.unwrap());
    let mut listener = h.bus.listen(PING, Some("n"), Some("g"), 100).await.unwrap();
    testkit::eventually(PATIENCE, "the one that stayed to hear it all", async || {
        for number in 0..10 {
            h.bus.signal("n", envelope(PING, "a", number)).await.unwrap();
        }
        let mut heard = 0;
        while tokio::time::timeout(Duration::from_millis(100), listener.next()).await.is_ok() {
            heard += 1;
        }
        if heard == 10 { Ok(()) } else { Err(format!("{heard} of 10")) }
    })
    .await;
}
