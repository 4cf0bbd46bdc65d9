use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// A handle to time: wall-clock milliseconds, a monotonic reading and sleeping. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    System { started: Instant },
    Manual(Arc<watch::Sender<u64>>),
}

impl Clock {
    /// The machine's clock.
    #[allow(clippy::disallowed_methods)] // the one place that reads the machine's time
    pub fn system() -> Self {
        Self { source: Source::System { started: Instant::now() } }
    }

    /// A clock that stands at `now_ms` (Unix time in milliseconds) until its [`ManualClock`] moves it.
    pub fn manual(now_ms: u64) -> (Self, ManualClock) {
        let sender = Arc::new(watch::Sender::new(now_ms));
        (Self { source: Source::Manual(Arc::clone(&sender)) }, ManualClock { sender })
    }

    /// Unix time in milliseconds. A machine clock before 1970 reads as 0.
    #[allow(clippy::disallowed_methods)] // the one place that reads the machine's time
    pub fn now_ms(&self) -> u64 {
        match &self.source {
            Source::System { .. } => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }
            Source::Manual(sender) => *sender.borrow(),
        }
    }

    /// A reading that never goes back, for measuring durations. Its zero is arbitrary. A manual clock reads its own time.
    pub fn monotonic(&self) -> Duration {
        match &self.source {
            Source::System { started } => started.elapsed(),
            Source::Manual(sender) => Duration::from_millis(*sender.borrow()),
        }
    }

    /// Waits for `duration`. On a manual clock it returns when the clock has been moved that far; it waits for ever
    /// when nobody moves it.
    pub async fn sleep(&self, duration: Duration) {
        match &self.source {
            Source::System { .. } => tokio::time::sleep(duration).await,
            Source::Manual(sender) => {
                let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                let due = sender.borrow().saturating_add(millis);
                let mut moves = sender.subscribe();
                // The sender lives in `self`, so the wait can only end because the time came.
                let _ = moves.wait_for(|now| *now >= due).await;
            }
        }
    }

    /// Runs `future` for at most `limit` of this clock's time; `None` when the time ran out first.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = self.sleep(limit) => None,
        }
    }
}

/// Moves a manual [`Clock`]. Every clone of that clock sees the move, and sleepers whose time came wake up.
#[derive(Clone, Debug)]
pub struct ManualClock {
    sender: Arc<watch::Sender<u64>>,
}

impl ManualClock {
    /// Moves the time forward by `duration`.
    pub fn advance(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.sender.send_modify(|now| *now = now.saturating_add(millis));
    }

    /// Sets the time (Unix milliseconds). Going back is allowed: machines' clocks do it too.
    pub fn set(&self, now_ms: u64) {
        self.sender.send_replace(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_only_when_the_clock_was_moved_far_enough() {
        let (clock, hand) = Clock::manual(1_000);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_millis(500)).await;
                clock.now_ms()
            }
        });
        tokio::task::yield_now().await;
        hand.advance(Duration::from_millis(499));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        hand.advance(Duration::from_millis(1));
        assert_eq!(sleeper.await.expect("the sleeper ends"), 1_500);
    }

    #[tokio::test]
    async fn a_timeout_is_measured_on_the_manual_clock() {
        let (clock, hand) = Clock::manual(0);
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move { clock.timeout(Duration::from_secs(5), std::future::pending::<()>()).await }
        });
        tokio::task::yield_now().await;
        hand.advance(Duration::from_secs(5));
        assert_eq!(waiting.await.expect("the task ends"), None);
        assert_eq!(clock.timeout(Duration::from_secs(5), async { 7 }).await, Some(7));
    }
}
