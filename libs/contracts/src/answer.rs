use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T, R> {
    /// It was done; here is the reply.
    Ok(T),
    /// A rule says no. Asking again changes nothing.
    Refused(R),
    /// It could not be decided.
    Failed(Failure),
}

/// Why a request could not be decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// What happened, for people.
    pub message: String,
    /// Milliseconds to wait before trying again, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    pub(crate) fn sample() -> Self {
        Self { retryable: true, message: "the store does not answer".into(), retry_after_ms: Some(500) }
    }
}
