//! What presence reads.

use contracts::Contract;
use contracts::signals::EVERYBODY;
use contracts::signals::presence::HeartbeatV1;
use testkit::contract::{On, ReadingSuite};

use crate::harness::run_on;

testkit::on_every_bus!(what_is_read_is_what_is_committed);

async fn what_is_read_is_what_is_committed(on: On) {
    run_on(on, async |world| {
        let suite = ReadingSuite::start(presence::NAME, &[], &[HeartbeatV1::KIND], &[]);
        suite.ask_all(&world.bus, &world.clock).await;
        suite.signal_all(&world.bus, &world.clock, HeartbeatV1::KIND, EVERYBODY).await;
        suite.finish(env!("CARGO_MANIFEST_DIR"), env!("CARGO_TARGET_TMPDIR")).await;
    })
    .await;
}
