use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use peer::webrtc::{Connection, Error, Event, Identity, MAX_MESSAGE_BYTES, Options};

use crate::pair::{closed, open, options, within};

const MIB: usize = 1024 * 1024;

fn random(len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    getrandom::fill(&mut data).unwrap();
    data
}

async fn receive(connection: &Connection, len: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(len);
    while data.len() < len {
        data.extend_from_slice(&connection.recv().await.unwrap());
    }
    data
}

fn same(left: &[u8], right: &[u8]) -> bool {
    digest(&SHA256, left).as_ref() == digest(&SHA256, right).as_ref()
}

#[tokio::test]
async fn a_mebibyte_crosses_the_channel_unchanged() {
    let (left, right) = open(options(), options()).await;
    let data = random(MIB);
    let (sent, received) = within(async { tokio::join!(left.send_all(&data), receive(&right, MIB)) }).await;
    sent.unwrap();
    assert!(same(&data, &received));
}

#[tokio::test]
async fn both_directions_at_once() {
    let (left, right) = open(options(), options()).await;
    let (there, back) = (random(2 * MIB), random(2 * MIB));
    let (sent_there, sent_back, received_there, received_back) = within(async {
        tokio::join!(
            left.send_all(&there),
            right.send_all(&back),
            receive(&right, there.len()),
            receive(&left, back.len())
        )
    })
    .await;
    sent_there.unwrap();
    sent_back.unwrap();
    assert!(same(&there, &received_there) && same(&back, &received_back));
}

#[tokio::test]
async fn the_send_buffer_stays_within_its_limit_over_ten_mebibytes() {
    let limit = 256 * 1024;
    let (left, right) = open(Options { send_buffer_bytes: limit, ..options() }, options()).await;
    let data = random(10 * MIB);
    let sending = async {
        let mut peak = 0;
        for chunk in data.chunks(MAX_MESSAGE_BYTES) {
            left.send(Bytes::copy_from_slice(chunk)).await.unwrap();
            peak = peak.max(left.buffered_bytes());
        }
        peak
    };
    let (peak, received) = within(async { tokio::join!(sending, receive(&right, data.len())) }).await;
    assert!(same(&data, &received));
    assert!(peak <= limit, "{peak} bytes were buffered, the limit is {limit}");
    assert!(peak > limit / 2, "the buffer was never used: {peak}");
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_writer_and_loses_nothing() {
    // The stop outlasts the ICE timeout, and still nobody takes the other for lost.
    let quick = Options { ice_timeout: std::time::Duration::from_millis(500), ..options() };
    let sender = Options { send_buffer_bytes: 128 * 1024, ..quick.clone() };
    let reader = Options { receive_buffer_bytes: 64 * 1024, ..quick };
    let (left, right) = open(sender, reader).await;
    let data = Arc::new(random(8 * MIB));
    let (progress, seen) = tokio::sync::watch::channel(0);
    let writer = tokio::spawn({
        let (left, data) = (Arc::clone(&left), Arc::clone(&data));
        async move {
            for chunk in data.chunks(MAX_MESSAGE_BYTES) {
                left.send(Bytes::copy_from_slice(chunk)).await.unwrap();
                progress.send_modify(|sent| *sent += chunk.len());
            }
        }
    });
    // Nobody reads: the writer comes to a stop (no progress for a second, which is longer than an SCTP retry).
    let mut watched = seen.clone();
    within(async { while tokio::time::timeout(std::time::Duration::from_secs(1), watched.changed()).await.is_ok() {} })
        .await;
    let accepted = *seen.borrow();
    // Send buffer, receive buffer, events under way (5 × 16 KiB) and one SCTP window twice (parked, reassembled).
    let bound = 128 * 1024 + 64 * 1024 + 5 * MAX_MESSAGE_BYTES + 2 * MIB;
    assert!(accepted > 0 && accepted <= bound, "{accepted} bytes taken without a reader, the bound is {bound}");
    assert!(!writer.is_finished());

    let received = within(receive(&right, data.len())).await;
    assert!(same(&data, &received));
    within(writer).await.unwrap();
}

#[tokio::test]
async fn messages_keep_their_borders_and_order() {
    let (left, right) = open(options(), options()).await;
    let messages = [Bytes::from_static(b"one"), Bytes::from_static(&[0]), Bytes::from(random(MAX_MESSAGE_BYTES))];
    for message in &messages {
        left.send(message.clone()).await.unwrap();
    }
    for message in &messages {
        assert_eq!(within(right.recv()).await.unwrap(), message);
    }
    let error = left.send(Bytes::from(vec![0; MAX_MESSAGE_BYTES + 1])).await.unwrap_err();
    assert!(matches!(error, Error::MessageTooLarge { len: 16_385, limit: 16_384 }), "{error}");
    assert!(matches!(left.send(Bytes::new()).await, Err(Error::EmptyMessage)));
}

#[tokio::test]
async fn what_was_sent_before_the_channel_opened_arrives() {
    let (left, right) = crate::pair::described(options(), options()).await;
    let early = async { left.send(Bytes::from_static(b"early")).await };
    let opening = async { tokio::join!(crate::pair::trickle(&left, &right), crate::pair::trickle(&right, &left)) };
    let (sent, _) = within(async { tokio::join!(early, opening) }).await;
    sent.unwrap();
    assert_eq!(within(right.recv()).await.unwrap(), "early");
}

#[tokio::test]
async fn peers_know_each_other_by_fingerprints_agreed_beforehand() {
    let (left, right) = (Identity::generate(), Identity::generate());
    let one = Options {
        identity: Some(left.clone()),
        expected_fingerprint: Some(right.fingerprint().to_owned()),
        ..options()
    };
    let other = Options {
        identity: Some(right.clone()),
        expected_fingerprint: Some(left.fingerprint().to_lowercase()),
        ..options()
    };
    let (one, other) = open(one, other).await;
    assert_eq!(one.local_fingerprint(), left.fingerprint());
    assert_eq!(other.local_fingerprint(), right.fingerprint());
}

#[tokio::test]
async fn without_bind_the_machines_own_addresses_are_offered_and_connect() {
    let (left, right) = open(Options::default(), Options::default()).await;
    left.send(Bytes::from_static(b"hello")).await.unwrap();
    assert_eq!(within(right.recv()).await.unwrap(), "hello");
}

#[tokio::test]
async fn the_messages_before_a_close_arrive_before_its_event() {
    let (left, right) = open(options(), options()).await;
    let data = random(MIB / 2);
    left.send_all(&data).await.unwrap();
    within(left.close()).await.unwrap();
    assert!(same(&data, &within(receive(&right, data.len())).await));
    assert_eq!(within(right.next_event()).await, Some(Event::Closed(peer::webrtc::CloseReason::Remote)));
    assert_eq!(right.next_event().await, None);
    assert_eq!(closed(&left).await, peer::webrtc::CloseReason::Local);
}
