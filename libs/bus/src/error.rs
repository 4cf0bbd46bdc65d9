use std::error::Error;
use std::fmt;

/// Why the bus did not do it.
#[derive(Debug)]
pub struct BusError {
    kind: BusErrorKind,
    detail: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kind of failure it was; says whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusErrorKind {
    /// The broker can't be reached, or the connection broke before its answer came.
    Unavailable,
    /// Nobody answered before the deadline.
    Timeout,
    /// Nobody serves this request now.
    NoResponder,
    /// A bound was reached; try again when there is room.
    Full,
    /// The bus is draining or closed.
    Closed,
    /// The message breaks a limit or is malformed; it can never be sent.
    Invalid,
    /// The server lacks a feature that is needed; the detail names it.
    Unfit,
}

impl BusError {
    /// An error of `kind`; `detail` says what was being done and what to do about it.
    pub fn new(kind: BusErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), source: None }
    }

    /// The same with what caused it.
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> BusErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        !matches!(self.kind, BusErrorKind::Invalid | BusErrorKind::Unfit | BusErrorKind::Closed)
    }
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bus {}: {}", format!("{:?}", self.kind).to_lowercase(), self.detail)
    }
}

impl Error for BusError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
