use clock::Clock;
use store::{Action, Condition, Item, Key, Query, SqliteOptions, Store, StoreErrorKind};

use super::assert_sound;
use crate::conformance::all_pages;

const LARGE: usize = 50_000;

fn item(sort: &str, bytes: usize) -> Item {
    Item::new(Key::new("p", sort), 1, "x".repeat(bytes))
}

fn open(folder: &tempfile::TempDir, max_bytes: u64) -> Store {
    let options = SqliteOptions { max_bytes: Some(max_bytes), ..SqliteOptions::at(folder.path().join("store.db")) };
    Store::sqlite(options, Clock::system()).unwrap()
}

/// Puts large items until the file is full; how many went in.
async fn fill(store: &Store) -> usize {
    for number in 0..1_000 {
        let put = store.put(item(&format!("n{number:03}"), LARGE), Condition::Absent).await;
        if let Err(error) = put {
            assert_eq!(error.kind(), StoreErrorKind::Full, "{error}");
            let text = error.to_string();
            assert!(error.is_retryable() && text.contains("max_bytes") && !text.contains("full: store"), "{text}");
            return number;
        }
    }
    panic!("50 MB in a file of 1 MiB");
}

#[tokio::test]
async fn a_full_file_is_a_clean_error_and_ends_with_the_shortage() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, 1 << 20);
    let count = fill(&store).await;
    assert!((15..=21).contains(&count), "{count} items of 50 KB in 1 MiB");

    let all_or_nothing = vec![
        Action::Put { item: item("small", 10), condition: Condition::Absent },
        Action::Put { item: item("large", LARGE), condition: Condition::Absent },
    ];
    let error = store.transact(all_or_nothing.clone()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Full);
    assert_eq!(store.get(&Key::new("p", "small")).await.unwrap(), None, "half a transaction");
    assert_eq!(all_pages(&store, Query::all("p", 100), false).await.len(), count, "what is stored stays readable");

    store.delete(Key::new("p", "n000"), Condition::Exists).await.unwrap();
    store.delete(Key::new("p", "n001"), Condition::Exists).await.unwrap();
    store.transact(all_or_nothing).await.unwrap();
    assert_eq!(fill_error(&store).await, StoreErrorKind::Full, "full again");

    drop(store);
    let store = open(&folder, 8 << 20);
    assert_eq!(all_pages(&store, Query::all("p", 100), false).await.len(), count);
    store.put(item("later", LARGE), Condition::Absent).await.unwrap();
    store.put(item("latest", 5 * LARGE), Condition::Absent).await.unwrap();
    assert_sound(&folder.path().join("store.db"));
}

async fn fill_error(store: &Store) -> StoreErrorKind {
    let many = (0..20).map(|n| Action::Put { item: item(&format!("m{n}"), LARGE), condition: Condition::Absent });
    store.transact(many.collect()).await.unwrap_err().kind()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_fit_takes_no_other_of_its_group_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, 1 << 20);
    let holding = super::groups::Holding::start(&folder.path().join("store.db"));
    let put = |sort: String, bytes: usize| {
        let store = store.clone();
        tokio::spawn(async move { store.put(item(&sort, bytes), Condition::Absent).await })
    };
    let small: Vec<_> = (0..10).map(|n| put(format!("small{n}"), 100)).collect();
    let large: Vec<_> = (0..5).map(|n| put(format!("large{n}"), 380_000)).collect();
    let more: Vec<_> = (10..20).map(|n| put(format!("small{n}"), 100)).collect();
    holding.end();
    for task in small.into_iter().chain(more) {
        task.await.unwrap().unwrap();
    }
    let mut refused = 0;
    for task in large {
        if let Err(error) = task.await.unwrap() {
            assert_eq!(error.kind(), StoreErrorKind::Full, "{error}");
            refused += 1;
        }
    }
    assert_eq!(refused, 3, "two of 380 KB fit into 1 MiB");
    assert_eq!(all_pages(&store, Query::prefix("p", "small", 100), false).await.len(), 20);
    assert_sound(&folder.path().join("store.db"));
}
