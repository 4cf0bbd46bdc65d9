use store::Range;
use store::limits::*;

use super::*;

fn puts(count: usize) -> Vec<Action> {
    (0..count).map(|n| put(item(&format!("n{n}"), 1), Condition::Any)).collect()
}

async fn assert_nothing_stored(store: &Store) {
    assert_eq!(store.query(&Query::all("p", 10)).await.unwrap(), Page::default());
}

pub(crate) async fn no_action(at: Bench) {
    assert_invalid(at.store.transact(vec![]).await, "actions");
}

pub(crate) async fn too_many_actions(at: Bench) {
    assert_invalid(at.store.transact(puts(TRANSACTION_ACTIONS_MAX + 1)).await, "1 to 100");
    assert_nothing_stored(&at.store).await;
}

pub(crate) async fn a_key_twice(at: Bench) {
    let mut actions = puts(3);
    actions.push(Action::Check { key: key("n1"), condition: Condition::Any });
    assert_invalid(at.store.transact(actions).await, "actions[3].key: p/n1");
    assert_nothing_stored(&at.store).await;
}

pub(crate) async fn too_large_together(at: Bench) {
    let actions: Vec<_> =
        (0..11).map(|n| put(Item { body: "x".repeat(400_000), ..item(&format!("n{n}"), 1) }, Condition::Any)).collect();
    assert_invalid(at.store.transact(actions).await, "4194304");
    assert_nothing_stored(&at.store).await;
}

pub(crate) async fn too_large_an_item(at: Bench) {
    let mut large = item("a", 1);
    large.body = String::new();
    large.body = "x".repeat(ITEM_BYTES_MAX + 1 - item_bytes(&large));
    assert_invalid(at.store.put(large, Condition::Any).await, "409600");
    // Bytes count, not characters.
    let wide = Item { body: "ö".repeat(ITEM_BYTES_MAX / 2), ..item("a", 1) };
    assert_invalid(at.store.put(wide, Condition::Any).await, "409600");
    assert_nothing_stored(&at.store).await;
}

pub(crate) async fn empty_keys(at: Bench) {
    for (bad, part) in [(Key::new("", "s"), "partition"), (Key::new("p", ""), "sort")] {
        assert_invalid(at.store.get(&bad).await, part);
        assert_invalid(at.store.put(Item::new(bad.clone(), 1, "{}"), Condition::Any).await, part);
        assert_invalid(at.store.add(bad.clone(), 1, Condition::Any).await, part);
        assert_invalid(at.store.delete(bad.clone(), Condition::Any).await, part);
        let check = Action::Check { key: bad, condition: Condition::Any };
        assert_invalid(at.store.transact(vec![put(item("a", 1), Condition::Any), check]).await, part);
    }
    assert_nothing_stored(&at.store).await;
}

pub(crate) async fn long_keys(at: Bench) {
    let partition = Key::new("x".repeat(PARTITION_BYTES_MAX + 1), "s");
    let sort = Key::new("p", "ö".repeat(SORT_BYTES_MAX / 2 + 1));
    for (bad, names) in [(partition, "partition: 2049 bytes"), (sort, "sort: 1026 bytes")] {
        assert_invalid(at.store.get(&bad).await, names);
        assert_invalid(at.store.put(Item::new(bad, 1, "{}"), Condition::Any).await, names);
    }
    assert_nothing_stored(&at.store).await;
}

pub(crate) async fn keys_at_the_limit(at: Bench) {
    let long = Key::new("x".repeat(PARTITION_BYTES_MAX), "ö".repeat(SORT_BYTES_MAX / 2));
    let index = Key::new("y".repeat(PARTITION_BYTES_MAX), "z".repeat(SORT_BYTES_MAX));
    let stored = Item { index: Some(index.clone()), ..Item::new(long.clone(), 1, "{}") };
    let other = Item { key: Key::new(long.partition.clone(), "a"), ..stored.clone() };
    at.store.put(stored.clone(), Condition::Absent).await.unwrap();
    at.store.put(other, Condition::Absent).await.unwrap();
    assert_eq!(at.store.get(&long).await.unwrap(), Some(stored));
    assert_eq!(all_pages(&at.store, Query::all(long.partition, 1), false).await.len(), 2);
    assert_eq!(all_pages(&at.store, Query::all(index.partition, 1), true).await.len(), 2);
}

pub(crate) async fn index_keys(at: Bench) {
    for index in [Key::new("", "s"), Key::new("p", ""), Key::new("p", "x".repeat(SORT_BYTES_MAX + 1))] {
        let bad = Item { index: Some(index), ..item("a", 1) };
        assert_invalid(at.store.put(bad, Condition::Any).await, "actions[0].item.index");
    }
    assert_nothing_stored(&at.store).await;
}

pub(crate) async fn page_sizes(at: Bench) {
    for limit in [0, PAGE_ITEMS_MAX + 1, u32::MAX] {
        assert_invalid(at.store.query(&Query::all("p", limit)).await, "query.limit");
        assert_invalid(at.store.query_index(&Query::all("p", limit)).await, "query.limit");
    }
    at.store.query(&Query::all("p", PAGE_ITEMS_MAX)).await.unwrap();
}

pub(crate) async fn ranges(at: Bench) {
    let long = "x".repeat(SORT_BYTES_MAX + 1);
    assert_invalid(at.store.query(&Query::all("", 1)).await, "query.partition");
    assert_invalid(at.store.query(&Query::prefix("p", long.clone(), 1)).await, "query.range.prefix");
    for (first, last, names) in [("b", "a", "query.range"), ("", "a", "query.range.from"), ("a", &long, "range.to")] {
        let range = Range::Between(first.to_owned(), last.to_owned());
        assert_invalid(at.store.query(&Query { range, ..Query::all("p", 1) }).await, names);
    }
}

pub(crate) async fn large_numbers(at: Bench) {
    let large = NUMBER_MAX + 1;
    assert_invalid(at.store.put(item("a", large), Condition::Any).await, "item.version");
    let late = Item { expires_at_ms: Some(large), ..item("a", 1) };
    assert_invalid(at.store.put(late, Condition::Any).await, "item.expires_at_ms");
    assert_invalid(at.store.delete(key("a"), Condition::Version(large)).await, "condition.version");
    let last = Item { expires_at_ms: Some(NUMBER_MAX), ..item("a", NUMBER_MAX) };
    at.store.put(last.clone(), Condition::Any).await.unwrap();
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(last));
}
