//! Each request that presence serves.

use contracts::events::presence::{OfflineReason, PeerStatus};
use contracts::requests::presence::{
    ConnectV1, CountV1, DescribeV1, DisconnectV1, ListV1, LookupV1, PeerFilter, Profile, SetStatusV1,
};
use testkit::contract::{On, Requests};

use crate::harness::{ACME, World, connect, id, run_on};

testkit::on_every_bus!(every_request_is_answered_as_promised);

async fn every_request_is_answered_as_promised(on: On) {
    run_on(on, async |world| {
        let mut requests = Requests::of(presence::NAME, &world.bus, &world.clock);
        connects(world, &mut requests).await;
        statuses(world, &mut requests).await;
        descriptions(world, &mut requests).await;
        questions(world, &mut requests).await;
        leaves(world, &mut requests).await;
        requests.finish();
    })
    .await;
}

/// Everything that a request could change: what was told, and who is here with which connection.
async fn state(world: &World) -> (usize, u64, Vec<(String, u64, PeerStatus)>) {
    world.relayed().await;
    world.place.quiet().await;
    let mut peers = Vec::new();
    for peer in ["alice", "bob", "carol"] {
        if let contracts::Answer::Ok(view) = world.ask(ACME, &LookupV1 { peer_id: id(peer) }).await {
            peers.push((peer.to_owned(), view.generation, view.status));
        }
    }
    (world.observer.seen().len(), world.count(ACME).await, peers)
}

async fn connects(world: &World, requests: &mut Requests<'_>) {
    requests.good(&connect("alice", "c1")).await;
    requests.twice(&connect("alice", "c1"), async || state(world).await).await;
    requests.late(&connect("carol", "c2"), async || state(world).await).await;
    requests.bodies(&connect("bob", "c3")).await;
    let mut thief = connect("alice", "c4");
    thief.user_id = id("mallory");
    requests.refused("not_owner", &thief).await;
    let only = |peer: &str, connection: &str| ConnectV1 {
        subscription_id: id("sub-of-one"),
        max_peers: Some(1),
        ..connect(peer, connection)
    };
    requests.good(&only("erin", "c5")).await;
    requests.refused("too_many_peers", &only("frank", "c6")).await;
    let away = ConnectV1 { status: Some(PeerStatus::Away), ..connect("grace", "c7") };
    requests.refused("invalid_transition", &away).await;
    let profile = Profile { tags: vec![String::new()], ..Profile::default() };
    requests.refused("invalid", &ConnectV1 { profile, ..connect("grace", "c7") }).await;
}

async fn statuses(world: &World, requests: &mut Requests<'_>) {
    let set = |peer: &str, generation, status| SetStatusV1 { peer_id: id(peer), generation, status };
    let away = set("alice", 1, PeerStatus::Away);
    assert_eq!(requests.good(&away).await.status, PeerStatus::Away);
    requests.twice(&away, async || state(world).await).await;
    requests.late(&set("alice", 1, PeerStatus::Online), async || state(world).await).await;
    requests.bodies(&away).await;
    requests.refused("unknown_peer", &set("nobody", 1, PeerStatus::Away)).await;
    requests.refused("stale_generation", &set("alice", 9, PeerStatus::Online)).await;
    requests.refused("invalid_transition", &set("alice", 1, PeerStatus::Offline)).await;
}

async fn descriptions(world: &World, requests: &mut Requests<'_>) {
    let tags = |peer: &str, generation, tag: &str| DescribeV1 {
        peer_id: id(peer),
        generation,
        tags: Some(vec![tag.to_owned()]),
        capabilities: None,
        transports: None,
        identity_keys: None,
        rooms: None,
    };
    assert_eq!(requests.good(&tags("alice", 1, "blue")).await.profile.tags, ["blue"]);
    requests.twice(&tags("alice", 1, "green"), async || state(world).await).await;
    requests.late(&tags("alice", 1, "red"), async || state(world).await).await;
    requests.bodies(&tags("alice", 1, "green")).await;
    requests.refused("unknown_peer", &tags("nobody", 1, "blue")).await;
    requests.refused("stale_generation", &tags("alice", 9, "blue")).await;
    requests.refused("invalid", &tags("alice", 1, "a b")).await;
}

async fn questions(world: &World, requests: &mut Requests<'_>) {
    let lookup = |peer: &str| LookupV1 { peer_id: id(peer) };
    assert_eq!(requests.good(&lookup("alice")).await.peer_id, id("alice"));
    requests.twice(&lookup("alice"), async || state(world).await).await;
    requests.late(&lookup("alice"), async || state(world).await).await;
    requests.bodies(&lookup("alice")).await;
    requests.refused("unknown_peer", &lookup("nobody")).await;

    let page = |limit| ListV1 { limit, after: None, filter: PeerFilter::default(), address: None };
    assert_eq!(requests.good(&page(1)).await.peers.len(), 1);
    requests.twice(&page(10), async || state(world).await).await;
    requests.late(&page(10), async || state(world).await).await;
    requests.bodies(&page(10)).await;
    requests.refused("invalid_page", &page(0)).await;

    let count = |room: &str| CountV1 { room: Some(room.to_owned()), node_id: Some(id("gateway-1")) };
    assert_eq!(requests.good(&count("lobby")).await.room, Some(0));
    requests.twice(&count("lobby"), async || state(world).await).await;
    requests.late(&count("lobby"), async || state(world).await).await;
    requests.bodies(&count("lobby")).await;
    requests.refused("invalid", &count("a b")).await;
}

async fn leaves(world: &World, requests: &mut Requests<'_>) {
    let leave = |peer: &str| DisconnectV1 { peer_id: id(peer), generation: 1, reason: OfflineReason::Left };
    requests.late(&leave("alice"), async || state(world).await).await;
    assert!(requests.good(&leave("alice")).await.went_offline);
    requests.one_effect(&leave("bob"), async || state(world).await, "the second time it was offline already").await;
    requests.bodies(&leave("bob")).await;
    requests.refused("unknown_peer", &leave("nobody")).await;
}
