//! Signaling inside the process: what one side says goes to the other, candidates one by one.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use peer::webrtc::{Connection, Event, Options};

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// No step of a test may take longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn options() -> Options {
    Options { bind: vec![LOOPBACK], ..Options::default() }
}

pub(crate) async fn within<T>(step: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, step).await.expect("the step ends before the deadline")
}

/// Two sides that know each other's descriptions, no candidates yet.
pub(crate) async fn described(offerer: Options, answerer: Options) -> (Connection, Connection) {
    let (left, offer) = Connection::offer(offerer).await.unwrap();
    let (right, answer) = Connection::answer(answerer, &offer).await.unwrap();
    left.accept_answer(&answer).await.unwrap();
    (left, right)
}

/// Two sides with an open channel.
pub(crate) async fn open(offerer: Options, answerer: Options) -> (Arc<Connection>, Arc<Connection>) {
    let (left, right) = described(offerer, answerer).await;
    let (seen_left, seen_right) = within(async { tokio::join!(trickle(&left, &right), trickle(&right, &left)) }).await;
    for seen in [seen_left, seen_right] {
        assert!(seen.contains(&Event::Connected), "{seen:?}");
        assert_eq!(seen.last(), Some(&Event::ChannelOpen), "{seen:?}");
    }
    (Arc::new(left), Arc::new(right))
}

/// Passes `from`'s candidates on until its channel opens or it ends. Returns its events.
pub(crate) async fn trickle(from: &Connection, to: &Connection) -> Vec<Event> {
    let mut seen = Vec::new();
    while let Some(event) = from.next_event().await {
        if let Event::LocalCandidate(candidate) = &event {
            // The other side may have ended already, which its own events tell.
            let _ = to.add_remote_candidate(candidate).await;
        }
        let last = matches!(event, Event::ChannelOpen | Event::Closed(_));
        seen.push(event);
        if last {
            break;
        }
    }
    seen
}

/// Waits for the end and returns why.
pub(crate) async fn closed(connection: &Connection) -> peer::webrtc::CloseReason {
    within(async {
        loop {
            match connection.next_event().await {
                Some(Event::Closed(reason)) => return reason,
                Some(_) => {}
                None => panic!("the events ended without Closed"),
            }
        }
    })
    .await
}
