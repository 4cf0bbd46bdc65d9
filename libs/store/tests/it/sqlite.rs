mod crash;
mod file;
mod full;
mod groups;
mod sweep;

use std::path::Path;

use rusqlite::Connection;
use store::{SqliteOptions, Store};

use crate::conformance::{Bench, conformance};

async fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hand) = Bench::clock();
    let store = Store::sqlite(SqliteOptions::at(folder.path().join("data/store.db")), clock.clone()).unwrap();
    Bench { store, clock, hand, _holds: Box::new(folder) }
}

conformance!(super::bench);

#[test]
fn random_work_matches_the_model() {
    crate::model::check(64, async |_| bench().await);
}

/// SQLite's own look at a file.
fn assert_sound(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}
