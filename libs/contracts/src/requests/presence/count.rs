//! How many are here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Contract, NodeId, Request};

/// How many peers of the tenant are here? Answered from counters, however many there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CountV1 {
    /// Also how many are in this room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Also how many are at this gateway process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
}

impl Contract for CountV1 {
    const KIND: &'static str = "presence.count.v1";

    fn samples() -> Vec<Self> {
        vec![Self { room: Some("lobby".into()), node_id: Some("gateway-1".parse().expect("a valid id")) }]
    }
}

/// How many are here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerCounts {
    /// Peers of the tenant that are not offline.
    pub here: u64,
    /// Those in the room that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<u64>,
    /// Those at the gateway process that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u64>,
}

/// Why a count was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum CountRefusal {
    /// The room's name breaks its rule.
    Invalid {
        /// Which field and rule.
        message: String,
    },
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for CountV1 {
    type Reply = PeerCounts;
    type Refusal = CountRefusal;

    fn replies() -> Vec<PeerCounts> {
        vec![PeerCounts { here: 42, room: Some(7), node: Some(12) }]
    }

    fn refusals() -> Vec<CountRefusal> {
        vec![CountRefusal::Invalid {
            message: "room: is empty; 1 to 100 characters of A-Z, a-z, 0-9, '_' and '-'".into(),
        }]
    }
}
