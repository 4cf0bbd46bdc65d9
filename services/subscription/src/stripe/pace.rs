//! Turns under a rate limit: one every so often, first come first served, with a bounded wait.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clock::Clock;

/// Hands out turns, evenly spaced.
#[derive(Debug)]
pub(crate) struct Pacer {
    spacing: Duration,
    longest_wait: Duration,
    next: Mutex<Duration>,
}

impl Pacer {
    /// At most `per_second` turns a second; nobody waits longer than `longest_wait`.
    pub(crate) fn new(per_second: u64, longest_wait: Duration) -> Self {
        Self {
            spacing: Duration::from_secs(1) / u32::try_from(per_second.max(1)).unwrap_or(u32::MAX),
            longest_wait,
            next: Mutex::default(),
        }
    }

    /// Waits for a turn; the error says how long it would have taken.
    pub(crate) async fn turn(&self, clock: &Clock) -> Result<(), Duration> {
        let wait = self.reserve(clock.monotonic())?;
        if !wait.is_zero() {
            clock.sleep(wait).await;
        }
        Ok(())
    }

    fn reserve(&self, now: Duration) -> Result<Duration, Duration> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = now.max(*next);
        let wait = at.saturating_sub(now);
        if wait > self.longest_wait {
            return Err(wait);
        }
        *next = at + self.spacing;
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spaced_and_the_wait_is_bounded() {
        let pacer = Pacer::new(20, Duration::from_millis(100));
        let at = |ms| pacer.reserve(Duration::from_millis(ms)).map_err(|wait| wait.as_millis());
        assert_eq!(at(1_000), Ok(Duration::ZERO));
        assert_eq!(at(1_000), Ok(Duration::from_millis(50)));
        assert_eq!(at(1_000), Ok(Duration::from_millis(100)));
        assert_eq!(at(1_000), Err(150));
        assert_eq!(at(1_050), Ok(Duration::from_millis(100)), "a refused turn is not taken");
        assert_eq!(at(9_000), Ok(Duration::ZERO), "idle time is not saved up");
        assert_eq!(at(9_000), Ok(Duration::from_millis(50)));
    }
}
