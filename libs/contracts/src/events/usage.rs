//! What was used, as whoever measures tells it. Each measuring service has a kind of its own with this content.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{NodeId, SubscriptionId};

/// What one process measured for one subscription in a span of time. Each use stands in exactly one such fact; the
/// event's id keeps a fact that comes twice from counting twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Whose use it was.
    pub subscription_id: SubscriptionId,
    /// The process that measured; each counts its own facts of a subscription.
    pub node_id: NodeId,
    /// Begin of the span, Unix milliseconds.
    pub from_ms: u64,
    /// Its end, Unix milliseconds; the whole use belongs to the windows that hold it. Report at least once a minute.
    pub to_ms: u64,
    /// How much, by meter: `relay_bytes`, `tunnel_requests`, `tunnel_bytes`. 1 to 16 meters of `[a-z0-9_]`, up to 50
    /// characters each; one that no plan limits is counted all the same.
    pub amounts: BTreeMap<String, u64>,
}

impl Usage {
    pub(crate) fn sample(meter: &str) -> Self {
        Self {
            subscription_id: "sub-01".parse().expect("a valid id"),
            node_id: "node-1".parse().expect("a valid id"),
            from_ms: 1_790_000_000_000,
            to_ms: 1_790_000_060_000,
            amounts: BTreeMap::from([(meter.to_owned(), 4_096)]),
        }
    }

    pub(crate) fn aggregate(&self) -> String {
        format!("usage/{}/{}", self.node_id, self.subscription_id)
    }
}
