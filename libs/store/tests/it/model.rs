//! Random work on a real table against the same work on a map.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use store::{Action, Condition, Item, Key, Query, Range};

use crate::conformance::{Bench, all_pages};

const SORTS: [&str; 6] = ["a", "a#", "a#1", "ab", "b", "ö"];

#[derive(Clone, Debug)]
enum Step {
    Transact(Vec<Draft>),
    Wait(u64),
    List { range: Range, descending: bool, limit: u32 },
}

/// An action whose expiry counts from the moment it is done.
#[derive(Clone, Debug)]
struct Draft {
    sort: usize,
    kind: u8,
    condition: Condition,
    number: i64,
    life_ms: Option<u64>,
    indexed: bool,
}

fn draft() -> impl Strategy<Value = Draft> {
    let condition = prop_oneof![
        4 => Just(Condition::Any),
        2 => Just(Condition::Absent),
        2 => Just(Condition::Exists),
        2 => (0_u64..3).prop_map(Condition::Version),
        2 => (-2_i64..3).prop_map(Condition::Counter),
    ];
    let life_ms = proptest::option::of(1_u64..40);
    (0..SORTS.len(), 0_u8..5, condition, -9_i64..9, life_ms, any::<bool>()).prop_map(
        |(sort, kind, condition, number, life_ms, indexed)| Draft { sort, kind, condition, number, life_ms, indexed },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let sort = || (0..SORTS.len()).prop_map(|at| SORTS[at].to_owned());
    let range = prop_oneof![
        Just(Range::All),
        sort().prop_map(Range::Prefix),
        (sort(), sort()).prop_map(|(a, b)| if a <= b { Range::Between(a, b) } else { Range::Between(b, a) }),
    ];
    prop_oneof![
        6 => proptest::collection::vec(draft(), 1..5).prop_map(Step::Transact),
        2 => (1_u64..30).prop_map(Step::Wait),
        3 => (range, any::<bool>(), 1_u32..8)
            .prop_map(|(range, descending, limit)| Step::List { range, descending, limit }),
    ]
}

/// Runs `cases` random histories, each on what `open` gives (its argument counts them).
pub(crate) fn check(cases: u32, open: impl AsyncFn(u32) -> Bench) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut number = 0;
    let number = std::cell::Cell::from_mut(&mut number);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let checked = TestRunner::new(config).run(&proptest::collection::vec(step(), 1..30), |steps| {
        number.set(number.get() + 1);
        runtime.block_on(async {
            let at = open(number.get()).await;
            let mut model = Model::default();
            for step in steps {
                model.step(&at, step).await;
            }
        });
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}

#[derive(Default)]
struct Model {
    items: BTreeMap<String, Item>,
}

impl Model {
    async fn step(&mut self, at: &Bench, step: Step) {
        match step {
            Step::Wait(millis) => at.hand.advance(Duration::from_millis(millis)),
            Step::Transact(drafts) => {
                let actions = actions(drafts, at.clock.now_ms());
                let expected = self.transact(&actions, at.clock.now_ms());
                match at.store.transact(actions).await {
                    Ok(()) => assert_eq!(expected, None),
                    Err(error) => assert!(expected.is_some() && error.conflict() == expected, "{expected:?}: {error}"),
                }
            }
            Step::List { range, descending, limit } => self.list(at, &range, descending, limit).await,
        }
    }

    fn standing(&self, sort: &str, now_ms: u64) -> Option<&Item> {
        self.items.get(sort).filter(|item| item.expires_at_ms.is_none_or(|end| end > now_ms))
    }

    /// The action that fails, if one does.
    fn transact(&mut self, actions: &[Action], now_ms: u64) -> Option<usize> {
        let failing = actions.iter().position(|action| {
            let (Action::Put { condition, .. }
            | Action::Add { condition, .. }
            | Action::Delete { condition, .. }
            | Action::Check { condition, .. }) = action;
            let stands = self.standing(&action.key().sort, now_ms);
            let version = stands.map(|item| item.version);
            match condition {
                Condition::Any => false,
                Condition::Absent => version.is_some(),
                Condition::Exists => version.is_none(),
                Condition::Version(wanted) => version != Some(*wanted),
                Condition::Counter(wanted) => stands.is_none_or(|item| item.counter != *wanted),
            }
        });
        if failing.is_some() {
            return failing;
        }
        for action in actions {
            let sort = action.key().sort.clone();
            match action {
                Action::Put { item, .. } => drop(self.items.insert(sort, item.clone())),
                Action::Delete { .. } => drop(self.items.remove(&sort)),
                Action::Check { .. } => {}
                Action::Add { key, delta, .. } => {
                    let old = self.standing(&sort, now_ms).cloned();
                    let mut item = old.unwrap_or_else(|| Item::new(key.clone(), 0, "{}"));
                    item.counter += delta;
                    self.items.insert(sort, item);
                }
            }
        }
        None
    }

    async fn list(&self, at: &Bench, range: &Range, descending: bool, limit: u32) {
        let now_ms = at.clock.now_ms();
        let within = |sort: &str| match range {
            Range::All => true,
            Range::Prefix(prefix) => sort.starts_with(prefix),
            Range::Between(first, last) => first.as_str() <= sort && sort <= last.as_str(),
        };
        let standing = || self.items.keys().filter_map(|sort| self.standing(sort, now_ms));
        let mut expected: Vec<_> = standing().filter(|item| within(&item.key.sort)).cloned().collect();
        let of = |partition: &str| Query { range: range.clone(), descending, ..Query::all(partition, limit) };
        if descending {
            expected.reverse();
        }
        assert_eq!(all_pages(&at.store, of("p"), false).await, expected);

        // Items of one index key come in no promised order: compared as a set.
        let indexed = standing().filter(|item| item.index.as_ref().is_some_and(|index| within(&index.sort)));
        let expected: BTreeSet<_> = indexed.map(|item| item.key.sort.clone()).collect();
        let found = all_pages(&at.store, of("i"), true).await;
        assert_eq!(found.len(), expected.len());
        assert_eq!(found.into_iter().map(|item| item.key.sort).collect::<BTreeSet<_>>(), expected);

        for sort in SORTS {
            let found = at.store.get(&Key::new("p", sort)).await.unwrap();
            assert_eq!(found.as_ref(), self.standing(sort, now_ms), "{sort}");
        }
    }
}

fn actions(drafts: Vec<Draft>, now_ms: u64) -> Vec<Action> {
    let mut seen = BTreeSet::new();
    let once = drafts.into_iter().filter(|draft| seen.insert(draft.sort)).collect::<Vec<_>>();
    let action = |Draft { sort, kind, condition, number, life_ms, indexed }: Draft| {
        let key = Key::new("p", SORTS[sort]);
        match kind {
            0 => Action::Delete { key, condition },
            1 => Action::Check { key, condition },
            2 => Action::Add { key, delta: number, condition },
            _ => {
                let mut item = Item::new(key, number.unsigned_abs() % 3, format!("{number}"));
                item.expires_at_ms = life_ms.map(|life_ms| now_ms + life_ms);
                item.counter = number;
                item.index = indexed.then(|| Key::new("i", SORTS[number.unsigned_abs() as usize % SORTS.len()]));
                Action::Put { item, condition }
            }
        }
    };
    once.into_iter().map(action).collect()
}
