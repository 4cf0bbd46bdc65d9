//! Looking on: what travels, as it travels, without taking part.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{Envelope, Incoming};

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observe {
    /// Events, from now on.
    pub events: bool,
    /// Requests and their replies.
    pub requests: bool,
    /// Signals.
    pub signals: bool,
    /// Most that may wait for the observer, at least one; beyond it the newest are left out and counted.
    pub buffer: usize,
}

impl Observe {
    /// Only events.
    pub fn events(buffer: usize) -> Self {
        Self { events: true, requests: false, signals: false, buffer }
    }

    /// All that travels.
    pub fn everything(buffer: usize) -> Self {
        Self { events: true, requests: true, signals: true, buffer }
    }
}

/// Something that travelled.
#[derive(Clone, Debug)]
pub enum Observed {
    /// An event, as it was stored.
    Event(Incoming),
    /// A request on its way to its owner.
    Request(Incoming),
    /// The owner's reply.
    Reply {
        /// What was asked.
        request: Box<Envelope>,
        /// What was answered.
        data: Bytes,
    },
    /// A signal.
    Signal {
        /// To whom.
        address: String,
        /// What it says.
        incoming: Incoming,
    },
}

/// What an observer gets. It acknowledges nothing and shares nothing with anybody; dropping it ends it.
#[derive(Debug)]
pub struct Observation {
    receiver: mpsc::Receiver<Observed>,
    left_out: Arc<AtomicU64>,
    covers_events: bool,
}

impl Observation {
    /// An observation, and the way into it.
    pub fn channel(options: Observe, covers_events: bool) -> (Watcher, Self) {
        let (sender, receiver) = mpsc::channel(options.buffer.clamp(1, 1 << 20));
        let left_out = Arc::new(AtomicU64::new(0));
        let watcher = Watcher { options, sender, left_out: Arc::clone(&left_out) };
        (watcher, Self { receiver, left_out, covers_events })
    }

    /// The next thing; `None` once the bus is closed.
    pub async fn next(&mut self) -> Option<Observed> {
        self.receiver.recv().await
    }

    /// How many were left out because the observer was too slow.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Whether this installation's events travel where this observer looks.
    pub fn covers_events(&self) -> bool {
        self.covers_events
    }
}

/// The end of an [`Observation`] that a backend writes to.
#[derive(Clone, Debug)]
pub struct Watcher {
    options: Observe,
    sender: mpsc::Sender<Observed>,
    left_out: Arc<AtomicU64>,
}

impl Watcher {
    /// What it wants to see.
    pub fn options(&self) -> Observe {
        self.options
    }

    /// Shows something; `false` when nobody looks any more.
    pub fn show(&self, observed: Observed) -> bool {
        match self.sender.try_send(observed) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Resolves once nobody looks any more.
    pub async fn gone(&self) {
        self.sender.closed().await;
    }
}

/// Those who look at a bus inside this process.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<Vec<Watcher>>);

impl Watchers {
    fn list(&self) -> MutexGuard<'_, Vec<Watcher>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, watcher: Watcher) {
        self.list().push(watcher);
    }

    /// Whether somebody wants this sort of thing. Asked before anything is copied.
    pub(crate) fn any(&self, wants: impl Fn(Observe) -> bool) -> bool {
        self.list().iter().any(|watcher| wants(watcher.options))
    }

    pub(crate) fn show(&self, wants: impl Fn(Observe) -> bool, observed: &Observed) {
        self.list().retain(|watcher| !wants(watcher.options) || watcher.show(observed.clone()));
    }

    pub(crate) fn close(&self) {
        self.list().clear();
    }
}
