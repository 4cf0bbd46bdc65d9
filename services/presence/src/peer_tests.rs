use contracts::events::presence::{OfflineReason, PeerStatus, PresenceEvent};
use contracts::requests::presence::{ConnectRefusal, ConnectV1, SetStatusRefusal};
use proptest::prelude::*;

use super::*;

const LEASE_MS: u64 = 30_000;

fn ask(connection: &str) -> ConnectV1 {
    ConnectV1 {
        peer_id: "alice".parse().unwrap(),
        user_id: "ada".parse().unwrap(),
        node_id: "gateway-1".parse().unwrap(),
        connection_id: connection.parse().unwrap(),
        subscription_id: "sub-01".parse().unwrap(),
        proof_ver: 1,
        max_peers: None,
    }
}

fn online(now_ms: u64) -> Peer {
    Peer::connect(None, ask("c1"), now_ms, LEASE_MS).unwrap().peer
}

#[test]
fn a_new_peer_comes_online_with_a_lease() {
    let change = Peer::connect(None, ask("c1"), 1_000, LEASE_MS).unwrap();
    assert_eq!(change.peer.status, PeerStatus::Online);
    assert_eq!(change.peer.lease_until_ms, 31_000);
    assert!(matches!(change.fact, Some(PresenceEvent::WentOnline(fact)) if fact.generation == 1));
}

#[test]
fn the_same_connection_again_changes_nothing() {
    let change = Peer::connect(Some(online(0)), ask("c1"), 9_000, LEASE_MS).unwrap();
    assert_eq!(change, Change { peer: online(0), fact: None });
}

#[test]
fn a_newer_connection_takes_over_and_an_older_leave_cannot_remove_it() {
    let newer = Peer::connect(Some(online(0)), ask("c2"), 5_000, LEASE_MS).unwrap().peer;
    assert_eq!(newer.generation, 2);
    assert_eq!(newer.clone().leave(1, OfflineReason::Left), None);
    assert_eq!(newer.clone().heartbeat(1, 20_000, LEASE_MS), None);
    assert!(newer.leave(2, OfflineReason::Left).is_some());
}

#[test]
fn a_peer_id_belongs_to_its_user() {
    let other = ConnectV1 { user_id: "mallory".parse().unwrap(), ..ask("c2") };
    assert_eq!(Peer::connect(Some(online(0)), other, 5_000, LEASE_MS), Err(ConnectRefusal::NotOwner));
}

#[test]
fn a_heartbeat_renews_an_old_lease_and_leaves_a_young_one_alone() {
    assert_eq!(online(0).heartbeat(1, 5_000, LEASE_MS), None);
    assert_eq!(online(0).heartbeat(1, 15_000, LEASE_MS).unwrap().lease_until_ms, 45_000);
}

#[test]
fn a_lease_ends_at_its_time_and_not_before() {
    assert_eq!(online(0).expire(29_999), None);
    let change = online(0).expire(30_000).unwrap();
    assert!(matches!(change.fact, Some(PresenceEvent::WentOffline(fact)) if fact.reason == OfflineReason::TimedOut));
}

#[test]
fn a_peer_changes_only_its_own_reachable_status() {
    let away = online(0).set_status(1, PeerStatus::Away).unwrap().peer;
    assert_eq!(away.sequence, 2);
    assert_eq!(online(0).set_status(7, PeerStatus::Away), Err(SetStatusRefusal::StaleGeneration));
    for to in [PeerStatus::Offline, PeerStatus::Connecting, PeerStatus::Unknown] {
        assert_eq!(
            online(0).set_status(1, to),
            Err(SetStatusRefusal::InvalidTransition { from: PeerStatus::Online, to })
        );
    }
    let gone = online(0).leave(1, OfflineReason::Left).unwrap().peer;
    assert_eq!(gone.set_status(1, PeerStatus::Away), Err(SetStatusRefusal::UnknownPeer));
}

#[derive(Clone, Debug)]
enum Step {
    Connect(u8),
    Heartbeat(u64),
    Leave(u64),
    Status(bool),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..4u8).prop_map(Step::Connect),
        (0..6u64).prop_map(Step::Heartbeat),
        (0..6u64).prop_map(Step::Leave),
        any::<bool>().prop_map(Step::Status),
        (0..40_000u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// Whatever happens, facts are numbered without gaps, generations never fall, and online and offline alternate
    /// unless a newer connection took over.
    #[test]
    fn facts_are_numbered_without_gaps(steps in steps()) {
        let (mut known, mut now_ms, mut last_sequence, mut last_generation) = (None::<Peer>, 0u64, 0u64, 0u64);
        for step in steps {
            let change = match (step, known.clone()) {
                (Step::Wait(ms), peer) => { now_ms += ms; peer.and_then(|peer| peer.expire(now_ms)) }
                (Step::Connect(n), peer) => Peer::connect(peer, ask(&format!("c{n}")), now_ms, LEASE_MS).ok(),
                (Step::Heartbeat(generation), Some(peer)) => {
                    if let Some(peer) = peer.heartbeat(generation, now_ms, LEASE_MS) { known = Some(peer); }
                    None
                }
                (Step::Leave(generation), Some(peer)) => peer.leave(generation, OfflineReason::Left),
                (Step::Status(away), Some(peer)) => {
                    let status = if away { PeerStatus::Away } else { PeerStatus::Online };
                    let generation = peer.generation;
                    peer.set_status(generation, status).ok()
                }
                (_, None) => None,
            };
            if let Some(change) = change {
                let facts = u64::from(change.fact.is_some());
                prop_assert_eq!(change.peer.sequence, last_sequence + facts);
                prop_assert!(change.peer.generation >= last_generation);
                (last_sequence, last_generation) = (change.peer.sequence, change.peer.generation);
                known = Some(change.peer);
            }
        }
    }
}
