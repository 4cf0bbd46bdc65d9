use std::time::Duration;

use super::*;

const LIFE_MS: u64 = 1_500;

fn mortal(at: &Bench, sort: &str) -> Item {
    Item { expires_at_ms: Some(at.clock.now_ms() + LIFE_MS), counter: 5, ..item(sort, 1) }
}

fn pass_away(at: &Bench) {
    at.hand.advance(Duration::from_millis(LIFE_MS));
}

pub(crate) async fn absent_from_its_moment_on(at: Bench) {
    at.store.put(mortal(&at, "a"), Condition::Any).await.unwrap();
    at.hand.advance(Duration::from_millis(LIFE_MS - 1));
    assert!(at.store.get(&key("a")).await.unwrap().is_some(), "a millisecond early");
    at.hand.advance(Duration::from_millis(1));
    assert_eq!(at.store.get(&key("a")).await.unwrap(), None);
}

pub(crate) async fn gone_from_listings(at: Bench) {
    for number in 0..30 {
        let mut some = if number % 3 == 0 { item("", 1) } else { mortal(&at, "") };
        some.key.sort = format!("n{number:02}");
        some.index = Some(Key::new("i", some.key.sort.clone()));
        at.store.put(some, Condition::Absent).await.unwrap();
    }
    assert_eq!(all_pages(&at.store, Query::all("p", 4), false).await.len(), 30);
    pass_away(&at);
    let left: Vec<_> = (0..30).step_by(3).map(|number| format!("n{number:02}")).collect();
    for in_index in [false, true] {
        for limit in [1, 4, 100] {
            let partition = if in_index { "i" } else { "p" };
            let found = all_pages(&at.store, Query::all(partition, limit), in_index).await;
            let found: Vec<_> = found.into_iter().map(|item| item.key.sort).collect();
            assert_eq!(found, left, "index {in_index}, pages of {limit}");
        }
    }
}

pub(crate) async fn conditions_see_nothing(at: Bench) {
    for sort in ["a", "b", "c", "d"] {
        at.store.put(mortal(&at, sort), Condition::Any).await.unwrap();
    }
    assert_conflict(at.store.put(item("a", 2), Condition::Absent).await, 0);
    pass_away(&at);
    assert_conflict(at.store.put(item("a", 2), Condition::Exists).await, 0);
    assert_conflict(at.store.put(item("a", 2), Condition::Version(1)).await, 0);
    assert_conflict(at.store.delete(key("b"), Condition::Exists).await, 0);
    assert_conflict(at.store.add(key("c"), 1, Condition::Version(1)).await, 0);
    assert_conflict(at.store.transact(vec![Action::Check { key: key("d"), condition: Condition::Exists }]).await, 0);
    at.store.transact(vec![Action::Check { key: key("d"), condition: Condition::Absent }]).await.unwrap();
    at.store.put(item("a", 2), Condition::Absent).await.unwrap();
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(item("a", 2)));
}

pub(crate) async fn an_add_starts_anew(at: Bench) {
    at.store.put(mortal(&at, "a"), Condition::Any).await.unwrap();
    at.store.put(mortal(&at, "b"), Condition::Any).await.unwrap();
    at.store.add(key("a"), 2, Condition::Exists).await.unwrap();
    assert_eq!(at.store.get(&key("a")).await.unwrap().unwrap().counter, 7);
    pass_away(&at);
    at.store.add(key("a"), 2, Condition::Any).await.unwrap();
    at.store.add(key("b"), 3, Condition::Absent).await.unwrap();
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(Item { counter: 2, ..Item::new(key("a"), 0, "{}") }));
    assert_eq!(at.store.get(&key("b")).await.unwrap(), Some(Item { counter: 3, ..Item::new(key("b"), 0, "{}") }));
}

pub(crate) async fn a_put_over_it(at: Bench) {
    at.store.put(mortal(&at, "a"), Condition::Any).await.unwrap();
    at.store.put(item("a", 2), Condition::Version(1)).await.unwrap();
    pass_away(&at);
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(item("a", 2)), "the new item has no end");
}

pub(crate) async fn time_never_runs_out_without_expiry(at: Bench) {
    at.store.put(item("a", 1), Condition::Any).await.unwrap();
    at.hand.advance(Duration::from_secs(100 * 365 * 24 * 3_600));
    assert_eq!(at.store.get(&key("a")).await.unwrap(), Some(item("a", 1)));
}

pub(crate) async fn gone_from_transactions(at: Bench) {
    at.store.put(mortal(&at, "lease"), Condition::Any).await.unwrap();
    pass_away(&at);
    let claim = vec![
        put(item("a", 1), Condition::Absent),
        Action::Add { key: key("lease"), delta: 1, condition: Condition::Any },
        Action::Check { key: key("b"), condition: Condition::Absent },
    ];
    at.store.transact(claim.clone()).await.unwrap();
    assert_eq!(at.store.get(&key("lease")).await.unwrap().unwrap().counter, 1);
    assert_conflict(at.store.transact(claim).await, 0);
    assert_eq!(at.store.get(&key("lease")).await.unwrap().unwrap().counter, 1);
}
