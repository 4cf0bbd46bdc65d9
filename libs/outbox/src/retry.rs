use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clock::Entropy;

use crate::lease::millis;
use crate::options::RetryBudget;

/// The wait before try number `failures` + 1, milliseconds: anything from 0 to `initial` doubled with each failure, at
/// most `max` ("full jitter").
pub(crate) fn full_jitter(initial: Duration, max: Duration, failures: u32, entropy: &Entropy) -> u64 {
    let doubled = millis(initial).saturating_mul(1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX));
    entropy.up_to(doubled.min(millis(max)))
}

const WHOLE: u64 = 1_000;

/// Retries that may be spent, in thousandths.
pub(crate) struct Budget {
    earned: u64,
    max: u64,
    left: AtomicU64,
}

impl Budget {
    pub(crate) fn new(budget: RetryBudget) -> Self {
        let max = u64::from(budget.burst) * WHOLE;
        // A ratio outside 0..=1 means one of its ends; so does no number at all.
        let earned = (budget.ratio.clamp(0.0, 1.0) * WHOLE as f64) as u64;
        Self { earned, max, left: AtomicU64::new(max) }
    }

    /// A first try happened.
    pub(crate) fn earn(&self) {
        if self.left.load(Ordering::Relaxed) < self.max {
            let add = |left: u64| Some((left + self.earned).min(self.max));
            // Never fails: the closure always gives a value.
            let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }

    /// Whether a retry may happen soon.
    pub(crate) fn spend(&self) -> bool {
        let take = |left: u64| left.checked_sub(WHOLE);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_budget_limits_the_share_of_retries() {
        let budget = Budget::new(RetryBudget { ratio: 0.25, burst: 2 });
        assert!(budget.spend() && budget.spend() && !budget.spend());
        (0..3).for_each(|_| budget.earn());
        assert!(!budget.spend());
        budget.earn();
        assert!(budget.spend() && !budget.spend());
        (0..100).for_each(|_| budget.earn());
        assert!(budget.spend() && budget.spend() && !budget.spend(), "no more than the burst is saved up");
    }

    proptest! {
        #[test]
        fn waits_stay_under_their_bounds(initial in 1_u64..10_000, max in 1_u64..100_000, failures in 0_u32..200, seed: u64) {
            let entropy = Entropy::seeded(seed);
            let wait = full_jitter(Duration::from_millis(initial), Duration::from_millis(max), failures, &entropy);
            prop_assert!(wait <= max);
            if failures <= 1 {
                prop_assert!(wait <= initial);
            }
        }
    }
}
