//! What presence publishes: peers come, go and change their status.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::requests::presence::Profile;
use crate::{Contract, Event, NodeId, PeerId, SubscriptionId};

events! {
    /// Facts about peers.
    PresenceEvent {
        /// A peer is reachable.
        WentOnline(PeerWentOnlineV1),
        /// A peer is gone.
        WentOffline(PeerWentOfflineV1),
        /// A reachable peer changed its status.
        StatusChanged(PeerStatusChangedV1),
        /// A reachable peer tells other things of itself.
        Described(PeerDescribedV1),
    }
}

/// Where a peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum PeerStatus {
    /// Its connection is being set up.
    Connecting,
    /// Reachable.
    Online,
    /// Reachable, nobody is looking.
    Away,
    /// Not reachable.
    Offline,
    /// A status newer than this reader.
    #[serde(other)]
    Unknown,
}

/// Why a peer went offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum OfflineReason {
    /// It said goodbye or its connection closed.
    Left,
    /// Its heartbeats stopped.
    TimedOut,
    /// Its subscription no longer entitles it.
    EntitlementLost,
    /// A reason newer than this reader.
    #[serde(other)]
    Unknown,
}

/// A peer is reachable at a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerWentOnlineV1 {
    /// Which peer.
    pub peer_id: PeerId,
    /// Counts the peer's connections; a newer one has a larger number.
    pub generation: u64,
    /// The gateway process that holds its connection.
    pub node_id: NodeId,
    /// The subscription that entitles it.
    pub subscription_id: SubscriptionId,
    /// What it tells of itself.
    #[serde(default, skip_serializing_if = "Profile::is_empty")]
    pub profile: Profile,
}

impl Contract for PeerWentOnlineV1 {
    const KIND: &'static str = "presence.peer_went_online.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            peer_id: sample_peer(),
            generation: 4,
            node_id: "gateway-1".parse().expect("a valid id"),
            subscription_id: "sub-01".parse().expect("a valid id"),
            profile: Profile::sample(),
        }]
    }
}

impl Event for PeerWentOnlineV1 {
    fn aggregate(&self) -> String {
        format!("peer/{}", self.peer_id)
    }
}

/// A peer is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerWentOfflineV1 {
    /// Which peer.
    pub peer_id: PeerId,
    /// The connection that ended.
    pub generation: u64,
    /// Why.
    pub reason: OfflineReason,
}

impl Contract for PeerWentOfflineV1 {
    const KIND: &'static str = "presence.peer_went_offline.v1";

    fn samples() -> Vec<Self> {
        vec![Self { peer_id: sample_peer(), generation: 4, reason: OfflineReason::TimedOut }]
    }
}

impl Event for PeerWentOfflineV1 {
    fn aggregate(&self) -> String {
        format!("peer/{}", self.peer_id)
    }
}

/// A reachable peer changed its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerStatusChangedV1 {
    /// Which peer.
    pub peer_id: PeerId,
    /// On which connection.
    pub generation: u64,
    /// Its new status.
    pub status: PeerStatus,
}

impl Contract for PeerStatusChangedV1 {
    const KIND: &'static str = "presence.peer_status_changed.v1";

    fn samples() -> Vec<Self> {
        vec![Self { peer_id: sample_peer(), generation: 4, status: PeerStatus::Away }]
    }
}

impl Event for PeerStatusChangedV1 {
    fn aggregate(&self) -> String {
        format!("peer/{}", self.peer_id)
    }
}

/// A reachable peer tells other things of itself than before: tags, capabilities, transports or identity keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerDescribedV1 {
    /// Which peer.
    pub peer_id: PeerId,
    /// On which connection.
    pub generation: u64,
    /// All that it tells of itself now.
    pub profile: Profile,
}

impl Contract for PeerDescribedV1 {
    const KIND: &'static str = "presence.peer_described.v1";

    fn samples() -> Vec<Self> {
        vec![Self { peer_id: sample_peer(), generation: 4, profile: Profile::sample() }]
    }
}

impl Event for PeerDescribedV1 {
    fn aggregate(&self) -> String {
        format!("peer/{}", self.peer_id)
    }
}

fn sample_peer() -> PeerId {
    "alice".parse().expect("a valid id")
}
