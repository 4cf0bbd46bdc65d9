use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::Envelope;
use clock::{Clock, ManualClock};
use outbox::{ConsumeOptions, Effects, Failure, Options, Order, RetryBudget, RetryPolicy, Subscription};
use testkit::eventually;

use crate::fixture::*;
use crate::wire::{Hand, Wire, Word};

const POLICY: RetryPolicy = RetryPolicy {
    max_attempts: 6,
    initial: Duration::from_millis(100),
    max: Duration::from_millis(1_000),
    attempt_timeout: Duration::from_secs(2),
};
static SLOWLY: [Subscription; 1] =
    [Subscription { kind: NOTED, retry: POLICY, order: Order::Every, effects: Effects::Local }];
static LATEST_SLOWLY: [Subscription; 1] =
    [Subscription { kind: NOTED, retry: POLICY, order: Order::LatestWins, effects: Effects::Local }];

struct Bench {
    world: World,
    hand: Hand,
    time: ManualClock,
    tries: Arc<Mutex<Vec<u64>>>,
}

impl Bench {
    fn new() -> Self {
        let (clock, time) = Clock::manual(1_000_000);
        let wire = Wire::new(bus(&clock));
        let hand = wire.by_hand();
        Self { world: World::on(clock, wire.bus()), hand, time, tries: Arc::default() }
    }

    /// Notes when each try happens and fails as told.
    fn failing(&self, say: impl Fn(&Envelope) -> Result<(), Failure> + Send + Sync + 'static) -> Scribe {
        let (tries, clock) = (Arc::clone(&self.tries), self.world.clock.clone());
        Scribe::with(self.world.listener.store(), move |event| {
            tries.lock().unwrap().push(clock.now_ms());
            say(event)
        })
    }

    /// Moves the time on in small steps until there were so many tries.
    async fn until(&self, tries: usize) {
        eventually(SOON, &format!("{tries} tries"), async || {
            let seen = self.tries.lock().unwrap().len();
            if seen >= tries {
                return Ok(());
            }
            self.time.advance(Duration::from_millis(5));
            Err(seen)
        })
        .await;
    }

    fn waits(&self) -> Vec<u64> {
        self.tries.lock().unwrap().windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

fn transient() -> Result<(), Failure> {
    Err(Failure::Transient("not now".to_owned()))
}

#[tokio::test]
async fn waits_grow_to_their_bound_and_the_last_try_makes_a_dead_letter() {
    let bench = Bench::new();
    let consumer = Running::consumer(&bench.world.listener, &SLOWLY, bench.failing(|_| transient()));
    let mut fate = bench.hand.give(Ok(envelope("e-1", "peer/alice", 1, "plain")), 1).await;
    bench.until(6).await;
    assert_eq!(fate.settled().await, Word::Term("exhausted".to_owned()));
    let bounds = [100, 200, 400, 800, 1_000];
    for (wait, bound) in bench.waits().into_iter().zip(bounds) {
        // The clock moves in steps while the consumer gets to run; a few steps of slack.
        assert!(wait <= bound + 200, "{wait} ms where at most {bound} are allowed");
    }
    let letters = bench.world.listener.dead_letters().list(None, 10).await.unwrap().letters;
    assert_eq!((letters.len(), letters[0].attempts), (1, 6));
    assert_eq!(letters[0].error, "transient: not now");
    consumer.stop().await;
}

#[tokio::test]
async fn failed_tries_count_across_restarts() {
    let bench = Bench::new();
    let consumer = Running::consumer(&bench.world.listener, &SLOWLY, bench.failing(|_| transient()));
    let event = envelope("e-1", "peer/alice", 1, "plain");
    let mut fate = bench.hand.give(Ok(event.clone()), 1).await;
    bench.until(4).await;
    let record = store::Key::new("inbox#/synapse/presence#e-1", "listener");
    eventually(SOON, "the fourth failure on record", async || {
        let item = bench.world.listener.store().get(&record).await.unwrap();
        item.filter(|item| item.body.contains(r#""attempts":4"#))
    })
    .await;
    consumer.stop().await;
    assert_eq!(fate.settled().await, Word::Nak(Duration::ZERO), "given back in the middle of a wait");

    let wire = Wire::new(bus(&bench.world.clock));
    let hand = wire.by_hand();
    let again = outbox("listener", bench.world.listener.store(), &wire.bus(), &bench.world.clock, Options::default());
    let consumer = Running::consumer(&again, &SLOWLY, bench.failing(|_| transient()));
    let mut fate = hand.give(Ok(event), 2).await;
    bench.until(6).await;
    assert_eq!(fate.settled().await, Word::Term("exhausted".to_owned()));
    assert_eq!(bench.tries.lock().unwrap().len(), 6);
    consumer.stop().await;
}

#[tokio::test]
async fn a_waiting_event_holds_its_key_and_no_other() {
    let bench = Bench::new();
    let failures = AtomicU32::new(0);
    let scribe = bench.failing(move |event| {
        if event.sequence == 1 && text(event) == "later" && failures.fetch_add(1, Ordering::SeqCst) < 2 {
            return transient();
        }
        Ok(())
    });
    let consumer = Running::consumer(&bench.world.listener, &SLOWLY, scribe);
    let mut first = bench.hand.give(Ok(envelope("e-1", "peer/alice", 1, "later")), 1).await;
    let mut second = bench.hand.give(Ok(envelope("e-2", "peer/alice", 2, "plain")), 1).await;
    let mut other = bench.hand.give(Ok(envelope("e-3", "peer/bob", 1, "plain")), 1).await;
    assert_eq!(other.settled().await, Word::Ack);
    bench.until(5).await;
    assert_eq!((first.settled().await, second.settled().await), (Word::Ack, Word::Ack));
    assert_eq!(bench.world.trace().of("peer/alice").await, [1, 2]);
    consumer.stop().await;
}

#[tokio::test]
async fn a_throttled_event_waits_at_least_as_long_as_asked() {
    let bench = Bench::new();
    let failures = AtomicU32::new(0);
    let scribe = bench.failing(move |_| match failures.fetch_add(1, Ordering::SeqCst) {
        0 => Err(Failure::Throttled(Duration::from_millis(700), "slow down".to_owned())),
        _ => Ok(()),
    });
    let consumer = Running::consumer(&bench.world.listener, &SLOWLY, scribe);
    let mut fate = bench.hand.give(Ok(envelope("e-1", "peer/alice", 1, "plain")), 1).await;
    bench.until(2).await;
    assert!(bench.waits()[0] >= 700, "{:?}", bench.waits());
    assert_eq!(fate.settled().await, Word::Ack);
    consumer.stop().await;
}

#[tokio::test]
async fn a_long_wait_goes_back_to_the_broker_only_where_order_does_not_matter() {
    let throttled = |_: &Envelope| Err(Failure::Throttled(Duration::from_secs(60), "slow down".to_owned()));
    let bench = Bench::new();
    let consumer = Running::consumer(&bench.world.listener, &LATEST_SLOWLY, bench.failing(throttled));
    let mut fate = bench.hand.give(Ok(envelope("e-1", "peer/alice", 1, "plain")), 1).await;
    assert_eq!(fate.settled().await, Word::Nak(Duration::from_secs(60)));
    consumer.stop().await;

    let bench = Bench::new();
    let consumer = Running::consumer(&bench.world.listener, &SLOWLY, bench.failing(throttled));
    let mut fate = bench.hand.give(Ok(envelope("e-1", "peer/alice", 1, "plain")), 1).await;
    bench.until(1).await;
    eventually(SOON, "an extension", async || {
        bench.time.advance(Duration::from_secs(1));
        (!fate.is_open()).then_some(())
    })
    .await;
    assert_eq!(fate.next().await, Word::Extend);
    consumer.stop().await;
}

#[tokio::test]
async fn a_try_that_takes_too_long_or_panics_is_a_failed_try() {
    let bench = Bench::new();
    let tries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tries);
    let scribe = Scribe::slow(bench.world.listener.store(), move |_| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            match number {
                0 => std::future::pending().await,
                1 => panic!("a bug in the handler"),
                _ => Ok(()),
            }
        })
    });
    let consumer = Running::consumer(&bench.world.listener, &SLOWLY, scribe);
    let mut fate = bench.hand.give(Ok(envelope("e-1", "peer/alice", 1, "plain")), 1).await;
    eventually(SOON, "three tries", async || {
        bench.time.advance(Duration::from_millis(20));
        (tries.load(Ordering::SeqCst) == 3).then_some(())
    })
    .await;
    assert_eq!(fate.settled().await, Word::Ack);
    assert_eq!(bench.world.trace().of("peer/alice").await, [1]);
    consumer.stop().await;
}

#[tokio::test]
async fn without_budget_a_retry_waits_as_long_as_its_policy_allows() {
    let bench = Bench::new();
    let failures = AtomicU32::new(0);
    let scribe = bench.failing(move |_| if failures.fetch_add(1, Ordering::SeqCst) < 1 { transient() } else { Ok(()) });
    let options = ConsumeOptions { retry_budget: RetryBudget { ratio: 0.0, burst: 0 }, ..ConsumeOptions::default() };
    let consumer = Running::consumer_with(&bench.world.listener, &SLOWLY, scribe, options);
    let mut fate = bench.hand.give(Ok(envelope("e-1", "peer/alice", 1, "plain")), 1).await;
    bench.until(2).await;
    assert!(bench.waits()[0] >= 1_000, "{:?}", bench.waits());
    assert_eq!(fate.settled().await, Word::Ack);
    consumer.stop().await;
}
