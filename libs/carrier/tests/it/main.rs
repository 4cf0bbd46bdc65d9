//! Two ends, connections that break at any moment, and what the reader sees.
#![allow(clippy::unwrap_used, missing_docs)]

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use carrier::{Carrier, CarrierStream, Ended, Frame, Options, pair};
use clock::Clock;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// One end of a connection: its sink and its stream.
type End = (mpsc::Sender<Bytes>, futures::stream::BoxStream<'static, Result<Bytes, Infallible>>);

/// A connection that carries `budget` messages each way and then breaks, losing what was on its way.
fn wire(budget: usize) -> (End, End) {
    let (to_b, from_a) = mpsc::channel::<Bytes>(4);
    let (to_a, from_b) = mpsc::channel::<Bytes>(4);
    let hear = |from: mpsc::Receiver<Bytes>| from.map(Ok).take(budget).boxed();
    ((to_b, hear(from_b)), (to_a, hear(from_a)))
}

async fn run(carrier: &Carrier, (sink, stream): End, peer_received: u64) -> Ended {
    carrier.run(sink, stream, peer_received).await
}

fn ends(options: Options) -> ((Carrier, CarrierStream), (Carrier, CarrierStream)) {
    (pair(options, Clock::system()), pair(options, Clock::system()))
}

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(31).wrapping_add(seed) >> 3) as u8).collect()
}

/// Runs both carriers over one connection after the other until both streams are finished.
async fn reconnect_until_done(a: &Carrier, b: &Carrier, budgets: impl Iterator<Item = usize>) -> usize {
    let mut connections = 0;
    for budget in budgets {
        connections += 1;
        let (left, right) = wire(budget);
        let (at_a, at_b) = (a.received(), b.received());
        let (x, y) = tokio::join!(run(a, left, at_b), run(b, right, at_a));
        if !matches!((&x, &y), (Ended::Broken(_), _) | (_, Ended::Broken(_))) || a.closed().is_some() {
            return connections;
        }
    }
    connections
}

#[tokio::test]
async fn megabytes_both_ways_survive_a_connection_that_breaks_all_the_time() {
    let options = Options { window_bytes: 4 << 10, ..Options::default() };
    let ((a, mut stream_a), (b, mut stream_b)) = ends(options);
    let (there, back) = (pattern(1_500_000, 1), pattern(1_000_000, 2));
    let (want_there, want_back) = (there.clone(), back.clone());
    let at_a = tokio::spawn(async move {
        let (mut read, mut write) = tokio::io::split(&mut stream_a);
        let mut got = vec![0; want_back.len()];
        let (written, read) = tokio::join!(write.write_all(&there), read.read_exact(&mut got));
        written.unwrap();
        read.unwrap();
        assert!(got == want_back, "what came back differs");
        stream_a.shutdown().await.unwrap();
    });
    let at_b = tokio::spawn(async move {
        let (mut read, mut write) = tokio::io::split(&mut stream_b);
        let mut got = vec![0; want_there.len()];
        let (written, read) = tokio::join!(write.write_all(&back), read.read_exact(&mut got));
        written.unwrap();
        read.unwrap();
        assert!(got == want_there, "what arrived differs");
        stream_b.shutdown().await.unwrap();
    });
    let budgets = (0..100_000).map(|round| 1 + round * 7 % 23);
    let connections = reconnect_until_done(&a, &b, budgets).await;
    at_a.await.unwrap();
    at_b.await.unwrap();
    assert!(connections > 20, "it broke only {connections} times");
}

#[tokio::test]
async fn a_writer_waits_when_nobody_reads_and_when_nobody_is_connected() {
    let options = Options { window_bytes: 1_000, ..Options::default() };
    let (carrier, mut stream) = pair(options, Clock::system());
    stream.write_all(&[7; 1_000]).await.unwrap();
    let more = Clock::system().timeout(Duration::from_millis(20), stream.write_all(b"x")).await;
    assert!(more.is_none(), "the window was full");
    assert_eq!(carrier.stats().written, 1_000);
}

#[tokio::test]
async fn a_newer_connection_replaces_the_one_before() {
    let ((a, _stream_a), (b, mut stream_b)) = ends(Options::default());
    let (old, _nobody) = wire(usize::MAX);
    let first = tokio::spawn({
        let a = a.clone();
        async move { run(&a, old, 0).await }
    });
    tokio::task::yield_now().await;
    let (left, right) = wire(usize::MAX);
    let both = tokio::spawn(async move { tokio::join!(run(&a, left, 0), run(&b, right, 0)) });
    assert_eq!(first.await.unwrap(), Ended::Replaced);
    drop(_stream_a);
    assert!(stream_b.read_u8().await.is_err(), "the other side finished");
    both.await.unwrap();
}

#[tokio::test]
async fn a_silent_connection_counts_as_broken() {
    let (clock, hand) = Clock::manual(0);
    let (carrier, _stream) = pair(Options::default(), clock);
    let (left, _right) = wire(usize::MAX);
    let running = tokio::spawn(async move { run(&carrier, left, 0).await });
    tokio::task::yield_now().await;
    hand.advance(Duration::from_secs(15));
    assert_eq!(running.await.unwrap(), Ended::Broken("nothing came for 15s".to_owned()));
}

#[tokio::test]
async fn a_close_reaches_the_other_side_with_its_reason() {
    let ((a, _stream_a), (b, mut stream_b)) = ends(Options::default());
    let (left, right) = wire(usize::MAX);
    a.close(4402, "entitlement_lost");
    let at_b = tokio::spawn(async move { run(&b, right, 0).await });
    // Closed before it ran: the other side is told all the same.
    let closed = Ended::Closed(4402, "entitlement_lost".to_owned());
    assert_eq!(run(&a, left, 0).await, closed);
    assert_eq!(at_b.await.unwrap(), closed);
    assert!(stream_b.read_u8().await.is_err());

    let (c, mut stream_c) = pair(Options::default(), Clock::system());
    let (d, _stream_d) = pair(Options::default(), Clock::system());
    let (left, right) = wire(usize::MAX);
    let at_c = tokio::spawn(async move { run(&c, left, 0).await });
    let at_d = tokio::spawn({
        let d = d.clone();
        async move { run(&d, right, 0).await }
    });
    tokio::task::yield_now().await;
    d.close(4402, "entitlement_lost");
    assert_eq!(at_d.await.unwrap(), Ended::Closed(4402, "entitlement_lost".to_owned()));
    assert_eq!(at_c.await.unwrap(), Ended::Closed(4402, "entitlement_lost".to_owned()));
    let error = stream_c.read_u8().await.unwrap_err().to_string();
    assert!(error.contains("4402: entitlement_lost"), "{error}");
}

#[tokio::test]
async fn a_broken_rule_ends_the_carrier_and_names_the_rule() {
    for (message, text) in [
        (Bytes::from_static(b"\x09"), "type 9 is none of"),
        (Frame::Data { offset: 5, ack: 0, payload: Bytes::from_static(b"x") }.encode(), "data begins at 5"),
        (Frame::Data { offset: 0, ack: 5, payload: Bytes::new() }.encode(), "5 bytes are acknowledged"),
    ] {
        let (carrier, _stream) = pair(Options::default(), Clock::system());
        let (left, (mut right, _heard)) = wire(usize::MAX);
        right.send(message).await.unwrap();
        let Ended::Closed(1002, reason) = run(&carrier, left, 0).await else { panic!("it should have been closed") };
        assert!(reason.contains(text), "{reason}");
    }
}

#[tokio::test]
async fn a_ping_is_answered_and_measured() {
    let ((a, _stream_a), (b, _stream_b)) = ends(Options::default());
    let (left, right) = wire(usize::MAX);
    let (one, two) = (a.clone(), b.clone());
    let running = tokio::spawn(async move { tokio::join!(run(&one, left, 0), run(&two, right, 0)) });
    let deadline = Clock::system();
    let measured = deadline
        .timeout(Duration::from_secs(5), async {
            while a.stats().round_trip.is_none() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    assert!(measured.is_some(), "no answer to the first ping");
    a.close(1000, "enough");
    running.await.unwrap();
}
