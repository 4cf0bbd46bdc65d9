//! What the webhook service reads.

use bus::Trail;
use outbox::Unit;
use testkit::contract::{On, ReadingSuite, TENANT, golden_facts};

use crate::harness::{Running, Setup};

testkit::on_every_bus!(what_is_read_is_what_is_committed);

async fn what_is_read_is_what_is_committed(on: On) {
    let folder = tempfile::tempdir().unwrap();
    let service = Running::with(folder.path(), Setup { on, ..Setup::default() }).await;
    let read: Vec<&str> = webhook::SUBSCRIPTIONS.iter().map(|line| line.kind).collect();
    let suite = ReadingSuite::start(webhook::NAME, &read, &[], &[]);
    let owner = service.host.platform("subscription").await.unwrap();
    for (number, fact) in (1..).zip(read.into_iter().flat_map(golden_facts)) {
        let mut unit = Unit::new();
        unit.publish(&TENANT.parse().unwrap(), number, &Trail::new("golden"), &fact);
        owner.outbox.commit(unit).await.unwrap();
    }
    suite.finish(env!("CARGO_MANIFEST_DIR"), env!("CARGO_TARGET_TMPDIR")).await;
}
