use std::sync::mpsc;
use std::time::Duration;

use peer::webrtc::{CloseReason, Connection, Error, Event, Options};

use crate::pair::{closed, described, open, options, within};

#[tokio::test]
async fn a_close_is_seen_by_the_other_side() {
    let (left, right) = open(options(), options()).await;
    within(left.close()).await.unwrap();
    assert_eq!(closed(&right).await, CloseReason::Remote);
    assert_eq!(closed(&left).await, CloseReason::Local);
    assert_eq!(left.next_event().await, None);
    within(left.close()).await.expect("closing twice is no error");
    let error = right.send("late".into()).await.unwrap_err();
    assert!(matches!(error, Error::Closed(CloseReason::Remote)), "{error}");
    let error = left.recv().await.unwrap_err();
    assert!(matches!(error, Error::Closed(CloseReason::Local)), "{error}");
}

#[tokio::test]
async fn a_dropped_connection_says_goodbye() {
    let (left, right) = open(options(), options()).await;
    drop(left);
    assert_eq!(closed(&right).await, CloseReason::Remote);
}

/// The other side lives in a runtime of its own, which is torn down without a word.
#[tokio::test]
async fn a_killed_peer_is_noticed_within_the_ice_timeout() {
    let quick = Options { ice_timeout: Duration::from_millis(600), ..options() };
    let (left, offer) = Connection::offer(quick).await.unwrap();
    let (to_test, from_peer) = mpsc::channel();
    let (to_peer, mut candidates) = tokio::sync::mpsc::channel::<String>(16);
    let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    other.spawn(async move {
        let (right, answer) = Connection::answer(options(), &offer).await.unwrap();
        to_test.send(answer).unwrap();
        while let Some(candidate) = candidates.recv().await {
            right.add_remote_candidate(&candidate).await.unwrap();
        }
        std::future::pending::<()>().await;
        drop(right);
    });
    left.accept_answer(&from_peer.recv_timeout(crate::pair::DEADLINE).unwrap()).await.unwrap();
    within(async {
        loop {
            match left.next_event().await.unwrap() {
                Event::LocalCandidate(candidate) => to_peer.send(candidate).await.unwrap(),
                Event::ChannelOpen => return,
                Event::Closed(reason) => panic!("{reason}"),
                _ => {}
            }
        }
    })
    .await;
    // A quiet connection stays: twice the timeout without a message.
    assert!(tokio::time::timeout(Duration::from_millis(1_200), closed(&left)).await.is_err());

    other.shutdown_background();
    let reason = tokio::time::timeout(Duration::from_secs(3), closed(&left)).await.expect("noticed soon");
    assert_eq!(reason, CloseReason::ConnectionLost);
}

#[tokio::test]
async fn what_could_not_be_flushed_is_reported() {
    let sender = Options { close_timeout: Duration::from_millis(200), ..options() };
    let (left, right) = open(sender, Options { receive_buffer_bytes: 16 * 1024, ..options() }).await;
    // Nobody reads on the other side: its window fills, then the send buffer.
    let filling = async { left.send_all(&vec![7; 8 * 1024 * 1024]).await };
    assert!(tokio::time::timeout(Duration::from_secs(2), filling).await.is_err(), "the buffers have an end");
    let error = within(left.close()).await.unwrap_err();
    assert!(matches!(error, Error::Unflushed { unacknowledged_bytes } if unacknowledged_bytes > 0), "{error}");
    drop(right);
}

#[tokio::test]
async fn without_candidates_the_connection_ends_in_time() {
    let quick = || Options { connect_timeout: Duration::from_millis(200), ..options() };
    let (left, right) = described(quick(), quick()).await;
    assert_eq!(closed(&left).await, CloseReason::ConnectTimeout);
    assert_eq!(closed(&right).await, CloseReason::ConnectTimeout);
}

#[tokio::test]
async fn without_an_answer_the_offer_ends_in_time() {
    let (left, _) =
        Connection::offer(Options { answer_timeout: Duration::from_millis(200), ..options() }).await.unwrap();
    assert_eq!(closed(&left).await, CloseReason::AnswerTimeout);
}

#[tokio::test]
async fn closing_before_the_channel_opens_needs_no_wait() {
    let (left, right) = described(options(), options()).await;
    within(left.close()).await.unwrap();
    assert_eq!(closed(&left).await, CloseReason::Local);
    drop(right);
}
