//! Turns under a rate limit: one every so often, first come first served, with a bounded wait. The rate is shared with
//! other processes.

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

    /// Waits for a turn of this process, one of so many; the error says how long it would have taken.
    pub(crate) async fn turn(&self, clock: &Clock, processes: u32) -> Result<(), Duration> {
        let wait = self.reserve(clock.monotonic(), processes)?;
        if !wait.is_zero() {
            clock.sleep(wait).await;
        }
        Ok(())
    }

    fn reserve(&self, now: Duration, processes: u32) -> Result<Duration, Duration> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = now.max(*next);
        let wait = at.saturating_sub(now);
        if wait > self.longest_wait {
            return Err(wait);
        }
        *next = at + self.spacing * processes.max(1);
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spaced_and_the_wait_is_bounded() {
        let pacer = Pacer::new(20, Duration::from_millis(100));
        let at = |ms| pacer.reserve(Duration::from_millis(ms), 1).map_err(|wait| wait.as_millis());
        assert_eq!(at(1_000), Ok(Duration::ZERO));
        assert_eq!(at(1_000), Ok(Duration::from_millis(50)));
        assert_eq!(at(1_000), Ok(Duration::from_millis(100)));
        assert_eq!(at(1_000), Err(150));
        assert_eq!(at(1_050), Ok(Duration::from_millis(100)), "a refused turn is not taken");
        assert_eq!(at(9_000), Ok(Duration::ZERO), "idle time is not saved up");
        assert_eq!(at(9_000), Ok(Duration::from_millis(50)));
    }

    #[test]
    fn processes_share_the_rate() {
        let pacers = [(); 4].map(|()| Pacer::new(20, Duration::from_secs(60)));
        // Each asks as often as it may; what four of them get in ten seconds.
        let mut began = 0;
        for pacer in &pacers {
            let turns = (0..1_000).filter_map(|_| pacer.reserve(Duration::ZERO, 4).ok());
            began += turns.filter(|wait| *wait < Duration::from_secs(10)).count();
        }
        assert_eq!(began, 200);
    }
}
