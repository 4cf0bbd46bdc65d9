//! What the gateway publishes: what was used of its relayed data path.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::events::usage::Usage;
use crate::{Contract, Event};

events! {
    /// Facts of the gateway service.
    GatewayEvent {
        /// Peers of a subscription sent data through the gateway.
        UsageRecorded(UsageRecordedV1),
    }
}

/// Peers of a subscription sent data through the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageRecordedV1 {
    /// How much, of whom, when.
    pub usage: Usage,
}

impl Contract for UsageRecordedV1 {
    const KIND: &'static str = "gateway.usage_recorded.v1";

    fn samples() -> Vec<Self> {
        vec![Self { usage: Usage::sample("relay_bytes") }]
    }
}

impl Event for UsageRecordedV1 {
    fn aggregate(&self) -> String {
        self.usage.aggregate()
    }
}
