use store::limits::{TRANSACTION_ACTIONS_MAX, TRANSACTION_BYTES_MAX, action_bytes};

use super::*;

pub(crate) async fn all_of_it(at: Bench) {
    let actions = vec![
        put(item("a", 1), Condition::Absent),
        put(item("b", 1), Condition::Any),
        Action::Add { key: Key::new("other", "c"), delta: 4, condition: Condition::Any },
    ];
    at.store.transact(actions).await.unwrap();
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(item("a", 1)));
    assert_eq!(at.store.get(&key("b")).await.unwrap(), Some(item("b", 1)));
    assert_eq!(at.store.get(&Key::new("other", "c")).await.unwrap().unwrap().counter, 4);
}

pub(crate) async fn none_of_it(at: Bench) {
    at.store.put(item("b", 1), Condition::Any).await.unwrap();
    let actions = vec![
        put(item("a", 1), Condition::Absent),
        Action::Delete { key: key("b"), condition: Condition::Exists },
        put(item("c", 2), Condition::Version(1)),
    ];
    assert_conflict(at.store.transact(actions).await, 2);
    assert_eq!(at.store.get(&key("a")).await.unwrap(), None);
    assert_eq!(at.store.get(&key("b")).await.unwrap(), Some(item("b", 1)));
    assert_eq!(at.store.get(&key("c")).await.unwrap(), None);
}

pub(crate) async fn the_first_that_fails(at: Bench) {
    let actions = vec![
        put(item("a", 1), Condition::Any),
        Action::Check { key: key("b"), condition: Condition::Absent },
        put(item("c", 1), Condition::Exists),
        Action::Add { key: key("d"), delta: 1, condition: Condition::Any },
        put(item("e", 1), Condition::Version(3)),
        Action::Delete { key: key("f"), condition: Condition::Exists },
    ];
    assert_conflict(at.store.transact(actions).await, 2);
}

pub(crate) async fn every_kind_at_once(at: Bench) {
    at.store.put(item("b", 1), Condition::Any).await.unwrap();
    at.store.put(item("d", 5), Condition::Any).await.unwrap();
    let actions = vec![
        put(item("a", 1), Condition::Absent),
        Action::Delete { key: key("b"), condition: Condition::Version(1) },
        Action::Add { key: key("c"), delta: -2, condition: Condition::Absent },
        Action::Check { key: key("d"), condition: Condition::Version(5) },
    ];
    at.store.transact(actions.clone()).await.unwrap();
    assert_eq!(sorts(&at.store.query(&Query::all("p", 10)).await.unwrap()), ["a", "c", "d"]);
    assert_conflict(at.store.transact(actions).await, 0);
}

pub(crate) async fn a_hundred_actions(at: Bench) {
    let actions: Vec<_> =
        (0..TRANSACTION_ACTIONS_MAX).map(|n| put(item(&format!("n{n:03}"), 1), Condition::Absent)).collect();
    at.store.transact(actions.clone()).await.unwrap();
    assert_eq!(at.store.query(&Query::all("p", 1_000)).await.unwrap().items.len(), 100);
    let mut again: Vec<_> =
        (0..TRANSACTION_ACTIONS_MAX).map(|n| put(item(&format!("m{n:03}"), 1), Condition::Absent)).collect();
    again[99] = actions[99].clone();
    assert_conflict(at.store.transact(again).await, 99);
    assert_eq!(at.store.query(&Query::all("p", 1_000)).await.unwrap().items.len(), 100);
}

pub(crate) async fn four_megabytes(at: Bench) {
    let mut actions: Vec<_> = (0..16)
        .map(|n| put(Item { body: "x".repeat(250_000), ..item(&format!("n{n:02}"), 1) }, Condition::Absent))
        .collect();
    let mut last = Item { body: String::new(), ..item("last", 1) };
    let so_far: usize = actions.iter().map(action_bytes).sum();
    let own = action_bytes(&put(last.clone(), Condition::Any));
    last.body = "y".repeat(TRANSACTION_BYTES_MAX - so_far - own);
    actions.push(put(last, Condition::Absent));
    at.store.transact(actions).await.unwrap();
    assert_eq!(all_pages(&at.store, Query::all("p", 100), false).await.len(), 17);
}

pub(crate) async fn a_failed_one_leaves_no_counter(at: Bench) {
    at.store.add(key("count"), 1, Condition::Any).await.unwrap();
    let actions = vec![
        Action::Add { key: key("count"), delta: 1, condition: Condition::Any },
        put(item("a", 1), Condition::Exists),
    ];
    assert_conflict(at.store.transact(actions).await, 1);
    assert_eq!(at.store.get(&key("count")).await.unwrap().unwrap().counter, 1);
}

pub(crate) async fn moving_an_item(at: Bench) {
    at.store.put(item("old", 1), Condition::Any).await.unwrap();
    let actions = vec![
        Action::Delete { key: key("old"), condition: Condition::Version(1) },
        put(item("new", 2), Condition::Absent),
    ];
    at.store.transact(actions.clone()).await.unwrap();
    assert_eq!(sorts(&at.store.query(&Query::all("p", 10)).await.unwrap()), ["new"]);
    assert_conflict(at.store.transact(actions).await, 0);
}

pub(crate) async fn one_that_waits_for_no_disk(at: Bench) {
    // Between durable ones and at the same time as them: the same answers, the same order.
    for round in 1..=3 {
        let sort = format!("a{round}");
        at.store.transact_unsynced(vec![put(item(&sort, 1), Condition::Absent)]).await.unwrap();
        assert_eq!(at.store.get(&key(&sort)).await.unwrap(), Some(item(&sort, 1)));
        assert_conflict(at.store.transact_unsynced(vec![put(item(&sort, 2), Condition::Absent)]).await, 0);
        at.store.put(item(&sort, 2), Condition::Version(1)).await.unwrap();
        let gone = Action::Delete { key: key(&sort), condition: Condition::Version(2) };
        let (gone, kept) = tokio::join!(
            at.store.transact_unsynced(vec![gone]),
            at.store.put(item(&format!("b{round}"), 1), Condition::Absent)
        );
        gone.unwrap();
        kept.unwrap();
        assert_eq!(at.store.get(&key(&sort)).await.unwrap(), None);
    }
    assert!(at.store.transact_unsynced(Vec::new()).await.is_err(), "the limits hold");
}
