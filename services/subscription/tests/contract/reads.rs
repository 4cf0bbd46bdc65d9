//! What the subscription service reads.

use bus::Trail;
use clock::Clock;
use stripe_emulator::Options;
use testkit::contract::{On, ReadingSuite, golden_facts};

use crate::harness::World;

testkit::on_every_bus!(what_is_read_is_what_is_committed);

async fn what_is_read_is_what_is_committed(on: On) {
    let world = World::on_bus(on, Clock::system(), &[], Options::default()).await;
    let platform = &world.service.platform;
    let read: Vec<&str> = subscription::SUBSCRIPTIONS.iter().map(|line| line.kind).collect();
    let suite = ReadingSuite::start(subscription::NAME, &read, &[], &[]);
    suite.ask_all(&platform.bus, &platform.clock).await;
    for (number, fact) in (1..).zip(read.into_iter().flat_map(golden_facts)) {
        world.service.publish(&Trail::new("golden"), number, &fact).await;
    }
    suite.finish(env!("CARGO_MANIFEST_DIR"), env!("CARGO_TARGET_TMPDIR")).await;
}
