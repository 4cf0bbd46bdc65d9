//! Each request that presence serves.

use contracts::events::presence::{OfflineReason, PeerStatus};
use contracts::requests::presence::{DisconnectV1, ListV1, LookupV1, SetStatusV1};
use testkit::contract::{On, Requests};

use crate::harness::{ACME, World, connect, id, run_on};

testkit::on_every_bus!(every_request_is_answered_as_promised);

async fn every_request_is_answered_as_promised(on: On) {
    run_on(on, async |world| {
        let mut requests = Requests::of(presence::NAME, &world.bus, &world.clock);
        connects(world, &mut requests).await;
        statuses(world, &mut requests).await;
        questions(world, &mut requests).await;
        leaves(world, &mut requests).await;
        requests.finish();
    })
    .await;
}

/// Everything that a request could change: what was told, and who is here with which connection.
async fn state(world: &World) -> (usize, i64, Vec<(String, u64, PeerStatus)>) {
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

async fn questions(world: &World, requests: &mut Requests<'_>) {
    let lookup = |peer: &str| LookupV1 { peer_id: id(peer) };
    assert_eq!(requests.good(&lookup("alice")).await.peer_id, id("alice"));
    requests.twice(&lookup("alice"), async || state(world).await).await;
    requests.late(&lookup("alice"), async || state(world).await).await;
    requests.bodies(&lookup("alice")).await;
    requests.refused("unknown_peer", &lookup("nobody")).await;

    let page = |limit| ListV1 { limit, after: None };
    assert_eq!(requests.good(&page(1)).await.peers.len(), 1);
    requests.twice(&page(10), async || state(world).await).await;
    requests.late(&page(10), async || state(world).await).await;
    requests.bodies(&page(10)).await;
    requests.refused("invalid_page", &page(0)).await;
}

async fn leaves(world: &World, requests: &mut Requests<'_>) {
    let leave = |peer: &str| DisconnectV1 { peer_id: id(peer), generation: 1, reason: OfflineReason::Left };
    requests.late(&leave("alice"), async || state(world).await).await;
    assert!(requests.good(&leave("alice")).await.went_offline);
    requests.one_effect(&leave("bob"), async || state(world).await, "the second time it was offline already").await;
    requests.bodies(&leave("bob")).await;
    requests.refused("unknown_peer", &leave("nobody")).await;
}
