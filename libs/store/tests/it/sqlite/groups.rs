use std::path::Path;
use std::time::Duration;

use clock::Clock;
use rusqlite::Connection;
use store::{Condition, Item, Key, Query, SqliteOptions, Store, StoreErrorKind};

use super::assert_sound;
use crate::conformance::all_pages;

/// Holds the file's write lock as another process would, so that the store's writer has to wait and a group gathers.
pub(super) struct Holding(Connection);

impl Holding {
    pub(super) fn start(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(connection)
    }

    pub(super) fn end(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

fn item(sort: &str, version: u64) -> Item {
    Item::new(Key::new("p", sort), version, "{}")
}

fn open(folder: &tempfile::TempDir, change: impl FnOnce(&mut SqliteOptions)) -> Store {
    let mut options = SqliteOptions::at(folder.path().join("store.db"));
    change(&mut options);
    Store::sqlite(options, Clock::system()).unwrap()
}

async fn each_of_a_group_gets_its_own_answer(change: impl FnOnce(&mut SqliteOptions)) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, change);
    store.put(item("taken", 1), Condition::Absent).await.unwrap();
    let holding = Holding::start(&folder.path().join("store.db"));
    let put = |item: Item| {
        let store = store.clone();
        tokio::spawn(async move { store.put(item, Condition::Absent).await })
    };
    let tasks: Vec<_> = (0..200)
        .map(|n| match n % 4 {
            0 => put(item("taken", 2)),
            // Two of a group race for one key.
            1 | 2 => put(item(&format!("raced{}", n / 4), n)),
            _ => put(item(&format!("own{n}"), n)),
        })
        .collect();
    holding.end();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    for (n, outcome) in outcomes.iter().enumerate() {
        match n % 4 {
            0 => assert_eq!(outcome.as_ref().unwrap_err().conflict(), Some(0)),
            1 => assert!(outcome.is_ok() != outcomes[n + 1].is_ok(), "one winner"),
            2 => {}
            _ => assert!(outcome.is_ok()),
        }
    }
    assert_eq!(all_pages(&store, Query::all("p", 1_000), false).await.len(), 101);
    assert_sound(&folder.path().join("store.db"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_one_large_group() {
    each_of_a_group_gets_its_own_answer(|_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_small_groups() {
    each_of_a_group_gets_its_own_answer(|options| options.group_commit_max = 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_groups_bounded_by_bytes() {
    each_of_a_group_gets_its_own_answer(|options| options.group_commit_bytes_max = 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_a_short_queue() {
    each_of_a_group_gets_its_own_answer(|options| {
        options.queue_max = 2;
        options.queue_bytes_max = 4 << 20;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_that_holds_the_file_is_contention() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, |options| options.busy_ms = 20);
    let holding = Holding::start(&folder.path().join("store.db"));
    let error = store.put(item("a", 1), Condition::Any).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Contended, "{error}");
    assert_eq!(store.get(&Key::new("p", "a")).await.unwrap(), None, "reads go on");
    holding.end();
    store.put(item("a", 1), Condition::Absent).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_after_its_time_and_the_write_may_still_happen() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, |options| options.timeout_ms = 30);
    let holding = Holding::start(&folder.path().join("store.db"));
    let error = store.put(item("a", 1), Condition::Any).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    assert!(error.is_retryable() && error.to_string().contains("30 ms"), "{error}");
    holding.end();
    let seen = testkit::eventually(Duration::from_secs(10), "the write", async || {
        store.get(&Key::new("p", "a")).await.unwrap_or_default()
    });
    assert_eq!(seen.await, item("a", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_makes_callers_wait_not_fail() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, |options| options.queue_max = 1);
    let holding = Holding::start(&folder.path().join("store.db"));
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.put(item(&format!("n{n}"), 1), Condition::Absent).await })
        })
        .collect();
    holding.end();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}
