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
}

impl App {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
