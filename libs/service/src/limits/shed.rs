use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clock::Clock;
use serde::{Deserialize, Serialize};

use crate::config::{Checks, ConfigProblem};

/// How much a request matters when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// Never shed: what keeps clients connected and access withdrawn in time.
    Critical,
    /// Shed when everything is taken.
    Ordinary,
    /// Shed first: at four fifths of what is possible.
    Deferrable,
}

/// How many requests are worked on at once; a table in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShedSettings {
    /// Most requests under way, however quick they are, 8 to 1,000,000.
    pub max_in_flight: usize,
    /// As many are let in however slow they are, 1 to `max_in_flight`.
    pub min_in_flight: usize,
    /// Reads ([`Importance::Deferrable`]) slower than this mean that there are too many, milliseconds, 10 to 60,000.
    pub target_ms: u64,
}

impl ShedSettings {
    /// What is wrong with it; `key` is where it stands.
    pub fn problems(&self, key: &str) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.range(&format!("{key}.max_in_flight"), self.max_in_flight, 8..=1_000_000);
        checks.range(&format!("{key}.min_in_flight"), self.min_in_flight, 1..=self.max_in_flight.max(1));
        checks.range(&format!("{key}.target_ms"), self.target_ms, 10..=60_000);
        checks.finish()
    }
}

/// Lets in as many requests as are answered in time: the limit grows by one while it is reached and answers are quick,
/// and loses a tenth when reads are slow, at most once in `target_ms` (additive increase, multiplicative decrease, as
/// TCP does). What writes may wait for somebody outside and says nothing about us. Cheap to clone.
#[derive(Clone)]
pub struct Shedder {
    settings: ShedSettings,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

struct State {
    limit: usize,
    in_flight: usize,
    shrunk: Duration,
}

/// A request that was let in; dropping it is its end.
pub struct Admission {
    shedder: Shedder,
    importance: Importance,
    begun: Duration,
}

impl Shedder {
    /// One that starts with as much as is possible.
    pub fn new(settings: ShedSettings, clock: Clock) -> Self {
        let state = State { limit: settings.max_in_flight, in_flight: 0, shrunk: clock.monotonic() };
        Self { settings, clock, state: Arc::new(Mutex::new(state)) }
    }

    /// Lets a request in; `None` when it is to be shed.
    pub fn admit(&self, importance: Importance) -> Option<Admission> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let room = match importance {
            Importance::Critical => usize::MAX,
            Importance::Ordinary => state.limit,
            Importance::Deferrable => (state.limit / 5 * 4).max(1),
        };
        if state.in_flight >= room {
            metrics::counter!("requests_shed_total").increment(1);
            return None;
        }
        state.in_flight += 1;
        Some(Admission { shedder: self.clone(), importance, begun: self.clock.monotonic() })
    }

    /// How many may be under way now.
    pub fn limit(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).limit
    }

    fn ended(&self, importance: Importance, begun: Duration) {
        let now = self.clock.monotonic();
        let target = Duration::from_millis(self.settings.target_ms);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = state.in_flight >= state.limit;
        state.in_flight -= 1;
        if now.saturating_sub(begun) > target {
            if importance == Importance::Deferrable && now.saturating_sub(state.shrunk) >= target {
                state.limit = (state.limit - state.limit.div_ceil(10)).max(self.settings.min_in_flight);
                state.shrunk = now;
            }
        } else if reached {
            state.limit = (state.limit + 1).min(self.settings.max_in_flight);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.shedder.ended(self.importance, self.begun);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shedder(max_in_flight: usize) -> (Shedder, clock::ManualClock) {
        let (clock, hand) = Clock::manual(0);
        let settings = ShedSettings { max_in_flight, min_in_flight: 2, target_ms: 100 };
        (Shedder::new(settings, clock), hand)
    }

    #[test]
    fn what_is_critical_is_never_shed() {
        let (shedder, _hand) = shedder(10);
        let admitted =
            |importance, count: usize| (0..count).map_while(|_| shedder.admit(importance)).collect::<Vec<_>>();
        let first = admitted(Importance::Deferrable, 100);
        assert_eq!(first.len(), 8);
        let second = admitted(Importance::Ordinary, 100);
        assert_eq!(second.len(), 2);
        let third = admitted(Importance::Critical, 100);
        assert_eq!(third.len(), 100);
        assert!(shedder.admit(Importance::Ordinary).is_none());
        drop((first, second, third));
        assert!(shedder.admit(Importance::Deferrable).is_some());
    }

    #[test]
    fn slow_answers_shrink_it_and_quick_ones_grow_it_again() {
        let (shedder, hand) = shedder(100);
        for _ in 0..200 {
            let slow = shedder.admit(Importance::Deferrable);
            hand.advance(Duration::from_millis(101));
            drop(slow);
        }
        assert_eq!(shedder.limit(), 2, "never below the minimum");
        for round in 0..50 {
            let full: Vec<_> = std::iter::from_fn(|| shedder.admit(Importance::Ordinary)).collect();
            assert!(full.len() >= 2 + round);
            drop(full);
        }
        assert!(shedder.limit() >= 50, "{}", shedder.limit());
    }

    #[test]
    fn many_slow_answers_at_once_count_once() {
        let (shedder, hand) = shedder(100);
        let slow: Vec<_> = (0..50).filter_map(|_| shedder.admit(Importance::Deferrable)).collect();
        hand.advance(Duration::from_millis(500));
        drop(slow);
        assert_eq!(shedder.limit(), 90);
        let slow = shedder.admit(Importance::Ordinary);
        hand.advance(Duration::from_millis(500));
        drop(slow);
        assert_eq!(shedder.limit(), 90, "a write may have waited for somebody else");
    }
}
