//! Reads of subscriptions, shared: whoever asks while a read has not begun gets that read's answer, and reads of one
//! subscription begin at least the configured time apart.
//!
//! An answer is only shared with those who asked before its read began: theirs is news they waited for, never older
//! than their question. Writers rely on it: they load their state before they ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clock::Clock;

use super::failure::{Class, StripeFailure};

/// Shares reads per id.
pub(crate) struct Shared<T> {
    clock: Clock,
    spacing: Duration,
    memory: usize,
    lanes: Mutex<HashMap<String, Arc<Lane<T>>>>,
}

type Lane<T> = tokio::sync::Mutex<Option<Read<T>>>;

struct Read<T> {
    began: Duration,
    outcome: Result<T, StripeFailure>,
}

impl<T: Clone> Shared<T> {
    /// Reads of one id begin `spacing` apart; at most `memory` ids are remembered.
    pub(crate) fn new(clock: Clock, spacing: Duration, memory: usize) -> Self {
        Self { clock, spacing, memory, lanes: Mutex::default() }
    }

    /// What `read` says of `id`, or what another caller's read says that began after this call.
    pub(crate) async fn get<F>(&self, id: &str, read: impl FnOnce() -> F) -> Result<T, StripeFailure>
    where
        F: Future<Output = Result<T, StripeFailure>>,
    {
        let asked = self.clock.monotonic();
        let lane = self.lane(id)?;
        let mut last = lane.lock().await;
        if let Some(last) = last.as_ref() {
            // Strictly after: on a coarse clock an equal reading may be a read that began before.
            if last.began > asked {
                return last.outcome.clone();
            }
            let wait = (last.began + self.spacing).saturating_sub(self.clock.monotonic());
            if !wait.is_zero() {
                self.clock.sleep(wait).await;
            }
        }
        let began = self.clock.monotonic();
        let outcome = read().await;
        *last = Some(Read { began, outcome: outcome.clone() });
        outcome
    }

    fn lane(&self, id: &str) -> Result<Arc<Lane<T>>, StripeFailure> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(id) {
            return Ok(Arc::clone(lane));
        }
        if lanes.len() >= self.memory {
            let now = self.clock.monotonic();
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || !self.is_over(lane, now));
        }
        if lanes.len() >= self.memory {
            let message = "not asked, because too many subscriptions are being read";
            return Err(StripeFailure {
                retry_after: Some(self.spacing),
                ..StripeFailure::new(Class::NotSent, message)
            });
        }
        let lane = Arc::new(Lane::new(None));
        lanes.insert(id.to_owned(), Arc::clone(&lane));
        Ok(lane)
    }

    /// Whether a lane that nobody holds says nothing any more.
    fn is_over(&self, lane: &Lane<T>, now: Duration) -> bool {
        lane.try_lock().is_ok_and(|last| last.as_ref().is_none_or(|last| last.began + self.spacing <= now))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn who_asks_while_a_read_runs_shares_the_next_one() {
        let (clock, hand) = Clock::manual(5_000);
        let shared = Arc::new(Shared::new(clock.clone(), SECOND, 16));
        let (reads, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(tokio::sync::Semaphore::new(0)));
        let ask = || {
            let (shared, reads, gate) = (Arc::clone(&shared), Arc::clone(&reads), Arc::clone(&gate));
            tokio::spawn(async move {
                let read = async || {
                    gate.acquire().await.unwrap().forget();
                    Ok(reads.fetch_add(1, Ordering::SeqCst))
                };
                shared.get("sub_1", read).await.unwrap()
            })
        };
        let first = ask();
        tokio::task::yield_now().await;
        hand.advance(Duration::from_millis(10));
        let late: Vec<_> = (0..50).map(|_| ask()).collect();
        tokio::task::yield_now().await;
        gate.add_permits(2);
        assert_eq!(first.await.unwrap(), 0);
        assert!(late.iter().all(|task| !task.is_finished()), "they asked after the read began: it may be older news");
        hand.advance(SECOND);
        for task in late {
            assert_eq!(task.await.unwrap(), 1);
        }
        assert_eq!(reads.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn other_ids_do_not_wait_and_failures_are_shared_once() {
        let (clock, hand) = Clock::manual(5_000);
        let shared = Shared::new(clock, SECOND, 16);
        let fail = async || Err::<u32, _>(StripeFailure::new(Class::Server, "no"));
        assert!(shared.get("sub_1", fail).await.is_err());
        assert_eq!(shared.get("sub_2", async || Ok(2)).await.unwrap(), 2);
        hand.advance(SECOND);
        assert_eq!(shared.get("sub_1", async || Ok(1)).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn memory_is_bounded_and_what_is_over_makes_room() {
        let (clock, hand) = Clock::manual(5_000);
        let shared = Shared::new(clock, SECOND, 16);
        for id in 0..16 {
            shared.get(&id.to_string(), async || Ok(id)).await.unwrap();
        }
        assert_eq!(shared.get("one more", async || Ok(0)).await.unwrap_err().class, Class::NotSent);
        hand.advance(SECOND);
        assert_eq!(shared.get("one more", async || Ok(0)).await.unwrap(), 0);
        assert_eq!(shared.lanes.lock().unwrap().len(), 1);
    }
}
