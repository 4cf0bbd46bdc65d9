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
        status: None,
        profile: Profile::default(),
        address: None,
    }
}

fn online(now_ms: u64) -> Peer {
    Peer::connect(None, ask("c1"), None, now_ms, LEASE_MS).unwrap().peer
}

#[test]
fn a_new_peer_comes_online_with_a_lease() {
    let change = Peer::connect(None, ask("c1"), None, 1_000, LEASE_MS).unwrap();
    assert_eq!(change.peer.status, PeerStatus::Online);
    assert_eq!(change.peer.lease_until_ms, 31_000);
    assert!(matches!(change.fact, Some(PresenceEvent::WentOnline(fact)) if fact.generation == 1));
}

#[test]
fn the_same_connection_again_changes_nothing() {
    let change = Peer::connect(Some(online(0)), ask("c1"), None, 9_000, LEASE_MS).unwrap();
    assert_eq!(change, Change { peer: online(0), fact: None });
}

#[test]
fn a_newer_connection_takes_over_and_an_older_leave_cannot_remove_it() {
    let newer = Peer::connect(Some(online(0)), ask("c2"), None, 5_000, LEASE_MS).unwrap().peer;
    assert_eq!(newer.generation, 2);
    assert_eq!(newer.clone().leave(1, OfflineReason::Left), None);
    assert_eq!(newer.clone().heartbeat(1, 20_000, LEASE_MS), None);
    assert!(newer.leave(2, OfflineReason::Left).is_some());
}

#[test]
fn a_peer_id_belongs_to_its_user() {
    let other = ConnectV1 { user_id: "mallory".parse().unwrap(), ..ask("c2") };
    assert_eq!(Peer::connect(Some(online(0)), other, None, 5_000, LEASE_MS), Err(ConnectRefusal::NotOwner));
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
                (Step::Connect(n), peer) => Peer::connect(peer, ask(&format!("c{n}")), None, now_ms, LEASE_MS).ok(),
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

#[test]
fn a_connection_begins_online_or_connecting_and_no_other_way() {
    let begin = |status| Peer::connect(None, ConnectV1 { status, ..ask("c1") }, None, 0, LEASE_MS);
    assert_eq!(begin(Some(PeerStatus::Online)).unwrap(), begin(None).unwrap());
    for to in [PeerStatus::Away, PeerStatus::Offline, PeerStatus::Unknown] {
        assert_eq!(begin(Some(to)), Err(ConnectRefusal::InvalidTransition { to }));
    }
    let change = begin(Some(PeerStatus::Connecting)).unwrap();
    let status =
        PeerStatusChangedV1 { peer_id: "alice".parse().unwrap(), generation: 1, status: PeerStatus::Connecting };
    assert_eq!(change.fact, Some(status.into()));
    let connecting = change.peer;
    let refused = SetStatusRefusal::InvalidTransition { from: PeerStatus::Connecting, to: PeerStatus::Away };
    assert_eq!(connecting.clone().set_status(1, PeerStatus::Away), Err(refused));
    let ready = connecting.clone().set_status(1, PeerStatus::Online).unwrap();
    assert!(matches!(ready.fact, Some(PresenceEvent::WentOnline(fact)) if fact.generation == 1));
    assert!(connecting.expire(LEASE_MS).is_some(), "who never got ready goes as all others do");
}

#[test]
fn the_machine_has_these_arrows_and_no_others() {
    use PeerStatus::{Away, Connecting, Offline, Online, Unknown};
    let known = [
        (Offline, Connecting),
        (Connecting, Online),
        (Connecting, Offline),
        (Online, Away),
        (Online, Offline),
        (Away, Online),
        (Away, Offline),
    ];
    for from in [Connecting, Online, Away, Offline, Unknown] {
        for to in [Connecting, Online, Away, Offline, Unknown] {
            assert_eq!(allowed(from, to), known.contains(&(from, to)), "{from:?} to {to:?}");
        }
    }
}

fn describe(generation: u64) -> DescribeV1 {
    DescribeV1 {
        peer_id: "alice".parse().unwrap(),
        generation,
        tags: None,
        capabilities: None,
        transports: None,
        identity_keys: None,
        rooms: None,
    }
}

#[test]
fn what_a_peer_leaves_out_of_its_description_stays() {
    let words = |word: &str| Some(vec![word.to_owned()]);
    let first = DescribeV1 { tags: words("blue"), rooms: words("lobby"), ..describe(1) };
    let change = online(0).describe(first.clone()).unwrap();
    assert!(matches!(&change.fact, Some(PresenceEvent::Described(fact)) if fact.profile.tags == ["blue"]));
    assert_eq!(change.peer.clone().describe(first).unwrap(), Change { peer: change.peer.clone(), fact: None });
    let peer = change.peer.describe(DescribeV1 { capabilities: words("video"), ..describe(1) }).unwrap().peer;
    assert_eq!(
        (peer.profile.tags.as_slice(), peer.profile.capabilities.as_slice()),
        (&["blue".into()][..], &["video".into()][..])
    );
    assert_eq!(peer.sequence, 3);
    // Rooms are no fact: they are told by signal only.
    let moved = peer.clone().describe(DescribeV1 { rooms: words("hall"), ..describe(1) }).unwrap();
    assert_eq!((moved.fact, moved.peer.marks().unwrap().rooms), (None, vec!["hall".to_owned()]));
    assert_eq!(peer.clone().describe(describe(7)), Err(DescribeRefusal::StaleGeneration));
    let bad = DescribeV1 { tags: words(""), rooms: words("a b"), ..describe(1) };
    assert!(
        matches!(peer.clone().describe(bad), Err(DescribeRefusal::Invalid { violations }) if violations.len() == 2)
    );
    // Nothing of it outlives the connection.
    let gone = peer.clone().leave(1, OfflineReason::Left).unwrap().peer;
    assert_eq!((gone.marks(), gone.profile.is_empty(), gone.rooms.len()), (None, true, 0));
    assert_eq!(gone.describe(describe(1)), Err(DescribeRefusal::UnknownPeer));
    let newer = Peer::connect(Some(peer), ask("c2"), None, 0, LEASE_MS).unwrap().peer;
    assert_eq!(newer.marks().unwrap(), Marks::default());
}

/// A message of a gateway about a connection, in whatever order it arrives.
#[derive(Clone, Copy, Debug)]
enum Late {
    Heartbeat(u64),
    Leave(u64),
    Expire,
}

proptest! {
    /// Three connections of a peer come one after the other; heartbeats, leaves and the sweep come whenever they like,
    /// before or after any of them, twice or not at all. Nobody but the newest connection's own leave or the end of its
    /// lease takes the peer away, it goes once, and nothing brings back who is gone.
    #[test]
    fn no_order_of_messages_makes_a_ghost_or_a_flap(
        late in prop::collection::vec(
            (prop_oneof![(1..4u64).prop_map(Late::Heartbeat), (1..4u64).prop_map(Late::Leave), Just(Late::Expire)],
             0..4u64, 0..15_000u64),
            0..40,
        ).prop_shuffle(),
    ) {
        let (mut now_ms, mut peer) = (0u64, None::<Peer>);
        let mut facts = Vec::new();
        for connection in 1..=3u64 {
            let came = Peer::connect(peer.take(), ask(&format!("c{connection}")), None, now_ms, LEASE_MS).unwrap();
            prop_assert_eq!(came.peer.generation, connection);
            facts.push(("online", connection));
            peer = Some(came.peer);
            for (message, when, wait_ms) in &late {
                if *when > connection { continue; }
                now_ms += wait_ms;
                let before = peer.clone().unwrap();
                let change = match *message {
                    Late::Heartbeat(generation) => {
                        let beaten = before.clone().heartbeat(generation, now_ms, LEASE_MS);
                        prop_assert!(beaten.is_none() || (generation == connection && before.marks().is_some()));
                        if let Some(beaten) = beaten { peer = Some(beaten); }
                        None
                    }
                    Late::Leave(generation) => {
                        let left = before.clone().leave(generation, OfflineReason::Left);
                        prop_assert!(left.is_none() || generation == connection, "a stale leave took it away");
                        left
                    }
                    Late::Expire => {
                        let ended = before.clone().expire(now_ms);
                        prop_assert!(ended.is_none() || before.lease_until_ms <= now_ms, "its lease was good");
                        ended
                    }
                };
                if let Some(change) = change {
                    prop_assert!(before.marks().is_some(), "it went twice");
                    facts.push(("offline", connection));
                    peer = Some(change.peer);
                }
            }
        }
        for connection in 1..=3u64 {
            prop_assert!(facts.iter().filter(|fact| **fact == ("offline", connection)).count() <= 1);
        }
        let here = peer.unwrap().marks().is_some();
        prop_assert_eq!(here, facts.last() == Some(&("online", 3)), "the facts say where it stands");
    }
}
