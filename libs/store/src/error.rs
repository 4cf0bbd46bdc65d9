use std::error::Error;
use std::fmt;

/// Why the store did not do it.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    detail: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kind of failure it was; says whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The condition of action number `action` (from 0) did not hold. Decide anew on fresh state.
    Conflict {
        /// Which action of the transaction.
        action: usize,
    },
    /// The call breaks a limit or is malformed; it can never succeed.
    Invalid,
    /// The same keys were being written elsewhere; the backend's own retries ran out.
    Contended,
    /// The backend asks for less (DynamoDB's throughput limits).
    Throttled,
    /// The backend can't be reached or did not answer in time. A write may or may not have happened.
    Unavailable,
    /// No room left on the device.
    Full,
    /// Stored data can't be read back as what it should be.
    Corrupt,
}

impl StoreErrorKind {
    /// A short stable word for metrics and traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conflict { .. } => "conflict",
            Self::Invalid => "invalid",
            Self::Contended => "contended",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Full => "full",
            Self::Corrupt => "corrupt",
        }
    }
}

impl StoreError {
    /// An error of `kind`; `detail` says what was being done and what to do about it.
    pub fn new(kind: StoreErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), source: None }
    }

    /// The same with what caused it.
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same failure for another caller whom it struck too; without its source.
    pub(crate) fn again(&self) -> Self {
        Self::new(self.kind, self.detail.clone())
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            StoreErrorKind::Contended | StoreErrorKind::Throttled | StoreErrorKind::Unavailable | StoreErrorKind::Full
        )
    }

    /// The number of the action whose condition did not hold.
    pub fn conflict(&self) -> Option<usize> {
        match self.kind {
            StoreErrorKind::Conflict { action } => Some(action),
            _ => None,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            StoreErrorKind::Conflict { action } => {
                write!(f, "condition of action {action} did not hold: {}", self.detail)
            }
            kind => write!(f, "store {}: {}", kind.name(), self.detail),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
