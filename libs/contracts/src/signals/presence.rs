//! Heartbeats to presence, and news from it for whoever shows peers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::requests::presence::{Marks, PeerView};
use crate::{Contract, NodeId, PeerId, Signal};

/// A gateway has heard from these peers. Sent to [`crate::signals::EVERYBODY`]; one presence process takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatV1 {
    /// The gateway process.
    pub node_id: NodeId,
    /// At most 500 peers of one tenant.
    pub peers: Vec<HeartbeatPeer>,
}

/// One peer that was heard of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatPeer {
    /// Which peer.
    pub peer_id: PeerId,
    /// On which connection.
    pub generation: u64,
}

impl Contract for HeartbeatV1 {
    const KIND: &'static str = "presence.heartbeat.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            node_id: "gateway-1".parse().expect("a valid id"),
            peers: vec![HeartbeatPeer { peer_id: "alice".parse().expect("a valid id"), generation: 4 }],
        }]
    }
}

impl Signal for HeartbeatV1 {}

/// A peer came, went, changed its status, told of itself or changed rooms. Addressed by tenant; every gateway process
/// takes it, and whoever keeps what presence said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangedV1 {
    /// The peer as it is now.
    pub peer: PeerView,
    /// What it is found by now; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marks: Option<Marks>,
    /// What it was found by before; absent when it was not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Marks>,
}

impl Contract for ChangedV1 {
    const KIND: &'static str = "presence.changed.v1";

    fn samples() -> Vec<Self> {
        <crate::requests::presence::LookupV1 as crate::Request>::replies()
            .into_iter()
            .map(|peer| Self { peer, marks: Some(Marks::sample()), before: Some(Marks::sample()) })
            .collect()
    }
}

impl Signal for ChangedV1 {}
