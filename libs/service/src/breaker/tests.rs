#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use clock::ManualClock;
use proptest::prelude::*;

use super::*;

fn breaker(settings: BreakerSettings) -> (Breaker, ManualClock) {
    let (clock, hand) = Clock::manual(0);
    (Breaker::new("stripe", settings, clock), hand)
}

fn fail(breaker: &Breaker, times: u32) {
    (0..times).for_each(|_| breaker.try_acquire().unwrap().failure());
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn the_defaults_are_valid_and_as_documented() {
    let settings = BreakerSettings::default();
    assert!(settings.problems().is_empty());
    assert_eq!((settings.failure_threshold, settings.recovery_ms, settings.slow_call_ms), (5, 30_000, 2_000));
    assert_eq!(BreakerSettings { probes: 0, failure_rate: 1.5, ..settings }.problems().len(), 2);
}

#[test]
fn five_failures_in_a_row_open_it_for_thirty_seconds() {
    let (breaker, hand) = breaker(BreakerSettings::default());
    fail(&breaker, 4);
    breaker.try_acquire().unwrap().success();
    fail(&breaker, 4);
    assert_eq!(breaker.state(), BreakerState::Closed);
    fail(&breaker, 1);
    let open = breaker.try_acquire().unwrap_err();
    assert_eq!(open, BreakerOpen { name: "stripe", retry_after_ms: 30_000 });
    hand.advance(ms(29_999));
    assert_eq!(breaker.try_acquire().unwrap_err().retry_after_ms, 1);
    hand.advance(ms(1));
    let probe = breaker.try_acquire().unwrap();
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    probe.success();
}

#[test]
fn three_good_probes_close_it_and_one_bad_opens_it_again() {
    let (breaker, hand) = breaker(BreakerSettings::default());
    fail(&breaker, 5);
    hand.advance(ms(30_000));
    let probes = [(); 3].map(|()| breaker.try_acquire().unwrap());
    assert!(breaker.try_acquire().is_err(), "no more than three at once");
    let [first, second, third] = probes;
    first.success();
    second.failure();
    assert_eq!(breaker.state(), BreakerState::Open);
    third.success(); // too late to matter
    assert_eq!(breaker.try_acquire().unwrap_err().retry_after_ms, 30_000);
    hand.advance(ms(30_000));
    (0..3).for_each(|_| breaker.try_acquire().unwrap().success());
    assert_eq!(breaker.state(), BreakerState::Closed);
    let stats = breaker.stats();
    assert_eq!((stats.opened, stats.window_calls, stats.consecutive_failures), (2, 0, 0));
    assert_eq!((stats.successes, stats.failures, stats.rejected), (5, 6, 2));
}

#[test]
fn a_slow_success_is_a_failure() {
    let (breaker, hand) = breaker(BreakerSettings::default());
    for _ in 0..5 {
        let permit = breaker.try_acquire().unwrap();
        hand.advance(ms(2_001));
        permit.success();
    }
    assert_eq!(breaker.state(), BreakerState::Open);
    assert_eq!((breaker.stats().slow, breaker.stats().failures), (5, 5));
}

#[test]
fn exactly_two_seconds_are_not_slow() {
    let (breaker, hand) = breaker(BreakerSettings::default());
    let permit = breaker.try_acquire().unwrap();
    hand.advance(ms(2_000));
    permit.success();
    assert_eq!((breaker.stats().slow, breaker.stats().successes), (0, 1));
}

#[test]
fn half_of_twenty_calls_failing_opens_it_even_when_never_five_in_a_row() {
    let (breaker, _hand) = breaker(BreakerSettings::default());
    for _ in 0..9 {
        breaker.try_acquire().unwrap().failure();
        breaker.try_acquire().unwrap().success();
    }
    breaker.try_acquire().unwrap().success();
    assert_eq!(breaker.stats().window_calls, 19);
    assert_eq!(breaker.state(), BreakerState::Closed);
    breaker.try_acquire().unwrap().failure();
    assert_eq!(breaker.state(), BreakerState::Open, "10 of 20");
}

#[test]
fn old_calls_leave_the_window() {
    let (breaker, hand) = breaker(BreakerSettings { failure_threshold: 1_000, ..BreakerSettings::default() });
    fail(&breaker, 19);
    hand.advance(ms(60_000));
    fail(&breaker, 1);
    let stats = breaker.stats();
    assert_eq!((stats.state, stats.window_calls, stats.window_failures), (BreakerState::Closed, 1, 1));
}

#[test]
fn a_caller_that_gives_up_frees_its_probe_and_counts_only_when_slow() {
    let (breaker, hand) = breaker(BreakerSettings { probes: 1, ..BreakerSettings::default() });
    drop(breaker.try_acquire().unwrap());
    assert_eq!(breaker.stats().failures, 0);
    fail(&breaker, 5);
    hand.advance(ms(30_000));
    drop(breaker.try_acquire().unwrap());
    let again = breaker.try_acquire().unwrap();
    hand.advance(ms(2_001));
    drop(again);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[tokio::test]
async fn only_the_errors_that_are_its_fault_count() {
    let (breaker, _hand) = breaker(BreakerSettings::default());
    for _ in 0..5 {
        let outcome = breaker.call(async { Err::<(), _>("bad request") }, |error| *error != "bad request").await;
        assert_eq!(outcome, Ok(Err("bad request")));
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
    for _ in 0..5 {
        assert!(breaker.call(async { Err::<(), _>("down") }, |_| true).await.is_ok());
    }
    assert!(breaker.call(async { Ok::<_, ()>(()) }, |()| true).await.is_err());
}

/// The rules once more, without buckets' arithmetic: a list of calls.
struct Model {
    settings: BreakerSettings,
    state: BreakerState,
    open_until: u64,
    calls: VecDeque<(u64, bool)>,
    row: u32,
    probes: (u32, u32),
}

impl Model {
    fn acquire(&mut self, now: u64) -> bool {
        if self.state == BreakerState::Open && now >= self.open_until {
            self.state = BreakerState::HalfOpen;
            self.probes = (0, 0);
        }
        match self.state {
            BreakerState::Closed => true,
            BreakerState::Open => false,
            BreakerState::HalfOpen if self.probes.0 + self.probes.1 < self.settings.probes => {
                self.probes.0 += 1;
                true
            }
            BreakerState::HalfOpen => false,
        }
    }

    fn report(&mut self, good: bool, now: u64) {
        match self.state {
            BreakerState::Open => unreachable!("one call at a time"),
            BreakerState::HalfOpen if good => {
                self.probes = (self.probes.0 - 1, self.probes.1 + 1);
                if self.probes.1 == self.settings.probes {
                    (self.state, self.row) = (BreakerState::Closed, 0);
                    self.calls.clear();
                }
            }
            BreakerState::HalfOpen => self.open(now),
            BreakerState::Closed => {
                let part = self.settings.window_ms / 10;
                self.calls.push_back((now / part, good));
                self.calls.retain(|(number, _)| number + 10 > now / part);
                self.row = if good { 0 } else { self.row + 1 };
                let failed = self.calls.iter().filter(|(_, good)| !good).count();
                let often = self.calls.len() >= self.settings.min_requests as usize
                    && failed as f64 >= self.settings.failure_rate * self.calls.len() as f64;
                if !good && (self.row >= self.settings.failure_threshold || often) {
                    self.open(now);
                }
            }
        }
    }

    fn open(&mut self, now: u64) {
        self.state = BreakerState::Open;
        self.open_until = now + self.settings.recovery_ms;
    }
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(steps in prop::collection::vec((0u64..400, any::<bool>()), 1..300)) {
        let settings = BreakerSettings {
            failure_threshold: 4, window_ms: 1_000, min_requests: 6, recovery_ms: 500, probes: 2,
            ..BreakerSettings::default()
        };
        let (breaker, hand) = breaker(settings.clone());
        let (state, calls) = (BreakerState::Closed, VecDeque::new());
        let mut model = Model { settings, state, open_until: 0, calls, row: 0, probes: (0, 0) };
        let mut now = 0;
        for (wait, good) in steps {
            hand.advance(ms(wait));
            now += wait;
            let permit = breaker.try_acquire();
            prop_assert_eq!(permit.is_ok(), model.acquire(now));
            if let Ok(permit) = permit {
                if good { permit.success() } else { permit.failure() }
                model.report(good, now);
            }
            prop_assert_eq!(breaker.state(), model.state);
        }
    }
}
