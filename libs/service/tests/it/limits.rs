//! Rate limits: several replicas over one store, under a clock that only the test moves.

mod desk;
mod stores;

use std::collections::BTreeMap;
use std::time::Duration;

use clock::{Clock, Entropy, ManualClock};
use service::limits::{FailMode, Limiter, LimiterSettings, Policy, Verdict};
use store::{Condition, Key, Store};

use self::stores::Flaky;

pub(crate) const START_MS: u64 = 1_790_000_000_000;
const POLICY: Policy = Policy { name: "calls", quota: 100, window_ms: 10_000 };

/// A store, its clock, and what must live as long.
pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) hand: ManualClock,
    pub(crate) flaky: std::sync::Arc<Flaky>,
    _holds: Box<dyn std::any::Any>,
}

impl Bench {
    fn replica(&self, settings: LimiterSettings) -> Limiter {
        Limiter::new(self.store.clone(), self.clock.clone(), &Entropy::system(), settings)
    }

    fn replicas(&self, count: usize) -> Vec<Limiter> {
        (0..count).map(|_| self.replica(LimiterSettings::default())).collect()
    }
}

fn passes(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Allowed(_) | Verdict::Unknown { passes: true } => true,
        Verdict::Refused(standing) => {
            assert!(standing.wait_ms > 0 && standing.remaining == 0, "{standing:?}");
            false
        }
        Verdict::Unknown { passes: false } => false,
    }
}

/// Random callers at random replicas, some of which are killed and replaced.
async fn random_work(bench: &Bench, rounds: usize) {
    let random = Entropy::seeded(7);
    let mut replicas = bench.replicas(4);
    let mut passed: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut refused = 0;
    for _ in 0..rounds {
        bench.hand.advance(Duration::from_millis([0, 1, 40, 700][usize::try_from(random.up_to(3)).unwrap()]));
        let at = usize::try_from(random.up_to(3)).unwrap();
        if random.up_to(60) == 0 {
            replicas[at] = bench.replica(LimiterSettings::default());
        }
        let key = ["a", "b"][usize::try_from(random.up_to(1)).unwrap()];
        for _ in 0..random.up_to(20) {
            if passes(replicas[at].take(&POLICY, key).await) {
                passed.entry(key).or_default().push(bench.clock.now_ms());
            } else {
                refused += 1;
            }
        }
    }
    assert!(refused > rounds, "the limit was reached often: {refused}");
    for (key, passed) in passed {
        assert!(passed.len() > rounds, "{key}: much passed: {}", passed.len());
        assert_overshoot(key, &passed);
    }
}

/// In every period at most one in a hundred more than the policy says.
fn assert_overshoot(key: &str, passed: &[u64]) {
    let mut worst = 0.0_f64;
    for (first, begin) in passed.iter().enumerate() {
        for (last, end) in passed.iter().enumerate().skip(first) {
            let may = POLICY.quota as f64 + (end - begin) as f64 * POLICY.quota as f64 / POLICY.window_ms as f64;
            worst = worst.max((last - first + 1) as f64 / may);
        }
    }
    assert!(worst <= 1.01, "{key}: {worst} times what the policy says");
}

async fn overshoot(bench: Bench) {
    random_work(&bench, 300).await;
}

/// All replicas at once, on as many threads as there are: nothing passes twice.
async fn at_once(bench: Bench) {
    let replicas = bench.replicas(4);
    let callers = (0..16).map(|number| {
        let limiter = replicas[number % 4].clone();
        tokio::spawn(async move {
            let mut passed = 0_u64;
            for _ in 0..40 {
                if let Verdict::Allowed(_) = limiter.take(&POLICY, "k").await {
                    passed += 1;
                }
            }
            passed
        })
    });
    let mut passed = 0;
    for caller in callers.collect::<Vec<_>>() {
        passed += caller.await.unwrap();
    }
    // The clock stands still: not one more, and what one replica still holds of a lease at most is missing.
    assert!((75..=100).contains(&passed), "{passed}");
}

async fn a_restart_forgets_nothing(bench: Bench) {
    let before = bench.replica(LimiterSettings::default());
    while passes(before.take(&POLICY, "k").await) {}
    drop(before);
    let after = bench.replica(LimiterSettings::default());
    assert!(!passes(after.take(&POLICY, "k").await));
    assert!(passes(after.take(&POLICY, "another").await), "keys have buckets of their own");
    bench.hand.advance(Duration::from_millis(100));
    assert!(passes(after.take(&POLICY, "k").await));
    assert!(!passes(after.take(&POLICY, "k").await));
}

async fn refused_calls_take_nothing(bench: Bench) {
    let limiter = bench.replica(LimiterSettings::default());
    while passes(limiter.take(&POLICY, "k").await) {}
    let bucket = Key::new("limit#calls#k", "bucket");
    let before = bench.store.get(&bucket).await.unwrap().unwrap();
    let writes = bench.flaky.writes();
    for _ in 0..50 {
        assert!(!passes(limiter.take(&POLICY, "k").await));
    }
    assert_eq!(bench.flaky.writes(), writes, "the store was not written");
    assert_eq!(bench.store.get(&bucket).await.unwrap().unwrap(), before);
    // Nor does asking all the time keep the next one away.
    let mut passed = 0;
    for _ in 0..1_000 {
        bench.hand.advance(Duration::from_millis(10));
        passed += u64::from(passes(limiter.take(&POLICY, "k").await));
    }
    assert_eq!(passed, 100, "a window's worth in a window");
}

async fn without_the_store(bench: Bench) {
    let settings = |when_unknown| LimiterSettings { when_unknown, ..LimiterSettings::default() };
    let (open, closed) = (bench.replica(settings(FailMode::Open)), bench.replica(settings(FailMode::Closed)));
    bench.flaky.away(true);
    assert_eq!(open.take(&POLICY, "k").await, Verdict::Unknown { passes: true });
    assert_eq!(closed.take(&POLICY, "k").await, Verdict::Unknown { passes: false });
    let asked = bench.flaky.reads();
    for _ in 0..100 {
        assert_eq!(open.take(&POLICY, "k").await, Verdict::Unknown { passes: true });
    }
    assert_eq!(bench.flaky.reads(), asked, "a store that failed is left alone for a second");
    bench.flaky.away(false);
    bench.hand.advance(Duration::from_secs(1));
    assert!(matches!(open.take(&POLICY, "k").await, Verdict::Allowed(_)));
    assert!(matches!(closed.take(&POLICY, "k").await, Verdict::Allowed(_)));
    let hours = open.statistics();
    hours.flush().await.unwrap();
    let counted = hours.hours("calls", 0).await.unwrap();
    assert_eq!((counted.len(), counted[0].counts.errors, counted[0].counts.allowed), (1, 101, 1));
}

async fn a_store_that_hangs_costs_only_the_wait(bench: Bench) {
    let limiter = bench.replica(LimiterSettings::default());
    bench.flaky.hang(true);
    let taking = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.take(&POLICY, "k").await }
    });
    testkit::eventually(Duration::from_secs(60), "the store to be asked", async || {
        (bench.flaky.reads() > 0).then_some(())
    })
    .await;
    let verdict = testkit::eventually(Duration::from_secs(60), "the wait to end", async || {
        bench.hand.advance(Duration::from_millis(500));
        taking.is_finished().then_some(())
    });
    verdict.await;
    assert_eq!(taking.await.unwrap(), Verdict::Unknown { passes: true });
}

async fn keys_are_bounded(bench: Bench) {
    let limiter = bench.replica(LimiterSettings { max_keys: 64, ..LimiterSettings::default() });
    for number in 0..500 {
        assert!(passes(limiter.take(&POLICY, &format!("k{number}")).await));
        assert!(limiter.keys() <= 64);
    }
}

async fn statistics_are_of_all_replicas_and_end(bench: Bench) {
    let replicas = bench.replicas(2);
    for limiter in &replicas {
        for _ in 0..150 {
            limiter.take(&POLICY, "k").await;
        }
        limiter.statistics().flush().await.unwrap();
    }
    bench.hand.advance(Duration::from_secs(3_600));
    replicas[0].take(&POLICY, "k").await;
    replicas[0].statistics().flush().await.unwrap();
    let hours = replicas[1].statistics().hours("calls", 0).await.unwrap();
    assert_eq!(hours.len(), 2);
    let first = hours[0].counts;
    assert_eq!((first.allowed + first.blocked, first.errors), (300, 0));
    assert!((75..=100).contains(&first.allowed), "{first:?}");
    assert_eq!((hours[1].counts.allowed, hours[1].from_ms - hours[0].from_ms), (1, 3_600_000));
    let later = replicas[1].statistics().hours("calls", hours[1].from_ms).await.unwrap();
    assert_eq!(later, hours[1..]);
    bench.hand.advance(Duration::from_secs(29 * 86_400));
    assert_eq!(replicas[1].statistics().hours("calls", 0).await.unwrap().len(), 2, "kept for 30 days");
    bench.hand.advance(Duration::from_secs(2 * 86_400));
    assert_eq!(replicas[1].statistics().hours("calls", 0).await.unwrap().len(), 0);
}

async fn statistics_wait_for_the_store(bench: Bench) {
    let limiter = bench.replica(LimiterSettings::default());
    for _ in 0..3 {
        limiter.take(&POLICY, "k").await;
    }
    bench.flaky.away(true);
    limiter.statistics().flush().await.unwrap_err();
    bench.flaky.away(false);
    limiter.statistics().flush().await.unwrap();
    assert_eq!(limiter.statistics().hours("calls", 0).await.unwrap()[0].counts.allowed, 3);
    assert_eq!(limiter.statistics().reset("calls").await.unwrap(), 3);
    assert_eq!(limiter.statistics().hours("calls", 0).await.unwrap(), []);
}

async fn a_bucket_that_is_none_is_an_error_of_the_store(bench: Bench) {
    let limiter = bench.replica(LimiterSettings::default());
    let broken = store::Item::new(Key::new("limit#calls#k", "bucket"), 1, "[]");
    bench.store.put(broken, Condition::Any).await.unwrap();
    assert_eq!(limiter.take(&POLICY, "k").await, Verdict::Unknown { passes: true });
    limiter.reset(&POLICY, "k").await.unwrap();
    bench.hand.advance(Duration::from_secs(1));
    assert!(matches!(limiter.take(&POLICY, "k").await, Verdict::Allowed(_)));
}

macro_rules! on_both_stores {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::stores::sqlite()).await;
            })*
        }
        mod dynamo {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::stores::dynamo().await).await;
            })*
        }
    };
}

on_both_stores! {
    overshoot, at_once, a_restart_forgets_nothing, refused_calls_take_nothing, without_the_store,
    a_store_that_hangs_costs_only_the_wait, keys_are_bounded, statistics_are_of_all_replicas_and_end,
    statistics_wait_for_the_store, a_bucket_that_is_none_is_an_error_of_the_store,
}
