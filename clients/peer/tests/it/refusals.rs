use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use peer::webrtc::{CloseReason, Connection, Error, Identity, MAX_CANDIDATE_BYTES, MAX_SDP_BYTES, Options};

use crate::pair::{closed, options, trickle, within};

async fn offer() -> String {
    Connection::offer(options()).await.unwrap().1
}

async fn refusal(offer: &str) -> Error {
    Connection::answer(options(), offer).await.map(drop).unwrap_err()
}

#[tokio::test]
async fn a_description_of_somebody_else_is_refused() {
    let expected = Identity::generate().fingerprint().to_owned();
    let strict = || Options { expected_fingerprint: Some(expected.clone()), ..options() };

    let error = Connection::answer(strict(), &offer().await).await.map(drop).unwrap_err();
    assert!(matches!(&error, Error::FingerprintMismatch { expected: named, .. } if *named == expected), "{error}");

    let (left, offer) = Connection::offer(strict()).await.unwrap();
    let (_right, answer) = Connection::answer(options(), &offer).await.unwrap();
    let error = left.accept_answer(&answer).await.unwrap_err();
    assert!(matches!(error, Error::FingerprintMismatch { .. }), "{error}");
    // A second line with the right one doesn't help.
    let forged = answer.replacen("a=fingerprint:", &format!("a=fingerprint:{expected}\r\na=fingerprint:"), 1);
    let error = left.accept_answer(&forged).await.unwrap_err();
    assert!(matches!(error, Error::FingerprintMismatch { .. }), "{error}");
}

#[tokio::test]
async fn a_refused_answer_leaves_room_for_the_good_one() {
    let identity = Identity::generate();
    let expecting = Options { expected_fingerprint: Some(identity.fingerprint().to_owned()), ..options() };
    let (left, offer) = Connection::offer(expecting).await.unwrap();
    let (_stranger, forged) = Connection::answer(options(), &offer).await.unwrap();
    let (right, answer) = Connection::answer(Options { identity: Some(identity), ..options() }, &offer).await.unwrap();
    left.accept_answer(&forged).await.unwrap_err();
    left.accept_answer(&answer).await.unwrap();
    within(async { tokio::join!(trickle(&left, &right), trickle(&right, &left)) }).await;
    left.send("hello".into()).await.unwrap();
    assert_eq!(within(right.recv()).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_certificate_other_than_the_announced_one_ends_the_handshake() {
    let (left, offer) = Connection::offer(options()).await.unwrap();
    let (right, answer) = Connection::answer(options(), &offer).await.unwrap();
    let forged = answer.replace(right.local_fingerprint(), Identity::generate().fingerprint());
    assert_ne!(forged, answer);
    left.accept_answer(&forged).await.unwrap();
    let watched = within(async {
        tokio::select! {
            seen = trickle(&left, &right) => seen,
            _ = trickle(&right, &left) => panic!("the other side can't have an open channel or an end"),
        }
    })
    .await;
    assert_eq!(watched.last(), Some(&peer::webrtc::Event::Closed(CloseReason::FingerprintMismatch)));
    let error = left.send("hello".into()).await.unwrap_err();
    assert!(matches!(error, Error::Closed(CloseReason::FingerprintMismatch)), "{error}");
}

#[tokio::test]
async fn a_bad_description_is_refused_by_the_rule_it_breaks() {
    let good = offer().await;
    let cases = [
        (String::new(), "must begin with `v=0`"),
        (format!("{{\"type\":\"offer\",\"sdp\":{good:?}}}"), "must begin with `v=0`"),
        ("v=0\r\n".to_owned(), "`m=application`"),
        (good.replace("m=application", "m=audio"), "`m=application`"),
        (good.replace("a=fingerprint", "a=x-fingerprint"), "`a=fingerprint`"),
        (good.replace("a=ice-ufrag", "a=x-ufrag"), "ice"),
        (format!("{good}{}", "a=x\r\n".repeat(MAX_SDP_BYTES / 5)), "the limit is 262144"),
    ];
    for (sdp, rule) in cases {
        let error = refusal(&sdp).await;
        assert!(matches!(error, Error::Sdp(_)) && error.to_string().contains(rule), "{rule}: {error}");
    }
    // Cut anywhere, it is refused or understood, never a panic.
    for end in (0..good.len()).filter(|end| good.is_char_boundary(*end)) {
        let _ = Connection::answer(options(), &good[..end]).await;
    }
}

#[tokio::test]
async fn a_bad_candidate_is_refused_and_a_useless_one_taken() {
    let (connection, _) = Connection::offer(options()).await.unwrap();
    let cases = [
        ("garbage".to_owned(), "missing 'candidate:' prefix"),
        ("candidate:1 1 udp".to_owned(), "missing priority"),
        ("candidate:1 1 udp 1 300.0.0.1 9 typ host".to_owned(), "bad address"),
        ("candidate:1 1 udp 1 127.0.0.1 99999 typ host".to_owned(), "bad port"),
        ("candidate:1 1 udp 1 127.0.0.1 0 typ host".to_owned(), "unicast"),
        ("candidate:1 1 udp 1 224.0.0.1 9 typ host".to_owned(), "unicast"),
        ("candidate:1 1 udp 1 127.0.0.1 9 typ x".to_owned(), "unknown candidate type"),
        ("x".repeat(MAX_CANDIDATE_BYTES + 1), "the limit is 4096"),
    ];
    for (line, rule) in cases {
        let error = connection.add_remote_candidate(&line).await.unwrap_err();
        assert!(matches!(error, Error::Candidate(_)) && error.to_string().contains(rule), "{rule}: {error}");
    }
    connection.add_remote_candidate("").await.unwrap();
    connection.add_remote_candidate("candidate:1 1 udp 1 0a1b.local 9 typ host").await.unwrap();
    connection.add_remote_candidate("a=candidate:1 1 udp 1 127.0.0.1 9 typ host").await.unwrap();
}

#[tokio::test]
async fn candidates_are_counted() {
    let (connection, _) = Connection::offer(Options { max_remote_candidates: 2, ..options() }).await.unwrap();
    for port in [1, 2] {
        connection.add_remote_candidate(&format!("candidate:1 1 udp 1 127.0.0.1 {port} typ host")).await.unwrap();
    }
    let error = connection.add_remote_candidate("candidate:1 1 udp 1 127.0.0.1 3 typ host").await.unwrap_err();
    assert!(matches!(error, Error::TooManyCandidates { limit: 2 }), "{error}");
}

#[tokio::test]
async fn an_answer_is_taken_once_by_the_side_that_offered() {
    let (left, offer) = Connection::offer(options()).await.unwrap();
    let (right, answer) = Connection::answer(options(), &offer).await.unwrap();
    left.accept_answer(&answer).await.unwrap();
    for side in [&left, &right] {
        let error = side.accept_answer(&answer).await.unwrap_err();
        assert!(matches!(error, Error::NotAwaitingAnswer), "{error}");
    }
}

#[tokio::test]
async fn options_outside_their_limits_are_named() {
    let cases = [
        (Options { bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST); 17], ..options() }, "bind"),
        (Options { expected_fingerprint: Some("sha-256 AB:CD".to_owned()), ..options() }, "expected_fingerprint"),
        (Options { send_buffer_bytes: 1024, ..options() }, "send_buffer_bytes"),
        (Options { receive_buffer_bytes: 0, ..options() }, "receive_buffer_bytes"),
        (Options { max_remote_candidates: 0, ..options() }, "max_remote_candidates"),
        (Options { answer_timeout: Duration::ZERO, ..options() }, "answer_timeout"),
        (Options { connect_timeout: Duration::ZERO, ..options() }, "connect_timeout"),
        (Options { ice_timeout: Duration::ZERO, ..options() }, "ice_timeout"),
    ];
    for (options, name) in cases {
        let error = Connection::offer(options).await.map(drop).unwrap_err();
        assert!(matches!(error, Error::Option { field, .. } if field == name), "{name}: {error}");
    }
    // TEST-NET-1: an address no machine has.
    let elsewhere = Options { bind: vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))], ..options() };
    let error = Connection::offer(elsewhere).await.map(drop).unwrap_err();
    assert!(matches!(error, Error::Bind { .. }), "{error}");
}

#[tokio::test]
async fn strangers_datagrams_change_nothing() {
    let (left, offer) = Connection::offer(options()).await.unwrap();
    let (right, answer) = Connection::answer(options(), &offer).await.unwrap();
    left.accept_answer(&answer).await.unwrap();
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let Some(peer::webrtc::Event::LocalCandidate(candidate)) = left.next_event().await else { panic!("no candidate") };
    let port: u16 = candidate.split(' ').nth(5).unwrap().parse().unwrap();
    for first in 0..=u8::MAX {
        stranger.send_to(&[first; 60], ("127.0.0.1", port)).await.unwrap();
    }
    right.add_remote_candidate(&candidate).await.unwrap();
    within(async { tokio::join!(trickle(&left, &right), trickle(&right, &left)) }).await;
    left.send("hello".into()).await.unwrap();
    assert_eq!(within(right.recv()).await.unwrap(), "hello");
    drop(right);
    assert_eq!(closed(&left).await, CloseReason::Remote);
}
