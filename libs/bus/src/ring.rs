use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::Counter;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Envelope;

/// A bounded buffer of signals that drops its oldest when it is full.
#[derive(Debug)]
pub(crate) struct Ring {
    state: Mutex<State>,
    filled: Notify,
    capacity: usize,
    dropped: Counter,
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Envelope>,
    is_closed: bool,
}

impl Ring {
    /// At most `capacity` wait, at least one.
    pub(crate) fn new(capacity: usize, dropped: Counter) -> Arc<Self> {
        let capacity = capacity.max(1);
        Arc::new(Self {
            state: Mutex::default(),
            filled: Notify::new(),
            capacity,
            dropped,
            closed: CancellationToken::new(),
        })
    }

    /// Adds one; `false` when nobody reads any more.
    pub(crate) fn push(&self, envelope: Envelope) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_closed {
            return false;
        }
        if state.waiting.len() >= self.capacity {
            state.waiting.pop_front();
            self.dropped.increment(1);
        }
        state.waiting.push_back(envelope);
        drop(state);
        self.filled.notify_one();
        true
    }

    /// The next one; `None` once it is closed and empty. Only one reader may wait.
    pub(crate) async fn next(&self) -> Option<Envelope> {
        loop {
            {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(envelope) = state.waiting.pop_front() {
                    return Some(envelope);
                }
                if state.is_closed {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    pub(crate) fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.filled.notify_one();
        self.closed.cancel();
    }

    /// Resolves once it is closed.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_closed
    }
}
