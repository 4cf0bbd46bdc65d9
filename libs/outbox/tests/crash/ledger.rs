//! What happened, and whether each thing happened exactly once.

use std::path::Path;

use clock::Clock;
use store::{Key, SqliteOptions, Store};

/// Aggregates that a child works on at once.
pub(crate) const AGGREGATES: u64 = 8;

pub(crate) fn open(folder: &Path, service: &str, clock: &Clock) -> Store {
    Store::sqlite(SqliteOptions::at(folder.join(format!("{service}.sqlite"))), clock.clone()).unwrap()
}

/// The publisher's aggregate: its version counts its facts.
pub(crate) fn aggregate(number: u64) -> Key {
    Key::new("aggregate", format!("peer/p{number}"))
}

/// What a service did because of the facts about an aggregate, one entry for each effect, in order.
pub(crate) fn trace(number: u64) -> Key {
    Key::new("trace", format!("acme/peer/p{number}"))
}

/// The entries of a trace.
pub(crate) async fn entries(store: &Store, number: u64) -> Vec<u64> {
    store.get(&trace(number)).await.unwrap().map_or(Vec::new(), |item| serde_json::from_str(&item.body).unwrap())
}

pub(crate) async fn facts(store: &Store, number: u64) -> u64 {
    store.get(&aggregate(number)).await.unwrap().map_or(0, |item| item.version)
}

/// Reads both stores anew and compares: each fact had one effect at the listener and its echo one at the publisher, in
/// order; nothing is left anywhere. Says how many effects there were.
pub(crate) fn audit(folder: &Path) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let clock = Clock::system();
        let (publisher, listener) = (open(folder, "presence", &clock), open(folder, "signaling", &clock));
        let mut effects = 0;
        for number in 0..AGGREGATES {
            let expected: Vec<u64> = (1..=facts(&publisher, number).await).collect();
            assert!(!expected.is_empty(), "aggregate {number} has facts");
            assert_eq!(entries(&listener, number).await, expected, "effects of aggregate {number} at the listener");
            assert_eq!(entries(&publisher, number).await, expected, "effects of its echoes at the publisher");
            effects += 2 * expected.len() as u64;
        }
        for store in [&publisher, &listener] {
            for shard in 0..4 {
                let rows = store.query(&store::Query::all(format!("outbox#{shard}"), 10)).await.unwrap().items;
                assert!(rows.is_empty(), "rows left in an outbox: {rows:?}");
            }
            let letters = store.query_index(&store::Query::all("dead", 10)).await.unwrap().items;
            assert!(letters.is_empty(), "dead letters: {letters:?}");
        }
        effects
    })
}
