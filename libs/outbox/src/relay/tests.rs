//! The waits of a shard after failures, step by step.

use std::sync::Arc;

use bus::{Bus, EmbeddedOptions};
use clock::{Clock, Entropy, ManualClock};
use store::{Item, Key, Page, SqliteOptions, Store, StoreError, StoreErrorKind};

use super::flight::Row;
use super::{Read, Shard};
use crate::{Options, Outbox};

fn shard(folder: &std::path::Path) -> (Shard, ManualClock) {
    let (clock, hand) = Clock::manual(1_000_000);
    let store = Store::sqlite(SqliteOptions::at(folder.join("store.sqlite")), clock.clone()).unwrap();
    let bus = Bus::embedded(EmbeddedOptions::default(), clock.clone());
    let outbox = Outbox::new("presence", store, bus, clock, Entropy::seeded(7), Options::default());
    (Shard::new(Arc::clone(&outbox.core), 0), hand)
}

fn row() -> Row {
    Row { key: "acme/peer/alice".into(), at: Key::new("outbox#0", "acme/peer/alice#1#a.b.v1") }
}

fn undeleted() -> (Vec<Row>, Result<(), StoreError>) {
    (vec![row()], Err(StoreError::new(StoreErrorKind::Full, "the disk is full")))
}

#[tokio::test]
async fn a_read_that_works_does_not_end_the_wait_of_deletes_that_fail() {
    let folder = tempfile::tempdir().unwrap();
    let (mut shard, hand) = shard(folder.path());
    let mut waits = Vec::new();
    for failures in 1..=8 {
        shard.on_deleted(undeleted());
        let wait = shard.pause.until_ms.checked_sub(shard.core.clock.now_ms()).unwrap();
        assert!(wait > 0, "it waits after failure {failures}");
        // A page that was on its way, with a row that some other version of this service can read.
        let item = Item::new(Key::new("outbox#0", "acme/peer/bob#1#a.b.v1"), 1, "{}");
        shard.on_read(Ok(Read::Page(1, Page { items: vec![item], next: None })));
        assert!(shard.pause.until_ms > shard.core.clock.now_ms(), "a page that arrives meanwhile ends no wait");
        assert_eq!(shard.pause.failures, failures, "nor does it forget the failures");
        waits.push(wait);
        hand.advance(std::time::Duration::from_millis(wait));
        shard.on_time();
        assert_eq!(shard.pause.until_ms, 0, "the wait is over in time");
    }
    assert!(waits.iter().max().unwrap() > &400, "waits grow: {waits:?}");
    shard.on_deleted((vec![row()], Ok(())));
    assert_eq!(shard.pause.failures, 0, "what works ends the trouble");
}

#[tokio::test]
async fn an_empty_outbox_ends_the_trouble_of_reading() {
    let folder = tempfile::tempdir().unwrap();
    let (mut shard, _hand) = shard(folder.path());
    shard.on_read(Err(StoreError::new(StoreErrorKind::Unavailable, "no answer")));
    assert!(shard.pause.until_ms > 0);
    shard.on_read(Ok(Read::Page(1, Page { items: Vec::new(), next: None })));
    assert_eq!((shard.pause.failures, shard.pause.until_ms), (0, 0));
}
