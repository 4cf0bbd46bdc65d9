use store::Range;

use super::*;

async fn fill(store: &Store, sorts: impl IntoIterator<Item = String>) {
    let puts: Vec<_> = sorts.into_iter().map(|sort| put(item(&sort, 1), Condition::Any)).collect();
    for chunk in puts.chunks(100) {
        store.transact(chunk.to_vec()).await.unwrap();
    }
}

async fn fill_numbers(store: &Store, count: usize) -> Vec<String> {
    let numbers: Vec<_> = (0..count).map(|number| format!("n{number:04}")).collect();
    fill(store, numbers.clone()).await;
    numbers
}

pub(crate) async fn a_prefix(at: Bench) {
    fill(&at.store, ["a", "a#", "a#1", "a#2", "a$", "a#\u{10ffff}", "b#1"].map(str::to_owned)).await;
    let page = at.store.query(&Query::prefix("p", "a#", 100)).await.unwrap();
    assert_eq!(sorts(&page), ["a#", "a#1", "a#2", "a#\u{10ffff}"]);
    assert!(sorts(&at.store.query(&Query::prefix("p", "c", 100)).await.unwrap()).is_empty());
}

pub(crate) async fn an_empty_prefix_is_everything(at: Bench) {
    fill(&at.store, ["a", "b"].map(str::to_owned)).await;
    assert_eq!(sorts(&at.store.query(&Query::prefix("p", "", 100)).await.unwrap()), ["a", "b"]);
}

pub(crate) async fn between_includes_both_ends(at: Bench) {
    fill(&at.store, ["a", "b", "b1", "c", "d"].map(str::to_owned)).await;
    let range = |first: &str, last: &str| Query {
        range: Range::Between(first.to_owned(), last.to_owned()),
        ..Query::all("p", 100)
    };
    assert_eq!(sorts(&at.store.query(&range("b", "c")).await.unwrap()), ["b", "b1", "c"]);
    assert_eq!(sorts(&at.store.query(&range("b", "b")).await.unwrap()), ["b"]);
    assert!(sorts(&at.store.query(&range("e", "f")).await.unwrap()).is_empty());
}

pub(crate) async fn descending(at: Bench) {
    fill(&at.store, ["a", "b", "b1", "c", "d"].map(str::to_owned)).await;
    let down = Query { descending: true, ..Query::all("p", 2) };
    let page = at.store.query(&down).await.unwrap();
    assert_eq!(sorts(&page), ["d", "c"]);
    let all = all_pages(&at.store, down.clone(), false).await;
    assert_eq!(all.iter().map(|item| item.key.sort.as_str()).collect::<Vec<_>>(), ["d", "c", "b1", "b", "a"]);
    let some = Query { range: Range::Prefix("b".to_owned()), limit: 1, ..down };
    let all = all_pages(&at.store, some, false).await;
    assert_eq!(all.iter().map(|item| item.key.sort.as_str()).collect::<Vec<_>>(), ["b1", "b"]);
}

pub(crate) async fn to_the_end_by_cursor(at: Bench) {
    let numbers = fill_numbers(&at.store, 257).await;
    for limit in [1, 7, 100, 256, 257, 1_000] {
        let all = all_pages(&at.store, Query::all("p", limit), false).await;
        assert_eq!(all.into_iter().map(|item| item.key.sort).collect::<Vec<_>>(), numbers, "pages of {limit}");
    }
}

pub(crate) async fn an_exact_last_page(at: Bench) {
    fill_numbers(&at.store, 10).await;
    let first = at.store.query(&Query::all("p", 5)).await.unwrap();
    let second = at.store.query(&Query { after: first.next, ..Query::all("p", 5) }).await.unwrap();
    assert_eq!((first.items.len(), second.items.len()), (5, 5));
    // A backend may only know the end when it looked past it.
    if let Some(after) = second.next {
        let third = at.store.query(&Query { after: Some(after), ..Query::all("p", 5) }).await.unwrap();
        assert_eq!(third, Page::default());
    }
}

pub(crate) async fn items_put_between_pages(at: Bench) {
    fill(&at.store, ["b", "d", "f", "h"].map(str::to_owned)).await;
    let first = at.store.query(&Query::all("p", 2)).await.unwrap();
    assert_eq!(sorts(&first), ["b", "d"]);
    // Before the cursor, right behind it, and at the end.
    fill(&at.store, ["a", "c", "d0", "z"].map(str::to_owned)).await;
    let second = at.store.query(&Query { after: first.next, ..Query::all("p", 2) }).await.unwrap();
    assert_eq!(sorts(&second), ["d0", "f"]);
    fill(&at.store, ["e", "g"].map(str::to_owned)).await;
    let third = at.store.query(&Query { after: second.next, ..Query::all("p", 10) }).await.unwrap();
    assert_eq!(sorts(&third), ["g", "h", "z"]);
}

pub(crate) async fn items_deleted_between_pages(at: Bench) {
    fill(&at.store, ["a", "b", "c", "d"].map(str::to_owned)).await;
    let first = at.store.query(&Query::all("p", 2)).await.unwrap();
    // The item the cursor stands on, and one that follows.
    at.store.delete(key("b"), Condition::Exists).await.unwrap();
    at.store.delete(key("c"), Condition::Exists).await.unwrap();
    let second = at.store.query(&Query { after: first.next, ..Query::all("p", 2) }).await.unwrap();
    assert_eq!(sorts(&second), ["d"]);
}

pub(crate) async fn a_page_ends_at_its_bytes(at: Bench) {
    let large = |sort: String| Item { body: "x".repeat(300 * 1024), ..item(&sort, 1) };
    for number in 0..10 {
        at.store.put(large(format!("n{number}")), Condition::Absent).await.unwrap();
    }
    let first = at.store.query(&Query::all("p", 100)).await.unwrap();
    assert!(first.next.is_some(), "3 MB in one page");
    assert!((1..=5).contains(&first.items.len()), "{}", first.items.len());
    assert_eq!(all_pages(&at.store, Query::all("p", 100), false).await.len(), 10);
}

pub(crate) async fn a_cursor_of_another_query(at: Bench) {
    fill_numbers(&at.store, 3).await;
    let next = at.store.query(&Query::all("p", 1)).await.unwrap().next;
    assert!(next.is_some());
    assert_invalid(at.store.query(&Query { after: next.clone(), ..Query::all("q", 1) }).await, "after");
    assert_invalid(at.store.query(&Query { after: next.clone(), ..Query::prefix("p", "other", 1) }).await, "after");
    assert_invalid(at.store.query_index(&Query { after: next, ..Query::all("p", 1) }).await, "after");
}

pub(crate) async fn a_cursor_made_up(at: Bench) {
    fill_numbers(&at.store, 3).await;
    for text in ["", "x", "bm90IGpzb24", "WzEsMl0", "WyJhIl0", "WyIiLCIiXQ", "!!!", &"A".repeat(1_000_000)] {
        assert_invalid(Cursor::parse(text), "after");
    }
    let next = at.store.query(&Query::all("p", 1)).await.unwrap().next.unwrap();
    assert_eq!(Cursor::parse(&next.to_string()).unwrap(), next);
}

pub(crate) async fn an_empty_partition(at: Bench) {
    assert_eq!(at.store.query(&Query::all("p", 10)).await.unwrap(), Page::default());
    assert_eq!(at.store.query_index(&Query::all("p", 10)).await.unwrap(), Page::default());
}
