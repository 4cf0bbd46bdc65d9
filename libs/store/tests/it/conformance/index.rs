use super::*;

fn indexed(sort: &str, index_sort: &str) -> Item {
    Item { index: Some(Key::new("i", index_sort)), ..item(sort, 1) }
}

async fn listed(store: &Store, query: Query) -> Vec<String> {
    all_pages(store, query, true).await.into_iter().map(|item| item.key.sort).collect()
}

pub(crate) async fn in_its_order(at: Bench) {
    for (sort, index_sort) in [("a", "3"), ("b", "1"), ("c", "2")] {
        at.store.put(indexed(sort, index_sort), Condition::Absent).await.unwrap();
    }
    at.store.put(item("d", 1), Condition::Absent).await.unwrap();
    let elsewhere = Item { index: Some(Key::new("j", "0")), ..item("e", 1) };
    at.store.put(elsewhere.clone(), Condition::Absent).await.unwrap();
    let page = at.store.query_index(&Query::all("i", 10)).await.unwrap();
    assert_eq!(page.items, [indexed("b", "1"), indexed("c", "2"), indexed("a", "3")]);
    assert_eq!(at.store.query_index(&Query::all("j", 10)).await.unwrap().items, [elsewhere]);
}

pub(crate) async fn by_page(at: Bench) {
    // Half of the items share their index key with another.
    for number in 0..40 {
        let mut wide = indexed(&format!("s{number:02}"), &format!("{:02}", number / 2));
        wide.key.partition = format!("p{}", number % 3);
        at.store.put(wide, Condition::Absent).await.unwrap();
    }
    for (limit, descending) in [(1, false), (3, false), (7, true), (40, false), (1, true)] {
        let found = all_pages(&at.store, Query { descending, ..Query::all("i", limit) }, true).await;
        let mut keys: Vec<_> = found.iter().map(|item| item.index.clone().unwrap().sort).collect();
        if descending {
            keys.reverse();
        }
        assert!(keys.is_sorted(), "pages of {limit}: {keys:?}");
        let mut items: Vec<_> = found.iter().map(|item| item.key.sort.clone()).collect();
        items.sort();
        items.dedup();
        assert_eq!((found.len(), items.len()), (40, 40), "pages of {limit}");
    }
}

pub(crate) async fn an_item_moves_in_the_index(at: Bench) {
    at.store.put(indexed("a", "1"), Condition::Absent).await.unwrap();
    at.store.put(indexed("b", "2"), Condition::Absent).await.unwrap();
    at.store.put(indexed("a", "3"), Condition::Exists).await.unwrap();
    assert_eq!(listed(&at.store, Query::all("i", 10)).await, ["b", "a"]);
    at.store.put(Item { index: Some(Key::new("j", "1")), ..item("a", 1) }, Condition::Exists).await.unwrap();
    assert_eq!(listed(&at.store, Query::all("i", 10)).await, ["b"]);
    assert_eq!(listed(&at.store, Query::all("j", 10)).await, ["a"]);
}

pub(crate) async fn an_item_leaves_the_index(at: Bench) {
    at.store.put(indexed("a", "1"), Condition::Absent).await.unwrap();
    at.store.put(item("a", 1), Condition::Exists).await.unwrap();
    assert_eq!(listed(&at.store, Query::all("i", 10)).await, [""; 0]);
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(item("a", 1)));
}

pub(crate) async fn a_deleted_item_leaves(at: Bench) {
    at.store.put(indexed("a", "1"), Condition::Absent).await.unwrap();
    at.store.delete(key("a"), Condition::Exists).await.unwrap();
    assert_eq!(listed(&at.store, Query::all("i", 10)).await, [""; 0]);
}

pub(crate) async fn prefix_and_descending(at: Bench) {
    for (sort, index_sort) in [("a", "x#1"), ("b", "x#2"), ("c", "x"), ("d", "y#1"), ("e", "x#3")] {
        at.store.put(indexed(sort, index_sort), Condition::Absent).await.unwrap();
    }
    assert_eq!(listed(&at.store, Query::prefix("i", "x#", 2)).await, ["a", "b", "e"]);
    let down = Query { descending: true, ..Query::prefix("i", "x#", 2) };
    assert_eq!(listed(&at.store, down).await, ["e", "b", "a"]);
    let range = store::Range::Between("x#2".to_owned(), "y".to_owned());
    assert_eq!(listed(&at.store, Query { range, ..Query::all("i", 1) }).await, ["b", "e"]);
}

pub(crate) async fn a_cursor_of_the_table(at: Bench) {
    for sort in ["a", "b"] {
        at.store.put(indexed(sort, sort), Condition::Absent).await.unwrap();
    }
    let next = at.store.query_index(&Query::all("i", 1)).await.unwrap().next;
    assert!(next.is_some());
    assert_invalid(at.store.query(&Query { after: next.clone(), ..Query::all("i", 1) }).await, "after");
    assert_invalid(at.store.query_index(&Query { after: next, ..Query::all("j", 1) }).await, "after");
}
