//! Counts are kept, not taken: whatever happens, they are what a look at everybody would give.

use std::collections::BTreeMap;
use std::time::Duration;

use clock::{Clock, Entropy};
use contracts::events::presence::OfflineReason;
use contracts::requests::presence::{ConnectV1, DescribeV1, DisconnectV1, PeerFilter, PeerView};
use contracts::signals::EVERYBODY;
use contracts::signals::presence::{HeartbeatPeer, HeartbeatV1};
use contracts::{Answer, NodeId};
use tempfile::TempDir;

use crate::discovery::{about, found, in_room};
use crate::harness::{ACME, SOON, START_MS, World, connect, id, run, run_on_dynamo, tenant};

const ROOMS: [&str; 3] = ["lobby", "hall", "cellar"];
const NODES: [&str; 2] = ["gateway-1", "gateway-2"];

/// What the counters say and what is true, for the tenant, its rooms and its gateways.
async fn counted_and_true(world: &World) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let (mut counted, mut truth) = (BTreeMap::new(), BTreeMap::new());
    let everybody = found(world, &PeerFilter::default()).await;
    counted.insert("here".to_owned(), world.count(ACME).await);
    truth.insert("here".to_owned(), everybody.len() as u64);
    for room in ROOMS {
        counted.insert(room.to_owned(), world.counts(ACME, Some(room), None).await.room.unwrap());
        truth.insert(room.to_owned(), found(world, &in_room(room)).await.len() as u64);
    }
    let mut nodes: BTreeMap<NodeId, u64> = NODES.iter().map(|node| (id(node), 0)).collect();
    for peer in everybody {
        let view: PeerView = world.lookup(ACME, &peer).await;
        *nodes.entry(view.node_id).or_default() += 1;
    }
    for (node, peers) in nodes {
        counted.insert(node.to_string(), world.counts(ACME, None, Some(node.as_str())).await.node.unwrap());
        truth.insert(node.to_string(), peers);
    }
    (counted, truth)
}

/// The sweep may be at it: what counts is that both agree in the end.
async fn agree(world: &World, what: &str) {
    testkit::eventually(SOON, what, async || {
        let (counted, truth) = counted_and_true(world).await;
        if counted == truth { Ok(()) } else { Err(format!("counted {counted:?}, true {truth:?}")) }
    })
    .await;
}

/// Something that happens to a peer.
async fn happen(world: &World, dice: &Entropy, generations: &mut BTreeMap<String, u64>) -> String {
    let pick = |count: usize| usize::try_from(dice.up_to(count as u64 - 1)).unwrap();
    let peer = format!("peer-{}", pick(8));
    let generation = generations.get(&peer).copied().unwrap_or(1);
    match pick(6) {
        0 | 1 => {
            let connection = format!("c{}", dice.next_u64());
            let ask = ConnectV1 { node_id: id(NODES[pick(2)]), ..connect(&peer, &connection) };
            let Answer::Ok(connected) = world.ask(ACME, &ask).await else { panic!("{peer} was not connected") };
            generations.insert(peer.clone(), connected.generation);
            format!("{peer} connects")
        }
        2 | 3 => {
            let rooms = ROOMS.iter().filter(|_| dice.up_to(1) == 1).map(|room| (*room).to_owned()).collect();
            world.ask(ACME, &DescribeV1 { rooms: Some(rooms), ..about(&peer, generation) }).await;
            format!("{peer} changes rooms")
        }
        4 => {
            // Now and then of an older connection.
            let generation = generation.saturating_sub(dice.up_to(1)).max(1);
            let reason = OfflineReason::Left;
            world.ask(ACME, &DisconnectV1 { peer_id: id(&peer), generation, reason }).await;
            format!("{peer} leaves {generation}")
        }
        _ => {
            world.hand.advance(Duration::from_secs(11));
            let peers = vec![HeartbeatPeer { peer_id: id(&peer), generation }];
            let beat = HeartbeatV1 { node_id: id("gateway-1"), peers };
            let trail = bus::Trail::new("beat");
            world.bus.tell(&world.sender, EVERYBODY, &tenant(ACME), &trail, &beat).await.unwrap();
            format!("eleven seconds pass, {peer} is heard of")
        }
    }
}

async fn anything(world: &World, seeds: u64, steps: usize) {
    for seed in 0..seeds {
        let (dice, mut generations, mut story) = (Entropy::seeded(seed), BTreeMap::new(), Vec::new());
        for _ in 0..steps {
            story.push(happen(world, &dice, &mut generations).await);
        }
        agree(world, &format!("counts to be true after {story:?}")).await;
    }
    // In the end nobody is heard of any more.
    world
        .sweep_until("nobody to be here", async || match world.count(ACME).await {
            0 => Ok(()),
            left => Err(format!("{left} are here")),
        })
        .await;
    agree(world, "counts of nobody").await;
}

#[tokio::test]
async fn counts_are_what_a_scan_would_give_whatever_happens() {
    run(async |world| anything(world, 8, 40).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_true_on_dynamodb_too() {
    run_on_dynamo(async |world| anything(world, 2, 25).await).await;
}

#[tokio::test]
async fn counts_of_rooms_and_gateways_that_are_empty_leave_nothing_behind() {
    run(async |world| {
        for number in 0..20 {
            let generation = world.connect(ACME, "alice", &format!("c{number}")).await.generation;
            let rooms = Some(vec![format!("room-{number}")]);
            world.ask(ACME, &DescribeV1 { rooms, ..about("alice", generation) }).await;
        }
        let last = DisconnectV1 { peer_id: id("alice"), generation: 20, reason: OfflineReason::Left };
        world.ask(ACME, &last).await;
        let query = store::Query::all(format!("count#{ACME}"), 100);
        let left = world.platform.outbox.store().query(&query).await.unwrap().items;
        let names: Vec<String> = left.into_iter().map(|item| item.key.sort).collect();
        assert!(names.len() == 1 && names[0].starts_with("here#"), "{names:?}");
    })
    .await;
}

#[tokio::test]
async fn counts_survive_a_restart() {
    let folder = TempDir::new().unwrap();
    let (clock, hand) = Clock::manual(START_MS);
    let world = World::start(folder.path(), &[], clock.clone(), hand.clone()).await;
    for peer in ["alice", "bob", "carol"] {
        world.connect(ACME, peer, "c1").await;
        let rooms = Some(vec!["lobby".to_owned()]);
        world.ask(ACME, &DescribeV1 { rooms, ..about(peer, 1) }).await;
    }
    world.stop().await;
    let world = World::start(folder.path(), &[], clock, hand).await;
    agree(&world, "counts to be true after a restart").await;
    assert_eq!(world.counts(ACME, Some("lobby"), Some("gateway-1")).await.room, Some(3));
    world.stop().await;
}
