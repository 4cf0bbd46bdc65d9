//! One at a time per name, in this process: so that a hundred copies of one request make one call to Stripe. Other
//! processes are kept apart by the store's conditions and Stripe's idempotency keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Who has the turn, by name. Holds only names that somebody has or waits for, so its bound is that of the callers.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    names: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

/// A turn; ends when dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    name: String,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the turn of `name`.
    pub(crate) async fn take(&self, name: String) -> Turn<'_> {
        let queue = Arc::clone(self.lock().entry(name.clone()).or_default());
        let mut turn = Turn { turns: self, name, guard: None };
        turn.guard = Some(queue.lock_owned().await);
        turn
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<AsyncMutex<()>>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut names = self.turns.lock();
        self.guard = None;
        // Whoever waits holds the queue as well.
        if names.get(&self.name).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            names.remove(&self.name);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_per_name_and_nothing_stays_behind() {
        let turns = Arc::new(Turns::default());
        let inside = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let (turns, inside) = (Arc::clone(&turns), Arc::clone(&inside));
                tokio::spawn(async move {
                    let _turn = turns.take("a".into()).await;
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        let _other = turns.take("b".into()).await;
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(turns.lock().len(), 1);
    }

    #[tokio::test]
    async fn who_stops_waiting_leaves_nothing_behind() {
        let turns = Turns::default();
        let first = turns.take("a".into()).await;
        assert!(futures_are_pending(turns.take("a".into())));
        drop(first);
        assert!(turns.lock().is_empty());
    }

    fn futures_are_pending(future: impl Future) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(future).poll(&mut context).is_pending()
    }
}
