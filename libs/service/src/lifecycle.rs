//! A service's tasks: started by name, stopped together, under a deadline.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clock::Clock;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of a service. Cheap to clone.
#[derive(Clone)]
pub struct Lifecycle {
    inner: Arc<Inner>,
}

struct Inner {
    stop: CancellationToken,
    tasks: TaskTracker,
    running: Mutex<BTreeMap<u64, (String, AbortHandle)>>,
    next: AtomicU64,
    clock: Clock,
}

impl Lifecycle {
    /// Without tasks. Deadlines are measured on `clock`.
    pub fn new(clock: Clock) -> Self {
        Self {
            inner: Arc::new(Inner {
                stop: CancellationToken::new(),
                tasks: TaskTracker::new(),
                running: Mutex::default(),
                next: AtomicU64::new(0),
                clock,
            }),
        }
    }

    /// Cancelled when the service is to stop. Tasks watch it and end; what is under way is finished first.
    pub fn token(&self) -> CancellationToken {
        self.inner.stop.clone()
    }

    /// Runs a task until it ends by itself (it should, soon after the token is cancelled). `name` is for people: it is
    /// what [`Lifecycle::shutdown`] reports.
    pub fn spawn(&self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        // Removes the entry however the task ends: by itself, by a panic, aborted.
        let entry = Entry { inner: Arc::clone(&self.inner), id };
        let mut running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = self.inner.tasks.spawn(async move {
            let _entry = entry;
            task.await;
        });
        running.insert(id, (name.into(), handle.abort_handle()));
    }

    /// The names of the tasks that run now.
    pub fn running(&self) -> Vec<String> {
        let running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.values().map(|(name, _)| name.clone()).collect()
    }

    /// Cancels the token and waits for the tasks, at most until `deadline` from now. Those that did not end by then are
    /// aborted and named in the result.
    pub async fn shutdown(&self, deadline: Duration) -> Vec<String> {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        if self.inner.clock.timeout(deadline, self.inner.tasks.wait()).await.is_some() {
            return Vec::new();
        }
        let late = self.running();
        for (_, handle) in self.inner.running.lock().unwrap_or_else(PoisonError::into_inner).values() {
            handle.abort();
        }
        late
    }
}

struct Entry {
    inner: Arc<Inner>,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Returns when the process is asked to stop: Ctrl-C, or SIGTERM as a container's platform sends it.
///
/// # Errors
/// When the operating system won't let the signals be watched.
pub async fn shutdown_signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_that_heed_the_token_end_in_time() {
        let lifecycle = Lifecycle::new(Clock::manual(0).0);
        let token = lifecycle.token();
        lifecycle.spawn("good", async move { token.cancelled().await });
        assert_eq!(lifecycle.running(), ["good"]);
        assert_eq!(lifecycle.shutdown(Duration::from_secs(1)).await, Vec::<String>::new());
        assert_eq!(lifecycle.running(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn those_that_do_not_are_named_and_aborted() {
        let (clock, hand) = Clock::manual(0);
        let lifecycle = Lifecycle::new(clock);
        lifecycle.spawn("short", async {});
        lifecycle.spawn("stuck", std::future::pending());
        let stopping = tokio::spawn({
            let lifecycle = lifecycle.clone();
            async move { lifecycle.shutdown(Duration::from_secs(5)).await }
        });
        tokio::task::yield_now().await;
        hand.advance(Duration::from_secs(5));
        assert_eq!(stopping.await.expect("stops"), ["stuck"]);
        lifecycle.inner.tasks.wait().await;
        assert_eq!(lifecycle.running(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_task_that_panics_leaves_nothing_behind() {
        let lifecycle = Lifecycle::new(Clock::manual(0).0);
        lifecycle.spawn("broken", async { panic!("on purpose") });
        assert!(lifecycle.shutdown(Duration::from_secs(1)).await.is_empty());
        assert!(lifecycle.running().is_empty());
    }
}
