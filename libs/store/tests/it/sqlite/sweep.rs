use std::time::Duration;

use rusqlite::Connection;
use store::{Condition, Item, Key, SqliteOptions, Store};

use crate::conformance::Bench;

async fn fifty_expired(sweep_every_ms: u64) -> (Bench, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let (clock, hand) = Bench::clock();
    let options = SqliteOptions { sweep_every_ms, sweep_max: 7, ..SqliteOptions::at(&path) };
    let store = Store::sqlite(options, clock.clone()).unwrap();
    for n in 0..60_u64 {
        let late = if n < 50 { n } else { 1_000_000 };
        let item = Item {
            expires_at_ms: Some(clock.now_ms() + 1 + late),
            index: Some(Key::new("i", format!("{n}"))),
            ..Item::new(Key::new("p", format!("n{n:02}")), 1, "{}")
        };
        store.put(item, Condition::Absent).await.unwrap();
    }
    store.put(Item::new(Key::new("p", "for ever"), 1, "{}"), Condition::Absent).await.unwrap();
    (Bench { store, clock, hand, _holds: Box::new(folder) }, path)
}

fn rows(path: &std::path::Path) -> u64 {
    let connection = Connection::open(path).unwrap();
    let rows: i64 = connection.query_row("SELECT count(*) FROM item", [], |row| row.get(0)).unwrap();
    rows as u64
}

#[tokio::test]
async fn a_step_removes_what_is_over_oldest_first_and_no_more_than_asked() {
    let (at, path) = fifty_expired(0).await;
    assert_eq!(at.store.sweep_expired(100).await.unwrap(), 0, "nothing is over yet");
    at.hand.advance(Duration::from_millis(20));
    assert_eq!(at.store.sweep_expired(15).await.unwrap(), 15);
    assert_eq!(rows(&path), 46);
    assert_eq!(at.store.sweep_expired(100).await.unwrap(), 5, "20 were over");
    at.hand.advance(Duration::from_secs(10));
    assert_eq!(at.store.sweep_expired(100).await.unwrap(), 30);
    assert_eq!(at.store.sweep_expired(100).await.unwrap(), 0);
    assert_eq!(rows(&path), 11);
    assert!(at.store.get(&Key::new("p", "for ever")).await.unwrap().is_some());
    assert!(at.store.get(&Key::new("p", "n55")).await.unwrap().is_some());
}

#[tokio::test]
async fn the_writer_sweeps_by_itself_while_it_is_idle() {
    let (at, path) = fifty_expired(1).await;
    at.hand.advance(Duration::from_secs(10));
    testkit::eventually(Duration::from_secs(20), "the sweep", async || {
        let rows = rows(&path);
        if rows == 11 { Ok(()) } else { Err(format!("{rows} rows")) }
    })
    .await;
}
