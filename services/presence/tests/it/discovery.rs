//! Who is found by what, what peers tell of themselves, and who is told of it.

use std::collections::BTreeSet;

use contracts::Answer;
use contracts::events::presence::{OfflineReason, PeerDescribedV1, PeerStatus, PresenceEvent};
use contracts::requests::presence::{
    ConnectRefusal, ConnectV1, DescribeRefusal, DescribeV1, DisconnectV1, IdentityKey, KeyKind, ListRefusal, ListV1,
    MAX_ROOMS, PeerFilter, PeerView, Profile, SetStatusV1, Transport, TransportKind,
};

use crate::harness::{ACME, World, connect, id, is_quiet, next_news, run, run_on, run_on_dynamo};
use testkit::contract::On;

pub(crate) fn words(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

pub(crate) fn about(peer: &str, generation: u64) -> DescribeV1 {
    DescribeV1 {
        peer_id: id(peer),
        generation,
        tags: None,
        capabilities: None,
        transports: None,
        identity_keys: None,
        rooms: None,
    }
}

async fn describe(world: &World, ask: &DescribeV1) -> PeerView {
    match world.ask(ACME, ask).await {
        Answer::Ok(view) => view,
        other => panic!("not described: {other:?}"),
    }
}

async fn page(world: &World, ask: &ListV1) -> Result<(Vec<String>, Option<String>), String> {
    match world.ask(ACME, ask).await {
        Answer::Ok(page) => Ok((page.peers.iter().map(|peer| peer.peer_id.to_string()).collect(), page.next)),
        Answer::Refused(ListRefusal::InvalidPage { message }) => Err(message),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn found(world: &World, filter: &PeerFilter) -> Vec<String> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let ask = ListV1 { limit: 100, after, filter: filter.clone(), address: None };
        let (peers, next) = page(world, &ask).await.unwrap();
        seen.extend(peers);
        match next {
            Some(next) => after = Some(next),
            None => return seen,
        }
    }
}

pub(crate) fn in_room(room: &str) -> PeerFilter {
    PeerFilter { room: Some(room.into()), ..PeerFilter::default() }
}

fn with_tag(tag: &str) -> PeerFilter {
    PeerFilter { tag: Some(tag.into()), ..PeerFilter::default() }
}

async fn finds(world: &World) {
    for peer in ["alice", "bob", "carol"] {
        world.connect(ACME, peer, "c1").await;
    }
    let everything = PeerFilter::default();
    let both = DescribeV1 { tags: words(&["blue", "tall"]), rooms: words(&["lobby", "hall"]), ..about("alice", 1) };
    describe(world, &both).await;
    let other = DescribeV1 { tags: words(&["blue"]), capabilities: words(&["video"]), ..about("bob", 1) };
    describe(world, &other).await;
    describe(world, &DescribeV1 { rooms: words(&["lobby"]), ..about("carol", 1) }).await;
    assert_eq!(found(world, &everything).await, ["alice", "bob", "carol"]);
    assert_eq!(found(world, &in_room("lobby")).await, ["alice", "carol"]);
    assert_eq!(found(world, &with_tag("blue")).await, ["alice", "bob"]);
    let capable = PeerFilter { capability: Some("video".into()), ..PeerFilter::default() };
    assert_eq!(found(world, &capable).await, ["bob"]);
    // All that is asked for must hold.
    assert_eq!(found(world, &PeerFilter { tag: Some("blue".into()), ..in_room("lobby") }).await, ["alice"]);
    assert_eq!(found(world, &PeerFilter { capability: Some("video".into()), ..in_room("lobby") }).await, [""; 0]);
    assert_eq!(found(world, &in_room("cellar")).await, [""; 0]);
    assert_eq!(world.counts(ACME, Some("lobby"), Some("gateway-1")).await.room, Some(2));

    // What is left out stays, what is given replaces, and who leaves is found by nothing.
    describe(world, &DescribeV1 { rooms: words(&["hall"]), ..about("alice", 1) }).await;
    assert_eq!(found(world, &in_room("lobby")).await, ["carol"]);
    assert_eq!(found(world, &with_tag("tall")).await, ["alice"]);
    world.ask(ACME, &DisconnectV1 { peer_id: id("alice"), generation: 1, reason: OfflineReason::Left }).await;
    world.connect(ACME, "bob", "c2").await;
    assert_eq!(found(world, &with_tag("blue")).await, [""; 0], "one left, one came anew and told nothing yet");
    assert_eq!(found(world, &in_room("hall")).await, [""; 0]);
    let counts = world.counts(ACME, Some("hall"), Some("gateway-1")).await;
    assert_eq!((counts.here, counts.room, counts.node), (2, Some(0), Some(2)));
    // Tenants see nothing of each other.
    let theirs = ListV1 { limit: 10, after: None, filter: in_room("lobby"), address: None };
    assert!(matches!(world.ask("umbrella", &theirs).await, Answer::Ok(page) if page.peers.is_empty()));
    assert_eq!(world.counts("umbrella", Some("lobby"), None).await.room, Some(0));
}

#[tokio::test]
async fn peers_are_found_by_room_tag_and_capability() {
    run(finds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_found_on_dynamodb_too() {
    run_on_dynamo(finds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_found_over_nats_too() {
    run_on(On::Nats, finds).await;
}

#[tokio::test]
async fn who_shares_an_address_shares_a_network_and_nobody_learns_which() {
    run(async |world| {
        let from = |peer: &str, address: &str| ConnectV1 { address: Some(address.into()), ..connect(peer, "c1") };
        let network =
            async |tenant: &str, peer: &str, address: &str| match world.ask(tenant, &from(peer, address)).await {
                Answer::Ok(connected) => connected.network.unwrap(),
                other => panic!("{other:?}"),
            };
        let home = network(ACME, "alice", "203.0.113.9").await;
        assert_eq!(network(ACME, "bob", "203.0.113.9").await, home);
        assert_ne!(network(ACME, "carol", "203.0.113.10").await, home);
        assert_ne!(network("umbrella", "dave", "203.0.113.9").await, home, "names of tenants can't be compared");
        assert!(!home.contains("203"), "{home}");
        let filter = PeerFilter { network: Some(home), ..PeerFilter::default() };
        assert_eq!(found(world, &filter).await, ["alice", "bob"]);
        let near = |address: &str| ListV1 {
            limit: 10,
            after: None,
            filter: PeerFilter::default(),
            address: Some(address.into()),
        };
        assert_eq!(page(world, &near("203.0.113.10")).await.unwrap().0, ["carol"]);
        assert_eq!(page(world, &near("::ffff:203.0.113.9")).await.unwrap().0, ["alice", "bob"]);
        assert!(page(world, &near("somewhere")).await.unwrap_err().starts_with("address: "));
        let view = serde_json::to_string(&world.lookup(ACME, "alice").await).unwrap();
        assert!(!view.contains("network") && !view.contains("203"), "{view}");
        let nowhere = world.ask(ACME, &from("erin", "somewhere")).await;
        assert!(matches!(nowhere, Answer::Refused(ConnectRefusal::Invalid { violations }) if violations.len() == 1));
    })
    .await;
}

#[tokio::test]
async fn transports_and_identity_keys_are_shown_checked_and_told() {
    run(async |world| {
        let mut changes = world.changes().await;
        let key = |key: &str| IdentityKey { kind: KeyKind::Ed25519, key: key.into() };
        let profile = Profile {
            transports: vec![Transport { kind: TransportKind::LocalNetwork, address: Some("192.0.2.7:7777".into()) }],
            identity_keys: vec![key("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")],
            ..Profile::default()
        };
        let ask = ConnectV1 { profile: profile.clone(), ..connect("alice", "c1") };
        assert!(matches!(world.ask(ACME, &ask).await, Answer::Ok(_)));
        assert_eq!(world.lookup(ACME, "alice").await.profile, profile);
        assert_eq!(next_news(&mut changes).await.peer.profile, profile);

        let next = vec![key("PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw")];
        let turned = DescribeV1 { identity_keys: Some(next.clone()), ..about("alice", 1) };
        assert_eq!(describe(world, &turned).await.profile, Profile { identity_keys: next, ..profile });
        let view = world.lookup(ACME, "alice").await;
        assert_eq!(next_news(&mut changes).await.peer, view);
        let told = PeerDescribedV1 { peer_id: id("alice"), generation: 1, profile: view.profile.clone() };
        assert_eq!(world.facts().await[1..], [PresenceEvent::from(told)]);

        let bad = DescribeV1 {
            identity_keys: Some(vec![key("short")]),
            transports: Some(vec![Transport { kind: TransportKind::Unknown, address: Some(String::new()) }]),
            ..about("alice", 1)
        };
        match world.ask(ACME, &bad).await {
            Answer::Refused(DescribeRefusal::Invalid { violations }) => {
                assert_eq!(violations.len(), 3, "{violations:?}")
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(world.lookup(ACME, "alice").await, view, "a refusal changes nothing");
        assert!(is_quiet(&mut changes).await);
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_is_not_ready_is_here_and_says_so_when_it_is() {
    run(async |world| {
        let ask = ConnectV1 { status: Some(PeerStatus::Connecting), ..connect("alice", "c1") };
        assert!(matches!(world.ask(ACME, &ask).await, Answer::Ok(_)));
        assert_eq!(world.lookup(ACME, "alice").await.status, PeerStatus::Connecting);
        let ready = SetStatusV1 { peer_id: id("alice"), generation: 1, status: PeerStatus::Online };
        assert!(matches!(world.ask(ACME, &ready).await, Answer::Ok(view) if view.status == PeerStatus::Online));
        let facts = world.facts().await;
        assert!(matches!(&facts[0], PresenceEvent::StatusChanged(fact) if fact.status == PeerStatus::Connecting));
        assert!(matches!(&facts[1], PresenceEvent::WentOnline(_)));
    })
    .await;
}

#[tokio::test]
async fn news_say_what_a_peer_was_found_by_and_is_found_by_now() {
    run(async |world| {
        let mut changes = world.changes().await;
        world.connect(ACME, "alice", "c1").await;
        let news = next_news(&mut changes).await;
        assert!(news.before.is_none() && news.marks.unwrap().rooms.is_empty());
        let entered = DescribeV1 { rooms: words(&["lobby"]), ..about("alice", 1) };
        describe(world, &entered).await;
        let news = next_news(&mut changes).await;
        assert!(!in_room("lobby").holds(&news.before.unwrap()) && in_room("lobby").holds(&news.marks.unwrap()));
        describe(world, &entered).await;
        assert!(is_quiet(&mut changes).await, "the same rooms again are no news");
        world.ask(ACME, &DisconnectV1 { peer_id: id("alice"), generation: 1, reason: OfflineReason::Left }).await;
        let news = next_news(&mut changes).await;
        assert!(in_room("lobby").holds(&news.before.unwrap()) && news.marks.is_none());
        assert_eq!(world.facts().await.len(), 2, "rooms are no facts");
    })
    .await;
}

#[tokio::test]
async fn the_fullest_peer_comes_changes_is_replaced_and_goes() {
    run(async |world| {
        let names = |what: &str, count: usize| Some((0..count).map(|n| format!("{what}{n}")).collect::<Vec<_>>());
        let full = |what: &str, generation| DescribeV1 {
            tags: names(what, 10),
            capabilities: names(what, 10),
            rooms: names("room", MAX_ROOMS),
            ..about("alice", generation)
        };
        let ask = |connection: &str, node: &str, what: &str| ConnectV1 {
            profile: Profile {
                tags: names(what, 10).unwrap(),
                capabilities: names(what, 10).unwrap(),
                ..Profile::default()
            },
            address: Some(format!("203.0.113.{}", connection.len())),
            node_id: id(node),
            subscription_id: id(node),
            max_peers: Some(50),
            ..connect("alice", connection)
        };
        assert!(matches!(world.ask(ACME, &ask("c1", "node-1", "a")).await, Answer::Ok(_)));
        describe(world, &full("b", 1)).await;
        assert_eq!(world.counts(ACME, Some("room23"), Some("node-1")).await.room, Some(1));
        assert!(matches!(world.ask(ACME, &ask("c-2", "node-2", "c")).await, Answer::Ok(_)));
        let counts = world.counts(ACME, Some("room23"), Some("node-1")).await;
        assert_eq!((counts.here, counts.room, counts.node), (1, Some(0), Some(0)));
        describe(world, &full("d", 2)).await;
        let leave = DisconnectV1 { peer_id: id("alice"), generation: 2, reason: OfflineReason::Left };
        assert!(matches!(world.ask(ACME, &leave).await, Answer::Ok(left) if left.went_offline));
        assert_eq!(world.counts(ACME, Some("room0"), Some("node-2")).await.room, Some(0));
        let too_many = DescribeV1 { rooms: names("room", MAX_ROOMS + 1), ..about("alice", 2) };
        world.connect(ACME, "bob", "c1").await;
        let refused = world.ask(ACME, &DescribeV1 { peer_id: id("bob"), generation: 1, ..too_many }).await;
        assert!(matches!(refused, Answer::Refused(DescribeRefusal::Invalid { .. })), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn pages_hold_who_stays_once_while_others_come_and_go() {
    run(async |world| {
        let tagged = async |peer: &str| {
            let profile = Profile { tags: vec!["blue".into()], ..Profile::default() };
            world.ask(ACME, &ConnectV1 { profile, ..connect(peer, "c1") }).await;
        };
        for number in 0..60 {
            tagged(&format!("stays-{number:02}")).await;
            tagged(&format!("goes-{number:02}")).await;
            world.connect(ACME, &format!("plain-{number:02}"), "c1").await;
        }
        for filter in [PeerFilter::default(), with_tag("blue")] {
            let (mut seen, mut after, mut turn) = (Vec::new(), None, 0);
            loop {
                let ask = ListV1 { limit: 7, after, filter: filter.clone(), address: None };
                let (peers, next) = page(world, &ask).await.unwrap();
                seen.extend(peers);
                // One goes and one comes, before and behind the page's end.
                let (gone, come) = (format!("goes-{turn:02}"), format!("came-{turn:02}"));
                let leave = DisconnectV1 { peer_id: id(&gone), generation: 1, reason: OfflineReason::Left };
                world.ask(ACME, &leave).await;
                tagged(&come).await;
                tagged(&format!("zz-{come}")).await;
                turn = (turn + 1) % 60;
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            let unique: BTreeSet<&String> = seen.iter().collect();
            assert_eq!(unique.len(), seen.len(), "nobody twice");
            assert_eq!(seen.iter().filter(|peer| peer.starts_with("stays-")).count(), 60);
        }
    })
    .await;
}

#[tokio::test]
async fn a_filter_that_breaks_its_rule_or_another_listings_token_is_refused() {
    run(async |world| {
        for peer in ["alice", "bob"] {
            world.connect(ACME, peer, "c1").await;
            describe(world, &DescribeV1 { tags: words(&["blue", "red"]), ..about(peer, 1) }).await;
        }
        let list = |filter: PeerFilter, after| ListV1 { limit: 1, after, filter, address: None };
        for (filter, field) in [(in_room("a b"), "room"), (with_tag("a#b"), "tag"), (with_tag(""), "tag")] {
            let refused = page(world, &list(filter, None)).await.unwrap_err();
            assert!(refused.starts_with(&format!("{field}: ")), "{refused}");
        }
        let token = page(world, &list(with_tag("blue"), None)).await.unwrap().1;
        assert!(token.is_some());
        assert_eq!(page(world, &list(with_tag("blue"), token.clone())).await.unwrap().0, ["bob"]);
        let refused = page(world, &list(with_tag("red"), token)).await.unwrap_err();
        assert!(refused.starts_with("after: "), "{refused}");
    })
    .await;
}
