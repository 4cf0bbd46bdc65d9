//! Each event of presence, from the command or the sweep that makes it.

use bus::Trail;
use contracts::Contract;
use contracts::events::presence::{
    OfflineReason, PeerDescribedV1, PeerStatus, PeerStatusChangedV1, PeerWentOfflineV1, PeerWentOnlineV1,
};
use contracts::requests::presence::{DescribeV1, DisconnectV1, SetStatusV1};
use testkit::contract::{Events, On};

use crate::harness::{ACME, World, connect, id, run_on};

testkit::on_every_bus!(every_event_keeps_its_promises);

async fn every_event_keeps_its_promises(on: On) {
    run_on(on, async |world| {
        let mut events = Events::of(presence::NAME, &world.place, &world.observer);
        let came = async |trail: &Trail| ask(world, trail, &connect("alice", "c1")).await;
        events.produces(&[PeerWentOnlineV1::KIND], came).await;
        events.nothing_follows("the same connection again", came).await;

        let away = SetStatusV1 { peer_id: id("alice"), generation: 1, status: PeerStatus::Away };
        let changed = async |trail: &Trail| ask(world, trail, &away).await;
        events.produces(&[PeerStatusChangedV1::KIND], changed).await;
        events.nothing_follows("the same status again", changed).await;

        let tells = DescribeV1 {
            peer_id: id("alice"),
            generation: 1,
            tags: Some(vec!["blue".into()]),
            capabilities: None,
            transports: None,
            identity_keys: None,
            rooms: Some(vec!["lobby".into()]),
        };
        let told = async |trail: &Trail| ask(world, trail, &tells).await;
        events.produces(&[PeerDescribedV1::KIND], told).await;
        events.nothing_follows("the same description again", told).await;

        let leave = DisconnectV1 { peer_id: id("alice"), generation: 1, reason: OfflineReason::Left };
        let left = async |trail: &Trail| ask(world, trail, &leave).await;
        events.produces(&[PeerWentOfflineV1::KIND], left).await;
        events.nothing_follows("the same leave again", left).await;

        let mut thief = connect("alice", "c2");
        thief.user_id = id("mallory");
        events.nothing_follows("a refused connection", async |trail| ask(world, trail, &thief).await).await;

        world.connect(ACME, "bob", "c3").await;
        world.relayed().await;
        world.place.quiet().await;
        let ended = async || {
            world
                .sweep_until("the lease to end", async || match world.lookup(ACME, "bob").await.status {
                    PeerStatus::Offline => Ok(()),
                    other => Err(format!("{other:?}")),
                })
                .await;
        };
        events.makes_by_itself(&[PeerWentOfflineV1::KIND], ended).await;
        events.finish(env!("CARGO_TARGET_TMPDIR"));
    })
    .await;
}

async fn ask<R: contracts::Request>(world: &World, trail: &Trail, ask: &R) {
    world.ask_on(trail, ACME, ask).await;
    world.relayed().await;
}
