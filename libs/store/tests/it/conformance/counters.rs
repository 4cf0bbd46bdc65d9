use super::*;

pub(crate) async fn an_add_creates(at: Bench) {
    at.store.add(key("a"), 3, Condition::Any).await.unwrap();
    let created = at.store.get(&key("a")).await.unwrap().unwrap();
    assert_eq!(created, Item { counter: 3, ..Item::new(key("a"), 0, "{}") });
    at.store.add(key("b"), -3, Condition::Absent).await.unwrap();
    assert_eq!(at.store.get(&key("b")).await.unwrap().unwrap().counter, -3);
    at.store.put(item("a", 1), Condition::Version(0)).await.unwrap();
}

pub(crate) async fn adds_sum(at: Bench) {
    for delta in [5, -7, 0, 100, -3] {
        at.store.add(key("a"), delta, Condition::Any).await.unwrap();
    }
    assert_eq!(at.store.get(&key("a")).await.unwrap().unwrap().counter, 95);
}

pub(crate) async fn an_add_keeps_the_rest(at: Bench) {
    let full = Item {
        index: Some(Key::new("i", "a")),
        expires_at_ms: Some(at.clock.now_ms() + 1_000),
        counter: 40,
        ..item("a", 7)
    };
    at.store.put(full.clone(), Condition::Any).await.unwrap();
    at.store.add(key("a"), 2, Condition::Version(7)).await.unwrap();
    let expected = Item { counter: 42, ..full };
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(expected.clone()));
    assert_eq!(at.store.query_index(&Query::all("i", 10)).await.unwrap().items, [expected]);
}

pub(crate) async fn an_add_under_conditions(at: Bench) {
    assert_conflict(at.store.add(key("a"), 1, Condition::Exists).await, 0);
    assert_conflict(at.store.add(key("a"), 1, Condition::Version(0)).await, 0);
    assert_eq!(at.store.get(&key("a")).await.unwrap(), None);
    at.store.add(key("a"), 1, Condition::Absent).await.unwrap();
    assert_conflict(at.store.add(key("a"), 1, Condition::Absent).await, 0);
    at.store.add(key("a"), 1, Condition::Exists).await.unwrap();
    at.store.add(key("a"), 1, Condition::Version(0)).await.unwrap();
    assert_conflict(at.store.add(key("a"), 1, Condition::Version(1)).await, 0);
    assert_eq!(at.store.get(&key("a")).await.unwrap().unwrap().counter, 3);
}

pub(crate) async fn a_counter_is_a_condition(at: Bench) {
    assert_conflict(at.store.delete(key("a"), Condition::Counter(0)).await, 0);
    at.store.add(key("a"), 1, Condition::Any).await.unwrap();
    assert_conflict(at.store.delete(key("a"), Condition::Counter(0)).await, 0);
    at.store.add(key("a"), -1, Condition::Counter(1)).await.unwrap();
    assert_conflict(at.store.add(key("a"), -1, Condition::Counter(1)).await, 0);
    at.store.transact(vec![Action::Check { key: key("a"), condition: Condition::Counter(0) }]).await.unwrap();
    at.store.delete(key("a"), Condition::Counter(0)).await.unwrap();
    // An item that was put has a counter, too: zero.
    let short = Item { expires_at_ms: Some(at.clock.now_ms() + 1_000), ..item("a", 7) };
    at.store.put(short, Condition::Absent).await.unwrap();
    at.store.put(item("a", 8), Condition::Counter(0)).await.unwrap();
}

pub(crate) async fn a_put_sets_it(at: Bench) {
    at.store.add(key("a"), 9, Condition::Any).await.unwrap();
    at.store.put(Item { counter: 1, ..item("a", 1) }, Condition::Any).await.unwrap();
    at.store.add(key("a"), 1, Condition::Any).await.unwrap();
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(Item { counter: 2, ..item("a", 1) }));
}

pub(crate) async fn an_overflow_is_refused(at: Bench) {
    at.store.put(Item { counter: i64::MAX - 1, ..item("a", 1) }, Condition::Any).await.unwrap();
    at.store.put(Item { counter: i64::MIN, ..item("b", 1) }, Condition::Any).await.unwrap();
    at.store.add(key("a"), 1, Condition::Any).await.unwrap();
    assert_invalid(at.store.add(key("a"), 1, Condition::Any).await, "actions[0].delta");
    assert_invalid(at.store.add(key("b"), -1, Condition::Exists).await, "actions[0].delta");
    assert_conflict(at.store.add(key("b"), -1, Condition::Version(2)).await, 0);
    at.store.add(key("a"), i64::MIN, Condition::Any).await.unwrap();
    assert_eq!(at.store.get(&key("a")).await.unwrap().unwrap().counter, -1);
    assert_eq!(at.store.get(&key("b")).await.unwrap().unwrap().counter, i64::MIN);
}
