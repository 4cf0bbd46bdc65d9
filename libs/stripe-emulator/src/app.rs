use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clock::{Clock, Entropy};
use tokio_util::sync::CancellationToken;

use crate::delivery::Deliveries;
use crate::faults::Faults;
use crate::idempotency::Keys;
use crate::journal::Journal;
use crate::version::ApiVersion;
use crate::world::World;

/// What every request handler shares.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) api_key: Option<String>,
    pub(crate) version: ApiVersion,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) keys: Keys,
    pub(crate) deliveries: Arc<Deliveries>,
    pub(crate) stop: CancellationToken,
    pub(crate) requests_counted: usize,
    pub(crate) faults_limit: usize,
    pub(crate) world: Mutex<World>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) journal: Mutex<Journal>,
    pub(crate) rate: Mutex<Rate>,
}

/// Requests answered in the second at hand.
#[derive(Debug)]
pub(crate) struct Rate {
    limit: u32,
    second: u64,
    answered: u32,
}

impl Rate {
    /// Admits so many requests a second; 0 admits all.
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, second: 0, answered: 0 }
    }

    /// Whether one more request is answered in this second.
    pub(crate) fn admits(&mut self, second: u64) -> bool {
        if self.second != second {
            (self.second, self.answered) = (second, 0);
        }
        self.answered = self.answered.saturating_add(1);
        self.limit == 0 || self.answered <= self.limit
    }
}

impl App {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rate(&self) -> MutexGuard<'_, Rate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
