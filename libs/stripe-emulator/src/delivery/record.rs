use serde::Serialize;

use super::lane::Job;

/// One attempt to deliver, as `GET /_emulator/deliveries` shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) event: String,
    #[serde(rename = "type")]
    pub(crate) event_type: String,
    pub(crate) endpoint: String,
    pub(crate) copy: u32,
    pub(crate) attempt: u32,
    pub(crate) at_ms: u64,
    /// The receiver's HTTP status, when it answered.
    pub(crate) status: Option<u16>,
    /// Why there was no answer.
    pub(crate) error: Option<String>,
    /// `delivered`, `retrying`, `gave_up`, `overflow` or `dropped`.
    pub(crate) outcome: &'static str,
}

impl Record {
    pub(crate) fn new(job: &Job, endpoint: &str, at_ms: u64) -> Self {
        Self {
            event: job.event.clone(),
            event_type: job.event_type.clone(),
            endpoint: endpoint.to_owned(),
            copy: job.copy,
            attempt: job.attempt,
            at_ms,
            status: None,
            error: None,
            outcome: "delivered",
        }
    }
}
