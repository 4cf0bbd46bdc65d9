//! Each event of signaling, from the request, the event or the sweep that makes it.

use std::time::Duration;

use bus::Trail;
use contracts::Contract;
use contracts::events::signaling::{SessionEndedV1, SessionOpenedV1};
use contracts::requests::signaling::{OpenSessionV1, SendV1};
use contracts::signals::signaling::PeerSignal;
use testkit::contract::{Events, On};

use crate::harness::{ACME, SOON, World, id, run_on};

testkit::on_every_bus!(every_event_keeps_its_promises);

async fn every_event_keeps_its_promises(on: On) {
    run_on(on, async |world| {
        let mut events = Events::of(signaling::NAME, &world.place, &world.observer);
        let open = OpenSessionV1::of_two(id("alice"), id("bob"), world.proof("alice"));
        let made = events.produces(&[SessionOpenedV1::KIND], async |trail| ask(world, trail, &open).await).await;
        let opened: SessionOpenedV1 = serde_json::from_slice(&made[0].data).unwrap();

        let (proof, signal) = (world.proof("bob"), PeerSignal::Bye { reason: None });
        let bye = SendV1::plain(opened.session_id, id("bob"), proof, signal);
        let said = async |trail: &Trail| ask(world, trail, &bye).await;
        events.produces(&[SessionEndedV1::KIND], said).await;
        events.nothing_follows("the same bye again", said).await;

        let alone = OpenSessionV1 { to: id("alice"), ..open };
        events.nothing_follows("a refused session", async |trail| ask(world, trail, &alone).await).await;

        world.open("alice", "bob").await.unwrap();
        settled(world).await;
        events.makes_by_itself(&[SessionEndedV1::KIND], async || world.lose("bob").await).await;
        world.open("alice", "carol").await.unwrap();
        settled(world).await;
        let silent = async || {
            let before = world.observer.seen().len();
            testkit::eventually(SOON, "the session to end", async || {
                world.hand.advance(Duration::from_secs(60));
                world.relayed().await;
                world.place.quiet().await;
                (world.observer.seen().len() > before).then_some(())
            })
            .await;
        };
        events.makes_by_itself(&[SessionEndedV1::KIND], silent).await;
        events.finish(env!("CARGO_TARGET_TMPDIR"));
    })
    .await;
}

async fn settled(world: &World) {
    world.relayed().await;
    world.place.quiet().await;
}

async fn ask<R: contracts::Request>(world: &World, trail: &Trail, ask: &R) {
    world.ask_on(trail, ACME, ask).await;
    world.relayed().await;
}
