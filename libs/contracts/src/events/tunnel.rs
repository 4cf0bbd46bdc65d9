//! What the tunnel service publishes: what tunnels used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::events::usage::Usage;
use crate::{Contract, Event};

events! {
    /// Facts of the tunnel service.
    TunnelEvent {
        /// Tunnels of a subscription carried requests.
        UsageRecorded(UsageRecordedV1),
    }
}

/// Tunnels of a subscription carried requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageRecordedV1 {
    /// How much, of whom, when.
    pub usage: Usage,
}

impl Contract for UsageRecordedV1 {
    const KIND: &'static str = "tunnel.usage_recorded.v1";

    fn samples() -> Vec<Self> {
        vec![Self { usage: Usage::sample("tunnel_bytes") }]
    }
}

impl Event for UsageRecordedV1 {
    fn aggregate(&self) -> String {
        self.usage.aggregate()
    }
}
