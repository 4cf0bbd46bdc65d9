use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The answer of `POST /v1/tickets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketIssued {
    /// Stands for the caller's access token, once.
    pub ticket: String,
    /// Until when, Unix milliseconds.
    pub expires_at_ms: u64,
}
