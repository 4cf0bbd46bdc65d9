use std::future::Future;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Handle;

use super::*;

const THREADS: usize = 16;
const ROUNDS: usize = 12;

/// Runs `work` on 16 threads at once; they start together.
async fn on_threads<T, F>(work: impl Fn(usize) -> F + Send + Sync + 'static) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let runtime = Handle::current();
    let racing = move || {
        let start = Arc::new(std::sync::Barrier::new(THREADS));
        let work = &work;
        let runtime = &runtime;
        thread::scope(|scope| {
            let racers: Vec<_> = (0..THREADS)
                .map(|number| {
                    let start = Arc::clone(&start);
                    scope.spawn(move || {
                        start.wait();
                        runtime.block_on(work(number))
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        })
    };
    tokio::task::spawn_blocking(racing).await.unwrap()
}

/// Does it until the backend says that it happened or that the condition did not hold; true when it happened.
async fn until_decided(store: &Store, actions: Vec<Action>) -> bool {
    for _ in 0..1_000 {
        match store.transact(actions.clone()).await {
            Ok(()) => return true,
            Err(error) if error.conflict().is_some() => return false,
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Contended, "{error}"),
        }
    }
    panic!("contended a thousand times");
}

pub(crate) async fn one_winner_of_a_put(at: Bench) {
    for round in 0..ROUNDS {
        let (store, sort) = (at.store.clone(), format!("r{round}"));
        let won = on_threads(move |number| {
            let action = put(item(&sort, number as u64), Condition::Absent);
            let store = store.clone();
            async move { until_decided(&store, vec![action]).await }
        })
        .await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}");
        let winner = won.iter().position(|won| *won).unwrap() as u64;
        assert_eq!(at.store.get(&key(&format!("r{round}"))).await.unwrap().unwrap().version, winner);
    }
}

pub(crate) async fn one_winner_of_a_version(at: Bench) {
    at.store.put(item("a", 0), Condition::Any).await.unwrap();
    for round in 0..ROUNDS as u64 {
        let store = at.store.clone();
        let won = on_threads(move |_| {
            let action = put(item("a", round + 1), Condition::Version(round));
            let store = store.clone();
            async move { until_decided(&store, vec![action]).await }
        })
        .await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}");
    }
    assert_eq!(at.store.get(&key("a")).await.unwrap().unwrap().version, ROUNDS as u64);
}

pub(crate) async fn one_winner_of_a_transaction(at: Bench) {
    for round in 0..ROUNDS {
        let store = at.store.clone();
        let won = on_threads(move |number| {
            // Each racer writes a row of its own beside the one they race for: losers must leave nothing.
            let actions = vec![
                put(item(&format!("r{round}#own{number:02}"), 1), Condition::Absent),
                Action::Add { key: key(&format!("r{round}#sum")), delta: 1, condition: Condition::Any },
                put(item(&format!("r{round}#prize"), number as u64), Condition::Absent),
            ];
            let store = store.clone();
            async move { until_decided(&store, actions).await }
        })
        .await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}");
        let winner = won.iter().position(|won| *won).unwrap();
        let page = at.store.query(&Query::prefix("p", format!("r{round}#"), 100)).await.unwrap();
        let expected = [format!("r{round}#own{winner:02}"), format!("r{round}#prize"), format!("r{round}#sum")];
        assert_eq!(sorts(&page), expected, "round {round}");
        assert_eq!(page.items[2].counter, 1);
    }
}

pub(crate) async fn no_lost_adds(at: Bench) {
    const EACH: i64 = 10;
    let store = at.store.clone();
    let done = on_threads(move |_| {
        let store = store.clone();
        async move {
            for _ in 0..EACH {
                let add = Action::Add { key: key("sum"), delta: 3, condition: Condition::Any };
                assert!(until_decided(&store, vec![add]).await);
            }
        }
    })
    .await;
    assert_eq!(done.len(), THREADS);
    assert_eq!(at.store.get(&key("sum")).await.unwrap().unwrap().counter, 3 * EACH * THREADS as i64);
}

pub(crate) async fn crossing_transactions(at: Bench) {
    // Money moves between accounts in both directions at once; none is made or lost, and no reader sees half a move.
    for account in 0..4 {
        at.store.add(key(&format!("account{account}")), 100, Condition::Absent).await.unwrap();
    }
    let store = at.store.clone();
    on_threads(move |number| {
        let store = store.clone();
        async move {
            for step in 0..6 {
                let (from, to) = ((number + step) % 4, (number + step + 1 + number % 3) % 4);
                let add = |account: usize, delta| Action::Add {
                    key: key(&format!("account{account}")),
                    delta,
                    condition: Condition::Exists,
                };
                assert!(until_decided(&store, vec![add(from, -1), add(to, 1)]).await);
                let page = store.query(&Query::prefix("p", "account", 10)).await.unwrap();
                assert_eq!(page.items.len(), 4);
            }
        }
    })
    .await;
    let page = at.store.query(&Query::prefix("p", "account", 10)).await.unwrap();
    assert_eq!(page.items.iter().map(|item| item.counter).sum::<i64>(), 400);
}

pub(crate) async fn compare_and_set_loops(at: Bench) {
    at.store.put(item("a", 0), Condition::Absent).await.unwrap();
    let store = at.store.clone();
    on_threads(move |_| {
        let store = store.clone();
        async move {
            for _ in 0..1_000 {
                let seen = store.get(&key("a")).await.unwrap().unwrap().version;
                let next = put(item("a", seen + 1), Condition::Version(seen));
                if until_decided(&store, vec![next]).await {
                    return;
                }
            }
            panic!("lost a thousand times");
        }
    })
    .await;
    assert_eq!(at.store.get(&key("a")).await.unwrap().unwrap().version, THREADS as u64);
}
