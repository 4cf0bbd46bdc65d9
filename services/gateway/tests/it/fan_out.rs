//! Signals from behind to the right sockets, and heartbeats the other way.

use std::time::Duration;

use contracts::Contract;
use contracts::events::presence::PeerStatus;
use contracts::frames::{PeerChange, ServerFrame};
use contracts::requests::presence::{Marks, PeerView, Profile};
use contracts::signals::presence::{ChangedV1, HeartbeatV1};
use contracts::signals::signaling::{DeliverV1, PeerSignal, ReceiptV1, TakenV1};

use crate::harness::{ACME, SOON, World, run};

pub(crate) fn changed(peer: &str, generation: u64, status: PeerStatus) -> ChangedV1 {
    ChangedV1 {
        peer: PeerView {
            peer_id: peer.parse().unwrap(),
            status,
            generation,
            node_id: "gateway-other".parse().unwrap(),
            subscription_id: format!("sub-{peer}").parse().unwrap(),
            proof_ver: 2,
            lease_until_ms: 1_790_000_030_000,
            profile: Profile::default(),
        },
        marks: (status != PeerStatus::Offline).then(Marks::default),
        before: Some(Marks::default()),
    }
}

fn deliver(to: &str, polite: bool) -> DeliverV1 {
    let (session, carol) = ("session-1".parse().unwrap(), "carol".parse().unwrap());
    DeliverV1::plain(session, carol, to.parse().unwrap(), polite, PeerSignal::Restart { generation: 3 })
}

async fn enter_of(world: &World, tenant: &str, peer: &str) -> crate::client::Client {
    let token = world.token_of(tenant, "ada", auth::Role::User, 3_600_000);
    let proof = world.proof_of(tenant, peer, &format!("sub-{peer}"), 2);
    let auth = serde_json::json!({"type": "auth", "id": "1", "token": token, "peer_id": peer, "proof": proof});
    world.enter_with(&auth).await
}

#[tokio::test]
async fn a_change_reaches_the_tenants_other_sockets_only() {
    run(async |world| {
        let mut alice = world.enter("alice").await;
        let mut bob = world.enter("bob").await;
        let mut stranger = enter_of(world, "umbrella", "alice").await;
        let news = changed("bob", 2, PeerStatus::Away);
        world.tell(ACME, ACME, &news).await;
        assert_eq!(
            alice.next().await,
            ServerFrame::Presence { offset: 1, peer: news.peer, change: Some(PeerChange::Updated) }
        );
        // A frame after it shows that nothing else came before.
        world.tell(&world.node, "umbrella", &deliver("alice", true)).await;
        assert!(matches!(stranger.next().await, ServerFrame::Signal { .. }));
        bob.is_alive().await;
        alice.is_alive().await;
    })
    .await;
}

#[tokio::test]
async fn a_signal_reaches_its_peer_and_no_other() {
    run(async |world| {
        let mut alice = world.enter("alice").await;
        let mut bob = world.enter("bob").await;
        let mut stranger = enter_of(world, "umbrella", "alice").await;
        world.tell("gateway-other", ACME, &deliver("bob", false)).await;
        world.tell(&world.node, ACME, &deliver("nobody", false)).await;
        world.tell(&world.node, ACME, &deliver("alice", true)).await;
        let expected = ServerFrame::of_signal(deliver("alice", true)).numbered(1);
        assert_eq!(alice.next().await, expected);
        bob.is_alive().await;
        stranger.is_alive().await;
    })
    .await;
}

/// A signal that somebody waits to hear of.
fn registered(to: &str, id: &str) -> DeliverV1 {
    let (signal_id, reply_to) = (Some(id.parse().unwrap()), Some("signaling-1".parse().unwrap()));
    DeliverV1 { signal_id, reply_to, ..deliver(to, true) }
}

#[tokio::test]
async fn signaling_is_told_what_a_peer_has_and_a_peer_is_told_nothing_twice() {
    run(async |world| {
        let mut told = world.bus.listen(TakenV1::KIND, Some("signaling-1"), None, 100).await.unwrap();
        let mut taken = async || -> (String, bool) {
            let signal = tokio::time::timeout(SOON, told.next()).await.expect("an answer").unwrap();
            let TakenV1 { signal_id, taken } = serde_json::from_slice(&signal.data).unwrap();
            (signal_id.to_string(), taken)
        };
        let (mut alice, result) = world.enter_at(world.address, "alice", &serde_json::json!({})).await;
        world.tell(&world.node, ACME, &registered("nobody", "sig-0")).await;
        assert_eq!(taken().await, ("sig-0".into(), false));
        for id in ["sig-1", "sig-1", "sig-2"] {
            world.tell(&world.node, ACME, &registered("alice", id)).await;
            assert_eq!(taken().await, (id.into(), true));
        }
        let receipt = ReceiptV1::samples().remove(0);
        for _ in 0..2 {
            world.tell(&world.node, ACME, &receipt).await;
            assert_eq!(taken().await, (receipt.receipt_id.to_string(), true));
        }
        let first = ServerFrame::of_signal(registered("alice", "sig-1")).numbered(1);
        assert_eq!(alice.next().await, first);
        assert_eq!(alice.next().await, ServerFrame::of_signal(registered("alice", "sig-2")).numbered(2));
        assert_eq!(alice.next().await, ServerFrame::Receipt { offset: 3, receipt: receipt.receipt });
        alice.is_alive().await;

        // What waits for a resume is nobody's yet.
        drop(alice);
        world.leaves(1).await;
        world.tell(&world.node, ACME, &registered("alice", "sig-3")).await;
        assert_eq!(taken().await, ("sig-3".into(), false));
        let epoch = result["epoch"].as_str().unwrap();
        let resume = serde_json::json!({"resume": {"epoch": epoch, "offset": 3}});
        let (mut alice, _) = world.enter_at(world.address, "alice", &resume).await;
        world.tell(&world.node, ACME, &registered("alice", "sig-2")).await;
        assert_eq!(taken().await, ("sig-2".into(), true));
        alice.is_alive().await;
    })
    .await;
}

#[tokio::test]
async fn presence_is_told_who_is_alive() {
    run(async |world| {
        let mut beats = world.bus.listen(HeartbeatV1::KIND, None, None, 100).await.unwrap();
        let _alice = world.enter("alice").await;
        let _bob = world.enter("bob").await;
        let left = world.enter("carol").await;
        let _stranger = enter_of(world, "umbrella", "alice").await;
        drop(left);
        world.leaves(1).await;
        world.hand.advance(Duration::from_secs(10));
        let mut told = Vec::new();
        for _ in 0..2 {
            let beat = tokio::time::timeout(SOON, beats.next()).await.expect("a heartbeat").unwrap();
            let signal: HeartbeatV1 = serde_json::from_slice(&beat.data).unwrap();
            assert_eq!(signal.node_id.as_str(), world.node);
            let mut peers: Vec<(String, u64)> =
                signal.peers.into_iter().map(|peer| (peer.peer_id.to_string(), peer.generation)).collect();
            peers.sort();
            told.push((beat.tenant.to_string(), peers));
        }
        told.sort();
        let acme = vec![("alice".to_owned(), 1), ("bob".to_owned(), 2)];
        assert_eq!(told, [(ACME.to_owned(), acme), ("umbrella".to_owned(), vec![("alice".to_owned(), 4)])]);
    })
    .await;
}
