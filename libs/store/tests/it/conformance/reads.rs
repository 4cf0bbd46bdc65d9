use store::limits::{ITEM_BYTES_MAX, item_bytes};

use super::*;

pub(crate) async fn nothing_where_nothing_was_put(at: Bench) {
    assert_eq!(at.store.get(&key("a")).await.unwrap(), None);
}

pub(crate) async fn what_was_put(at: Bench) {
    let full = Item {
        key: key("a"),
        index: Some(Key::new("i", "b")),
        version: i64::MAX as u64,
        expires_at_ms: Some(at.clock.now_ms() + 1_234),
        counter: -7,
        body: r#"{"text":"\u0000 \"quoted\" ö"}"#.to_owned(),
    };
    at.store.put(full.clone(), Condition::Any).await.unwrap();
    at.store.put(item("b", 0), Condition::Any).await.unwrap();
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(full));
    assert_eq!(at.store.get(&key("b")).await.unwrap(), Some(item("b", 0)));
}

pub(crate) async fn a_later_put_replaces_everything(at: Bench) {
    let first = Item {
        index: Some(Key::new("i", "a")),
        expires_at_ms: Some(at.clock.now_ms() + 1_000),
        counter: 5,
        ..item("a", 1)
    };
    at.store.put(first, Condition::Any).await.unwrap();
    at.store.put(item("a", 2), Condition::Any).await.unwrap();
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(item("a", 2)));
}

pub(crate) async fn by_utf8_bytes(at: Bench) {
    // U+FF5E sorts before U+1F600 by UTF-8 bytes and after it by UTF-16 units.
    let expected = ["A", "B", "a", "b#1", "b#10", "b#2", "~", "ä", "\u{ff5e}", "\u{1f600}"];
    for sort in expected.iter().rev() {
        at.store.put(item(sort, 1), Condition::Any).await.unwrap();
    }
    assert_eq!(sorts(&at.store.query(&Query::all("p", 100)).await.unwrap()), expected);
}

pub(crate) async fn odd_characters(at: Bench) {
    for text in ["%_*?[]", "'; DROP TABLE item; --", "\u{1}\n\t", "a\u{10ffff}", "ключ/鍵/🔑", "e\u{301}", "é"]
    {
        let odd = Item::new(Key::new(text, text), 1, text);
        at.store.put(odd.clone(), Condition::Absent).await.unwrap();
        assert_eq!(at.store.get(&odd.key).await.unwrap(), Some(odd));
        let page = at.store.query(&Query::prefix(text, text, 10)).await.unwrap();
        assert_eq!(sorts(&page), [text]);
    }
}

pub(crate) async fn partitions_are_apart(at: Bench) {
    for partition in ["p", "p#", "q", "P"] {
        at.store.put(Item::new(Key::new(partition, "s"), 1, partition), Condition::Absent).await.unwrap();
    }
    let page = at.store.query(&Query::all("p", 10)).await.unwrap();
    assert_eq!(page.items, [Item::new(Key::new("p", "s"), 1, "p")]);
    assert_eq!(page.next, None);
}

pub(crate) async fn a_write_is_seen_by_the_next_read(at: Bench) {
    for version in 1..=50 {
        at.store.put(item("a", version), Condition::Any).await.unwrap();
        assert_eq!(at.store.get(&key("a")).await.unwrap().unwrap().version, version);
        assert_eq!(at.store.query(&Query::all("p", 1)).await.unwrap().items[0].version, version);
    }
}

pub(crate) async fn an_item_of_full_size(at: Bench) {
    let mut large = Item::new(key("large"), 1, "");
    large.body = "x".repeat(ITEM_BYTES_MAX - item_bytes(&large));
    at.store.put(large.clone(), Condition::Absent).await.unwrap();
    assert_eq!(at.store.get(&large.key).await.unwrap(), Some(large));
}
