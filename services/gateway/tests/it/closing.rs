//! What ends a connection, with which code, and what presence is told.

use std::time::Duration;

use contracts::events::presence::PeerStatus;
use contracts::frames::ServerFrame;
use contracts::signals::EVERYBODY;
use contracts::signals::gateway::EntitlementLostV1;
use contracts::signals::signaling::{DeliverV1, PeerSignal};

use crate::fan_out::changed;
use crate::harness::{ACME, SOON, World, run, run_with};

fn left(peer: &str, generation: u64, reason: &str) -> (String, u64, String) {
    (peer.to_owned(), generation, reason.to_owned())
}

#[tokio::test]
async fn a_client_that_goes_leaves_presence() {
    run(async |world| {
        drop(world.enter("alice").await);
        assert_eq!(world.leaves(1).await, [left("alice", 1, "left")]);
    })
    .await;
}

#[tokio::test]
async fn a_newer_connection_closes_the_older_and_presence_keeps_the_newer() {
    run(async |world| {
        let mut older = world.enter("alice").await;
        let mut newer = world.enter("alice").await;
        let closed = older.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (Some(4409), "taken_over"));
        assert_eq!(closed.reconnect_after_ms, None, "reconnecting would throw the newer one out");
        newer.is_alive().await;
        drop(newer);
        // Leaves are told in order: had the older one told its own, it would stand here.
        assert_eq!(world.leaves(1).await, [left("alice", 2, "left")]);
    })
    .await;
}

#[tokio::test]
async fn a_newer_connection_at_another_gateway_closes_ours() {
    run(async |world| {
        let mut ours = world.enter("alice").await;
        world.tell(ACME, ACME, &changed("alice", 1, PeerStatus::Online)).await;
        world.tell(ACME, "umbrella", &changed("alice", 9, PeerStatus::Online)).await;
        ours.is_alive().await;
        world.tell(ACME, ACME, &changed("alice", 2, PeerStatus::Online)).await;
        assert_eq!(ours.closed().await.code, Some(4409));
        assert!(world.leaves(0).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_presence_gave_up_is_asked_to_come_again() {
    run(async |world| {
        let mut client = world.enter("alice").await;
        world.tell(ACME, ACME, &changed("alice", 1, PeerStatus::Offline)).await;
        let closed = client.closed().await;
        assert_eq!((closed.code, closed.reconnect_after_ms), (Some(4407), Some(0)));
    })
    .await;
}

#[tokio::test]
async fn a_revocation_closes_what_older_proofs_opened() {
    run(async |world| {
        let mut alice = world.enter("alice").await;
        let mut bob = world.enter("bob").await;
        world.revoke("sub-alice", 2).await;
        alice.is_alive().await;
        world.revoke("sub-alice", 3).await;
        let closed = alice.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (Some(4402), "entitlement_lost"));
        assert_eq!(closed.reconnect_after_ms, None);
        assert_eq!(world.leaves(1).await, [left("alice", 1, "entitlement_lost")]);
        bob.is_alive().await;
    })
    .await;
}

#[tokio::test]
async fn a_revocation_that_another_gateway_read_closes_too() {
    run(async |world| {
        let mut alice = world.enter("alice").await;
        let lost = EntitlementLostV1 {
            subscription_id: "sub-alice".parse().unwrap(),
            min_ver: 3,
            until_ms: world.clock.now_ms() + 300_000,
            reason: "canceled".into(),
        };
        world.tell(EVERYBODY, ACME, &lost).await;
        assert_eq!(alice.closed().await.code, Some(4402));
        assert_eq!(world.leaves(1).await, [left("alice", 1, "entitlement_lost")]);
        // And it does not get in again with the same proof.
        let mut again = world.connect().await;
        assert_eq!(again.refused(&world.auth_frame("alice")).await.code, "entitlement_lost");
    })
    .await;
}

/// A signal as large as they come.
fn large() -> DeliverV1 {
    let signal = PeerSignal::Offer { sdp: "v".repeat(250_000), generation: 1 };
    DeliverV1::plain("s".parse().unwrap(), "bob".parse().unwrap(), "alice".parse().unwrap(), true, signal)
}

/// Signals as large as they come, until the gateway has given the client up.
async fn flood(world: &World) {
    let signal = large();
    testkit::eventually(SOON, "the client to be given up", async || {
        world.tell(&world.node, ACME, &signal).await;
        let told = world.leaves(0).await.len();
        (told == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_leaves() {
    run_with(&[("max_outbound_frames", "8")], async |world| {
        let mut slow = world.enter("alice").await;
        let mut other = world.enter("bob").await;
        flood(world).await;
        assert_eq!(world.leaves(1).await, [left("alice", 1, "left")]);
        let closed = slow.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (Some(4408), "slow_consumer"));
        assert_eq!(closed.reconnect_after_ms, Some(1_000));
        other.is_alive().await;
    })
    .await;
}

/// Fills what the kernel buffers for the client, so that the gateway waits in the middle of a frame.
async fn clog(world: &World) {
    let signal = large();
    for _ in 0..100 {
        world.tell(&world.node, ACME, &signal).await;
    }
}

#[tokio::test]
async fn a_clogged_connection_can_still_be_ended() {
    run_with(&[("max_outbound_frames", "10000"), ("max_outbound_bytes", "1073741824")], async |world| {
        let mut alice = world.enter("alice").await;
        clog(world).await;
        world.revoke("sub-alice", 3).await;
        assert_eq!(world.leaves(1).await, [left("alice", 1, "entitlement_lost")]);
        assert_eq!(alice.closed().await.code, Some(4402));
    })
    .await;
}

#[tokio::test]
async fn a_silent_client_is_closed_whatever_it_is_told_meanwhile() {
    run(async |world| {
        let mut silent = world.enter("alice").await;
        let mut talking = world.enter("bob").await;
        world.hand.advance(Duration::from_secs(20));
        talking.is_alive().await;
        // News for it is no sign of life from it.
        world.tell(ACME, ACME, &changed("carol", 1, PeerStatus::Online)).await;
        assert!(matches!(silent.next().await, ServerFrame::Presence { .. }));
        assert!(matches!(talking.next().await, ServerFrame::Presence { .. }));
        world.hand.advance(Duration::from_secs(10));
        let closed = silent.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (Some(4407), "silent"));
        assert_eq!(closed.reconnect_after_ms, Some(0));
        talking.is_alive().await;
        assert_eq!(world.leaves(1).await, [left("alice", 1, "left")]);
    })
    .await;
}

#[tokio::test]
async fn a_clogged_and_silent_client_is_closed_too() {
    run_with(&[("max_outbound_frames", "10000"), ("max_outbound_bytes", "1073741824")], async |world| {
        let _alice = world.enter("alice").await;
        clog(world).await;
        testkit::eventually(SOON, "the client to be given up", async || {
            world.hand.advance(Duration::from_secs(1));
            (world.leaves(0).await == [left("alice", 1, "left")]).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn draining_sends_everybody_away_with_a_hint_and_tells_presence() {
    run(async |world| {
        let mut clients = Vec::new();
        for peer in ["alice", "bob"] {
            clients.push(world.enter(peer).await);
        }
        clients.push(world.connect().await);
        let host = world.host.clone();
        let draining = tokio::spawn(async move { host.drain().await });
        for client in &mut clients {
            let closed = client.closed().await;
            assert_eq!((closed.code, closed.reason.as_str()), (Some(1012), "service_restart"));
            assert!(closed.reconnect_after_ms.is_some_and(|wait_ms| (500..=10_500).contains(&wait_ms)), "{closed:?}");
        }
        let mut leaves = world.leaves(2).await;
        leaves.sort();
        assert_eq!(leaves, [left("alice", 1, "left"), left("bob", 2, "left")]);
        tokio::time::timeout(SOON, draining).await.expect("draining needs no clock").unwrap();
        assert!(crate::client::Client::try_connect(world.address, &[]).await.is_err(), "nobody listens any more");
    })
    .await;
}

#[tokio::test]
async fn a_client_is_closed_at_once_even_when_presence_does_not_answer() {
    run(async |world| {
        let mut alice = world.enter("alice").await;
        world.doubles.hold(true);
        world.revoke("sub-alice", 3).await;
        // The clock stands still: nobody has waited for presence.
        assert_eq!(alice.closed().await.code, Some(4402));
        world.doubles.hold(false);
    })
    .await;
}
