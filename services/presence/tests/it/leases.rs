use std::time::Duration;

use bus::Trail;
use clock::Clock;
use contracts::events::presence::{OfflineReason, PeerStatus, PeerWentOfflineV1, PresenceEvent};
use contracts::signals::EVERYBODY;
use contracts::signals::presence::{HeartbeatPeer, HeartbeatV1};
use tempfile::TempDir;

use crate::harness::{ACME, SOON, START_MS, World, id, next_change, run, run_with, tenant};

const LEASE: Duration = Duration::from_secs(30);

async fn beat(world: &World, peers: &[(&str, u64)]) {
    let peers = peers.iter().map(|(peer, generation)| HeartbeatPeer { peer_id: id(peer), generation: *generation });
    let signal = HeartbeatV1 { node_id: id("gateway-1"), peers: peers.collect() };
    world.bus.tell(&world.sender, EVERYBODY, &tenant(ACME), &Trail::new("beat"), &signal).await.unwrap();
}

fn timed_out(peer: &str, generation: u64) -> PresenceEvent {
    PeerWentOfflineV1 { peer_id: id(peer), generation, reason: OfflineReason::TimedOut }.into()
}

async fn offline(world: &World, peer: &str) {
    world
        .sweep_until("the peer to go offline", async || match world.lookup(ACME, peer).await.status {
            PeerStatus::Offline => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
}

#[tokio::test]
async fn a_heartbeat_renews_the_lease_and_tells_nobody() {
    run(async |world| {
        world.connect(ACME, "alice", "c1").await;
        world.connect(ACME, "bob", "c2").await;
        world.hand.advance(Duration::from_secs(20));
        // An unknown peer and an older connection in the same beat do no harm.
        beat(world, &[("nobody", 1), ("bob", 7), ("alice", 1)]).await;
        testkit::eventually(SOON, "the lease to be renewed", async || {
            let until_ms = world.lookup(ACME, "alice").await.lease_until_ms;
            if until_ms == START_MS + 50_000 { Ok(()) } else { Err(until_ms.to_string()) }
        })
        .await;
        offline(world, "bob").await;
        assert_eq!(world.lookup(ACME, "alice").await.status, PeerStatus::Online);
        let facts = world.facts().await;
        assert_eq!(facts.len(), 3, "two came, one went: {facts:?}");
        assert_eq!(facts[2], timed_out("bob", 1));
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_is_not_heard_of_goes_offline_once() {
    run(async |world| {
        world.connect(ACME, "alice", "c1").await;
        let mut changes = world.changes().await;
        // Sweeps before the end change nothing.
        for _ in 0..29 {
            world.hand.advance(Duration::from_secs(1));
            assert_eq!(world.lookup(ACME, "alice").await.status, PeerStatus::Online);
        }
        offline(world, "alice").await;
        assert_eq!(next_change(&mut changes).await.status, PeerStatus::Offline);
        assert_eq!(world.count(ACME).await, 0);
        // Neither later sweeps nor a late heartbeat bring it back or tell it twice.
        beat(world, &[("alice", 1)]).await;
        world.connect(ACME, "bob", "c2").await;
        world.hand.advance(LEASE);
        offline(world, "bob").await;
        let facts = world.facts().await;
        assert_eq!(facts.iter().filter(|fact| **fact == timed_out("alice", 1)).count(), 1, "{facts:?}");
        assert_eq!(world.lookup(ACME, "alice").await.status, PeerStatus::Offline);
    })
    .await;
}

#[tokio::test]
async fn a_restart_keeps_peers_leases_and_generations() {
    let folder = TempDir::new().unwrap();
    let (clock, hand) = Clock::manual(START_MS);
    let world = World::start(folder.path(), &[], clock.clone(), hand.clone()).await;
    world.connect(ACME, "alice", "c1").await;
    world.connect(ACME, "alice", "c2").await;
    let before = world.lookup(ACME, "alice").await;
    world.stop().await;

    let world = World::start(folder.path(), &[], clock.clone(), hand.clone()).await;
    assert_eq!(world.lookup(ACME, "alice").await, before);
    assert_eq!(world.connect(ACME, "alice", "c3").await.generation, 3);
    world.stop().await;

    // Nobody renews it while presence is down.
    hand.advance(LEASE);
    let world = World::start(folder.path(), &[], clock, hand).await;
    offline(&world, "alice").await;
    assert_eq!(world.facts().await, [timed_out("alice", 3)]);
    world.stop().await;
}

#[tokio::test]
async fn a_thousand_ended_leases_are_swept_each_once() {
    run_with(&[("sweep_batch", "300")], async |world| {
        let peers: Vec<String> = (0..1_000).map(|number| format!("peer-{number:04}")).collect();
        for crowd in peers.chunks(100) {
            futures::future::join_all(crowd.iter().map(|peer| world.connect(ACME, peer, "c1"))).await;
        }
        assert_eq!(world.count(ACME).await, 1_000);
        world.hand.advance(LEASE);
        world
            .sweep_until("all to be offline", async || match world.count(ACME).await {
                0 => Ok(()),
                left => Err(format!("{left} are here")),
            })
            .await;
        let facts = world.facts().await;
        let gone = |peer: &&String| facts.iter().filter(|fact| **fact == timed_out(peer, 1)).count() == 1;
        assert_eq!(peers.iter().filter(gone).count(), 1_000);
        assert_eq!(facts.len(), 2_000);
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_can_not_be_read_holds_up_no_other() {
    run(async |world| {
        world.connect(ACME, "bob", "c1").await;
        // In every shard, and older than any other, so every sweep meets them first.
        for shard in 0..16 {
            let name = format!("broken-{shard}");
            let mut broken = store::Item::new(store::Key::new("here#acme", &name), 1, "no peer");
            broken.index = Some(store::Key::new(format!("leases#{shard:02}"), format!("{:020}#acme#{name}", 1)));
            world.platform.outbox.store().put(broken, store::Condition::Absent).await.unwrap();
        }
        world.hand.advance(LEASE);
        offline(world, "bob").await;
    })
    .await;
}
