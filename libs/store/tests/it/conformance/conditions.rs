use super::*;

pub(crate) async fn absent(at: Bench) {
    at.store.put(item("a", 1), Condition::Absent).await.unwrap();
    assert_conflict(at.store.put(item("a", 2), Condition::Absent).await, 0);
    at.store.delete(key("a"), Condition::Any).await.unwrap();
    at.store.put(item("a", 3), Condition::Absent).await.unwrap();
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(item("a", 3)));
}

pub(crate) async fn exists(at: Bench) {
    assert_conflict(at.store.put(item("a", 1), Condition::Exists).await, 0);
    assert_eq!(at.store.get(&key("a")).await.unwrap(), None);
    at.store.put(item("a", 1), Condition::Any).await.unwrap();
    at.store.put(item("a", 2), Condition::Exists).await.unwrap();
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(item("a", 2)));
}

pub(crate) async fn version(at: Bench) {
    assert_conflict(at.store.put(item("a", 1), Condition::Version(0)).await, 0);
    at.store.put(item("a", 1), Condition::Any).await.unwrap();
    assert_conflict(at.store.put(item("a", 3), Condition::Version(2)).await, 0);
    at.store.put(item("a", 2), Condition::Version(1)).await.unwrap();
    assert_conflict(at.store.put(item("a", 2), Condition::Version(1)).await, 0);
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(item("a", 2)));
}

pub(crate) async fn check_changes_nothing(at: Bench) {
    let check = |condition| vec![Action::Check { key: key("a"), condition }];
    at.store.transact(check(Condition::Absent)).await.unwrap();
    at.store.transact(check(Condition::Any)).await.unwrap();
    assert_conflict(at.store.transact(check(Condition::Exists)).await, 0);
    assert_eq!(at.store.get(&key("a")).await.unwrap(), None);
    at.store.put(item("a", 4), Condition::Any).await.unwrap();
    at.store.transact(check(Condition::Exists)).await.unwrap();
    at.store.transact(check(Condition::Version(4))).await.unwrap();
    at.store.transact(check(Condition::Any)).await.unwrap();
    assert_conflict(at.store.transact(check(Condition::Version(5))).await, 0);
    assert_conflict(at.store.transact(check(Condition::Absent)).await, 0);
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(item("a", 4)));
}

pub(crate) async fn delete_what_is_not_there(at: Bench) {
    at.store.delete(key("a"), Condition::Any).await.unwrap();
    at.store.delete(key("a"), Condition::Absent).await.unwrap();
    assert_conflict(at.store.delete(key("a"), Condition::Exists).await, 0);
    assert_conflict(at.store.delete(key("a"), Condition::Version(0)).await, 0);
}

pub(crate) async fn delete_under_conditions(at: Bench) {
    at.store.put(item("a", 1), Condition::Any).await.unwrap();
    assert_conflict(at.store.delete(key("a"), Condition::Version(2)).await, 0);
    assert_conflict(at.store.delete(key("a"), Condition::Absent).await, 0);
    assert!(at.store.get(&key("a")).await.unwrap().is_some());
    at.store.delete(key("a"), Condition::Version(1)).await.unwrap();
    assert_eq!(at.store.get(&key("a")).await.unwrap(), None);
    at.store.put(item("a", 1), Condition::Any).await.unwrap();
    at.store.delete(key("a"), Condition::Exists).await.unwrap();
    assert_eq!(at.store.get(&key("a")).await.unwrap(), None);
}

pub(crate) async fn a_conflict_leaves_the_item(at: Bench) {
    let first = Item { index: Some(Key::new("i", "a")), counter: 3, ..item("a", 1) };
    at.store.put(first.clone(), Condition::Any).await.unwrap();
    assert_conflict(at.store.put(item("a", 9), Condition::Version(8)).await, 0);
    assert_conflict(at.store.add(key("a"), 1, Condition::Absent).await, 0);
    assert_conflict(at.store.delete(key("a"), Condition::Version(8)).await, 0);
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(first.clone()));
    assert_eq!(at.store.query_index(&Query::all("i", 10)).await.unwrap().items, [first]);
}

pub(crate) async fn a_conflict_says_what_was_expected(at: Bench) {
    let error = at.store.put(item("a", 2), Condition::Version(1)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Conflict { action: 0 });
    let text = error.to_string();
    assert!(text.contains("p/a") && text.contains("Version(1)"), "{text}");
}
