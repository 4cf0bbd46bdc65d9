use clock::Clock;
use rusqlite::Connection;
use store::{Condition, Item, Key, Query, SqliteOptions, Store, StoreErrorKind};

fn open(options: SqliteOptions) -> Result<Store, store::StoreError> {
    Store::sqlite(options, Clock::system())
}

#[tokio::test]
async fn a_reopened_file_has_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/store.db");
    for round in 0..5_u64 {
        let store = open(SqliteOptions::at(&path)).unwrap();
        for earlier in 0..round {
            assert!(store.get(&Key::new("p", format!("{earlier}"))).await.unwrap().is_some());
        }
        store.put(Item::new(Key::new("p", format!("{round}")), round, "{}"), Condition::Absent).await.unwrap();
    }
}

#[tokio::test]
async fn names_for_logs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open(SqliteOptions::at(&path)).unwrap();
    assert_eq!(store.backend_name(), "sqlite");
    assert_eq!(store.name(), format!("sqlite {}", path.display()));
    assert!(format!("{store:?}").contains("store.db"));
}

#[test]
fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    drop(open(SqliteOptions::at(&path)).unwrap());
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    let error = open(SqliteOptions::at(&path)).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert!(error.to_string().contains("version 2") && error.to_string().contains("newer program"), "{error}");
}

#[test]
fn another_programs_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let error = open(SqliteOptions::at(&path)).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert!(error.to_string().contains("another program"), "{error}");
    let path = folder.path().join("letter.txt");
    std::fs::write(&path, "Dear Sir or Madam, ".repeat(1_000)).unwrap();
    let error = open(SqliteOptions::at(&path)).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
}

#[test]
fn a_path_that_can_not_be_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [file.join("store.db"), folder.path().to_owned()] {
        let error = open(SqliteOptions::at(path)).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    }
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let at = || SqliteOptions::at("/nowhere/store.db");
    let cases = [
        ("group_commit_max", SqliteOptions { group_commit_max: 0, ..at() }),
        ("queue_max", SqliteOptions { queue_max: 0, ..at() }),
        ("queue_bytes_max", SqliteOptions { queue_bytes_max: 4_000_000, ..at() }),
        ("readers", SqliteOptions { readers: 0, ..at() }),
        ("busy_ms", SqliteOptions { busy_ms: u64::MAX, ..at() }),
        ("timeout_ms", SqliteOptions { timeout_ms: 0, ..at() }),
        ("cache_kib", SqliteOptions { cache_kib: 0, ..at() }),
        ("max_bytes", SqliteOptions { max_bytes: Some(4_096), ..at() }),
        ("wal_pages", SqliteOptions { wal_pages: 0, ..at() }),
        ("sweep_max", SqliteOptions { sweep_max: 0, ..at() }),
    ];
    for (field, options) in cases {
        let error = open(options).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid);
        assert!(error.to_string().contains(&format!("{field}: ")), "{error}");
    }
}

#[tokio::test]
async fn a_damaged_row_is_corrupt_and_no_other_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open(SqliteOptions::at(&path)).unwrap();
    for sort in ["a", "b"] {
        store.put(Item::new(Key::new("p", sort), 1, "{}"), Condition::Absent).await.unwrap();
    }
    Connection::open(&path).unwrap().execute_batch("UPDATE item SET version = -1 WHERE sort = 'a'").unwrap();
    assert_eq!(store.get(&Key::new("p", "a")).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    assert_eq!(store.query(&Query::all("p", 10)).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    assert!(store.get(&Key::new("p", "b")).await.unwrap().is_some());
    let error = store.put(Item::new(Key::new("p", "a"), 2, "{}"), Condition::Version(1)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    store.put(Item::new(Key::new("p", "a"), 2, "{}"), Condition::Any).await.unwrap();
    assert!(store.get(&Key::new("p", "a")).await.unwrap().is_some());
}
