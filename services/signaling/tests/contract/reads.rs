//! What signaling reads.

use std::time::Duration;

use contracts::requests::billing::ProofSnapshotV1;
use contracts::requests::presence::LookupV1;
use contracts::requests::subscription::ListProofKeysV1;
use contracts::signals::EVERYBODY;
use contracts::signals::gateway::EntitlementLostV1;
use contracts::signals::presence::ChangedV1;
use contracts::signals::signaling::TakenV1;
use contracts::{Answer, Contract, SessionId};
use testkit::contract::{Answers, On, ReadingSuite, TENANT, golden_facts};

use crate::harness::{World, run_alone};

testkit::on_every_bus!(what_is_read_is_what_is_committed);

async fn what_is_read_is_what_is_committed(on: On) {
    run_alone(on, async |world| {
        let asked = [LookupV1::KIND, ListProofKeysV1::KIND, ProofSnapshotV1::KIND];
        let others = Answers::serve(&world.bus, &asked).await;
        let read: Vec<&str> = signaling::SUBSCRIPTIONS.iter().map(|line| line.kind).collect();
        let signals = [EntitlementLostV1::KIND, ChangedV1::KIND, TakenV1::KIND];
        let suite = ReadingSuite::start(signaling::NAME, &read, &signals, &asked);
        // Asked for again after a while as long as it is refused or goes on.
        others.each(&suite, ProofSnapshotV1::KIND, async |_| world.hand.advance(Duration::from_secs(31))).await;
        others
            .each(&suite, ListProofKeysV1::KIND, async |_| {
                // The key is unknown, and was asked for a while ago.
                world.hand.advance(Duration::from_secs(2));
                let _ = open(world).await;
            })
            .await;
        world.publish_key().await;
        others.each(&suite, LookupV1::KIND, async |_| drop(open(world).await)).await;
        suite.ask_all(&world.bus, &world.clock).await;
        suite.signal_all(&world.bus, &world.clock, EntitlementLostV1::KIND, EVERYBODY).await;
        suite.signal_all(&world.bus, &world.clock, ChangedV1::KIND, TENANT).await;
        suite.signal_all(&world.bus, &world.clock, TakenV1::KIND, world.node_id()).await;
        for kind in read {
            let owner = if kind.starts_with("presence.") { &world.presence } else { &world.subscription };
            for fact in golden_facts(kind) {
                world.publish(owner, &fact).await;
            }
        }
        suite.finish(env!("CARGO_MANIFEST_DIR"), env!("CARGO_TARGET_TMPDIR")).await;
    })
    .await;
}

async fn open(world: &World) -> Option<SessionId> {
    let (alice, bob) = (crate::harness::id("alice"), crate::harness::id("bob"));
    let ask = contracts::requests::signaling::OpenSessionV1::of_two(alice, bob, world.proof("alice"));
    match world.ask(crate::harness::ACME, &ask).await {
        Answer::Ok(opened) => Some(opened.session_id),
        _ => None,
    }
}
