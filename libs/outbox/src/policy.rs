use std::time::Duration;

use store::{StoreError, StoreErrorKind};

/// One line of a service's SUBSCRIPTIONS: what it reads and how it deals with trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The event kind.
    pub kind: &'static str,
    /// How often and when to try again.
    pub retry: RetryPolicy,
    /// Whether older facts than the newest handled one still matter.
    pub order: Order,
    /// Whether handling reaches outside the service's own store.
    pub effects: Effects,
}

/// How often and when to try an event again. Waits grow by two from `initial` to `max` with full jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all; after the last the event becomes a dead letter. Default 8.
    pub max_attempts: u32,
    /// Upper bound of the first wait. Default 200 ms.
    pub initial: Duration,
    /// Upper bound of every wait. Default 30 s.
    pub max: Duration,
    /// How long one try may take. Default 10 s.
    pub attempt_timeout: Duration,
}

impl RetryPolicy {
    /// Eight tries over about a minute.
    pub const DEFAULT: Self = Self {
        max_attempts: 8,
        initial: Duration::from_millis(200),
        max: Duration::from_secs(30),
        attempt_timeout: Duration::from_secs(10),
    };
}

/// Whether older facts of a key than the newest handled one still matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Each fact counts, however late.
    Every,
    /// A fact whose `sequence` is not above the last handled one of its source and key is acknowledged unhandled.
    LatestWins,
}

/// Whether handling reaches outside the service's own store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effects {
    /// Only writes of the transaction: two workers may race, one commit wins.
    Local,
    /// Calls somebody else: a lease with a fencing token is taken first, so that only one worker calls at a time.
    External {
        /// How long the lease lasts; longer than an attempt.
        lease: Duration,
    },
}

/// Why an event could not be handled this time; decides what happens next.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Trouble that passes: try again by the policy.
    #[error("transient: {0}")]
    Transient(String),
    /// Somebody asked for less: try again, not before this wait.
    #[error("throttled for {0:?}: {1}")]
    Throttled(Duration, String),
    /// It can never be handled: dead letter at once.
    #[error("permanent: {0}")]
    Permanent(String),
    /// The message itself is broken: dead letter at once.
    #[error("poison: {0}")]
    Poison(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::Conflict { .. } => Self::Transient(error.to_string()),
            StoreErrorKind::Invalid | StoreErrorKind::Corrupt => Self::Permanent(error.to_string()),
            _ => Self::Transient(error.to_string()),
        }
    }
}
