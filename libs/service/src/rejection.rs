use bus::{BusError, BusErrorKind};
use contracts::{Answer, Failure};
use store::StoreError;

/// Why a command did not do it: a rule's "no", or infrastructure that failed.
#[derive(Debug, thiserror::Error)]
pub enum Rejection<R> {
    /// A rule says no. Asking again changes nothing.
    #[error("refused")]
    Refused(R),
    /// It could not be decided.
    #[error("{}", .0.message)]
    Failed(Failure),
}

impl<R> Rejection<R> {
    /// Too much at once: trying again helps.
    pub fn busy(message: impl Into<String>) -> Self {
        Self::Failed(Failure { retryable: true, message: message.into(), retry_after_ms: None })
    }

    /// It can't be done, and trying again does not help.
    pub fn broken(message: impl Into<String>) -> Self {
        Self::Failed(Failure { retryable: false, message: message.into(), retry_after_ms: None })
    }

    /// The same failure where other refusals are spoken; a refusal is translated by `refusal`.
    pub fn map_refusal<S>(self, refusal: impl FnOnce(R) -> S) -> Rejection<S> {
        match self {
            Self::Refused(refused) => Rejection::Refused(refusal(refused)),
            Self::Failed(failure) => Rejection::Failed(failure),
        }
    }
}

impl<R> From<StoreError> for Rejection<R> {
    fn from(error: StoreError) -> Self {
        // Details stay in the log: they may name keys of other tenants.
        tracing::error!(error = &error as &dyn std::error::Error, "the store failed");
        let message = if error.is_retryable() { "storage is unavailable; try again" } else { "storage failed" };
        Self::Failed(Failure { retryable: error.is_retryable(), message: message.into(), retry_after_ms: None })
    }
}

impl<R> From<BusError> for Rejection<R> {
    fn from(error: BusError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the bus failed");
        let message = match error.kind() {
            BusErrorKind::Timeout => "the owner did not answer in time; try again",
            BusErrorKind::NoResponder => "nobody serves this now; try again",
            _ => "the bus is unavailable; try again",
        };
        Self::Failed(Failure { retryable: error.is_retryable(), message: message.into(), retry_after_ms: None })
    }
}

/// What goes over the wire.
pub fn answer<T, R>(result: Result<T, Rejection<R>>) -> Answer<T, R> {
    match result {
        Ok(reply) => Answer::Ok(reply),
        Err(Rejection::Refused(refusal)) => Answer::Refused(refusal),
        Err(Rejection::Failed(failure)) => Answer::Failed(failure),
    }
}

/// The other way: what an asker makes of an answer it got, for its own callers.
pub fn expect_reply<T, R>(answer: Answer<T, R>) -> Result<T, Rejection<R>> {
    match answer {
        Answer::Ok(reply) => Ok(reply),
        Answer::Refused(refusal) => Err(Rejection::Refused(refusal)),
        Answer::Failed(failure) => Err(Rejection::Failed(failure)),
    }
}
