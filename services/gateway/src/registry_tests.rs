use super::*;

const LIMITS: Limits = Limits {
    history_frames: 10,
    history_bytes: 100_000,
    history_ttl_ms: 1_000,
    history_total_bytes: 1_000_000,
    waiting_frames: 10,
    waiting_bytes: 100_000,
};

fn entry(peer: &str, user: &str, generation: u64) -> Entry {
    Entry {
        tenant: tenant(),
        peer_id: peer.parse().unwrap(),
        user: user.parse().unwrap(),
        connection_id: format!("{peer}-{generation}").parse().unwrap(),
        generation,
        subscription_id: "sub".parse().unwrap(),
        proof_ver: 1,
        proof_kid: "k-1".into(),
        network: None,
        acks: false,
        kick: Kick::new(tokio::sync::watch::Sender::new(None)),
    }
}

fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

fn registry() -> Registry {
    Registry::new(LIMITS, 2, 2)
}

fn counts(registry: &Registry, user: &str) -> (usize, usize, usize) {
    let counts = registry.counts(&tenant(), &user.parse().unwrap());
    (counts.node, counts.tenant, counts.user)
}

fn resume(epoch: &str, offset: u64) -> Resume {
    Resume { epoch: epoch.to_owned(), offset }
}

#[test]
fn counts_follow_every_way_in_and_out() {
    let registry = registry();
    let (one, two, again) = (entry("a", "ada", 1), entry("b", "bob", 2), entry("a", "ada", 3));
    registry.insert(one.clone(), None, "n.1".into());
    registry.insert(two.clone(), None, "n.2".into());
    assert_eq!((counts(&registry, "ada"), counts(&registry, "bob")), ((2, 2, 1), (2, 2, 1)));
    registry.insert(again.clone(), None, "n.3".into());
    assert_eq!(*one.kick.borrow(), Some(crate::socket::TAKEN_OVER));
    registry.remove(&one, true, 0);
    assert_eq!(counts(&registry, "ada"), (2, 2, 1), "the older one's end changes nothing");
    registry.remove(&again, true, 0);
    registry.remove(&two, false, 0);
    assert_eq!(counts(&registry, "ada"), (0, 0, 0));
    registry.sweep(1_000);
    assert!(registry.lock().is_empty(), "nothing stays of who did not come back");
    assert_eq!(registry.detached.load(Ordering::Relaxed), 0);
}

#[test]
fn an_older_connection_does_not_throw_a_newer_one_out() {
    let registry = registry();
    registry.insert(entry("a", "ada", 5), None, "n.1".into()).unwrap();
    assert!(registry.insert(entry("a", "ada", 4), None, "n.2".into()).is_none());
    assert_eq!(registry.find(&tenant(), &"a".parse().unwrap()).unwrap().generation, 5);
}

#[test]
fn a_peer_that_comes_back_in_time_has_its_rooms_and_its_journal() {
    let registry = registry();
    let first = entry("a", "ada", 1);
    registry.insert(first.clone(), None, "n.1".into());
    assert!(registry.room(&first, RoomAction::Join, "lobby"));
    registry.remove(&first, true, 0);
    let scope = Scope::Room { room: "lobby".into() };
    assert_eq!(registry.audience(&tenant(), &scope, &"b".parse().unwrap()).len(), 1, "what is said now is kept");
    let second = entry("a", "ada", 2);
    let entered = registry.insert(second.clone(), Some(&resume("n.1", 0)), "n.2".into()).unwrap();
    assert_eq!((entered.recovered, entered.journal.epoch()), (true, "n.1".to_owned()));
    assert!(registry.is_in(&second, "lobby"));
    let third = registry.insert(entry("a", "ada", 3), Some(&resume("n.9", 0)), "n.3".into()).unwrap();
    assert_eq!((third.recovered, third.journal.epoch()), (false, "n.3".to_owned()));
    assert!(registry.audience(&tenant(), &scope, &"b".parse().unwrap()).is_empty());
}

#[test]
fn rooms_and_the_memory_of_leavers_are_bounded() {
    let registry = registry();
    let one = entry("a", "ada", 1);
    registry.insert(one.clone(), None, "n.1".into());
    assert!(registry.room(&one, RoomAction::Join, "1") && registry.room(&one, RoomAction::Join, "2"));
    assert!(registry.room(&one, RoomAction::Join, "1"), "twice is once");
    assert!(!registry.room(&one, RoomAction::Join, "3"));
    assert!(registry.room(&one, RoomAction::Leave, "1") && registry.room(&one, RoomAction::Join, "3"));
    for (number, peer) in ["b", "c", "d"].into_iter().enumerate() {
        let entry = entry(peer, "ada", 10 + number as u64);
        registry.insert(entry.clone(), None, format!("n.{peer}"));
        registry.remove(&entry, true, 0);
    }
    assert_eq!(registry.detached.load(Ordering::Relaxed), 2);
}

#[test]
fn another_gateway_takes_a_seat_only_under_its_epoch() {
    let registry = registry();
    let one = entry("a", "ada", 1);
    registry.insert(one.clone(), None, "n.1".into());
    let peer = "a".parse().unwrap();
    assert!(registry.take(&tenant(), &peer, "n.2").is_none());
    assert!(registry.take(&tenant(), &peer, "n.1").is_some());
    assert_eq!(*one.kick.borrow(), Some(crate::socket::TAKEN_OVER));
    assert_eq!(counts(&registry, "ada"), (0, 0, 0));
    registry.remove(&one, true, 0);
    assert_eq!(registry.detached.load(Ordering::Relaxed), 0);
}
