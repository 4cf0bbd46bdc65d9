//! What presence is asked: connect, disconnect, set a status, describe, look a peer up, list, count.

mod count;
mod describe;
mod profile;

pub use count::{CountRefusal, CountV1, PeerCounts};
pub use describe::{DescribeRefusal, DescribeV1};
pub use profile::{
    IdentityKey, KeyKind, MAX_ADDRESS_CHARS, MAX_IDENTITY_KEYS, MAX_LABEL_CHARS, MAX_LABELS, MAX_ROOMS, MAX_TRANSPORTS,
    Marks, PeerFilter, Profile, Transport, TransportKind,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::events::presence::{OfflineReason, PeerStatus};
use crate::{ConnectionId, Contract, Entry, NodeId, PeerId, Request, SubscriptionId, UserId};

pub(crate) fn entries() -> Vec<Entry> {
    [
        Entry::request::<ConnectV1>(),
        Entry::request::<DisconnectV1>(),
        Entry::request::<SetStatusV1>(),
        Entry::request::<LookupV1>(),
        Entry::request::<ListV1>(),
        Entry::request::<DescribeV1>(),
        Entry::request::<CountV1>(),
    ]
    .concat()
}

/// A peer as others may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerView {
    /// Which peer.
    pub peer_id: PeerId,
    /// Where it stands.
    pub status: PeerStatus,
    /// Which of its connections this is about.
    pub generation: u64,
    /// The gateway process that holds its connection.
    pub node_id: NodeId,
    /// The subscription that entitles it.
    pub subscription_id: SubscriptionId,
    /// The `ver` of the proof it connected with; a revocation above it ends the entitlement.
    pub proof_ver: u64,
    /// When its lease ends unless it is heard of, Unix milliseconds.
    pub lease_until_ms: u64,
    /// What it tells of itself.
    #[serde(default, skip_serializing_if = "Profile::is_empty")]
    pub profile: Profile,
}

impl PeerView {
    pub(crate) fn sample() -> Self {
        Self {
            peer_id: peer(),
            status: PeerStatus::Online,
            generation: 4,
            node_id: "gateway-1".parse().expect("a valid id"),
            subscription_id: "sub-01".parse().expect("a valid id"),
            proof_ver: 2,
            lease_until_ms: 1_790_000_030_000,
            profile: Profile::sample(),
        }
    }
}

/// A peer has connected to a gateway. A newer connection of the same peer replaces the older one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectV1 {
    /// Which peer.
    pub peer_id: PeerId,
    /// Whose it is.
    pub user_id: UserId,
    /// The gateway process that holds the connection.
    pub node_id: NodeId,
    /// The connection; the same one again changes nothing.
    pub connection_id: ConnectionId,
    /// The subscription that entitles it (`sid` of its proof).
    pub subscription_id: SubscriptionId,
    /// `ver` of its proof.
    pub proof_ver: u64,
    /// Most peers that may be here under this subscription at once (`peers` of its proof's limits).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_peers: Option<u64>,
    /// `connecting` for a peer that is not ready yet and says `online` itself; `online` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<PeerStatus>,
    /// What it tells of itself.
    #[serde(default, skip_serializing_if = "Profile::is_empty")]
    pub profile: Profile,
    /// The public address it comes from. Only a keyed hash of it is kept, to tell who shares a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Contract for ConnectV1 {
    const KIND: &'static str = "presence.connect.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            peer_id: peer(),
            user_id: "ada".parse().expect("a valid id"),
            node_id: "gateway-1".parse().expect("a valid id"),
            connection_id: "conn-01".parse().expect("a valid id"),
            subscription_id: "sub-01".parse().expect("a valid id"),
            proof_ver: 2,
            max_peers: Some(50),
            status: Some(PeerStatus::Online),
            profile: Profile::sample(),
            address: Some("203.0.113.9".into()),
        }]
    }
}

/// The peer's place is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connected {
    /// The number of this connection among the peer's; heartbeats and leaves carry it.
    pub generation: u64,
    /// How long the lease lasts without a heartbeat, milliseconds.
    pub lease_ms: u64,
    /// The name of its network, where its address was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

/// Why a peer may not connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum ConnectRefusal {
    /// The peer id belongs to another user of this tenant.
    NotOwner,
    /// As many peers as the plan allows are here.
    TooManyPeers {
        /// How many that is.
        limit: u64,
    },
    /// A connection begins as `connecting` or `online`.
    InvalidTransition {
        /// How it should have begun.
        to: PeerStatus,
    },
    /// What it tells of itself breaks a rule.
    Invalid {
        /// Every rule that is broken, each as `field: rule`.
        violations: Vec<String>,
    },
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for ConnectV1 {
    type Reply = Connected;
    type Refusal = ConnectRefusal;

    fn replies() -> Vec<Connected> {
        vec![Connected { generation: 4, lease_ms: 30_000, network: Marks::sample().network }]
    }

    fn refusals() -> Vec<ConnectRefusal> {
        vec![
            ConnectRefusal::NotOwner,
            ConnectRefusal::TooManyPeers { limit: 50 },
            ConnectRefusal::InvalidTransition { to: PeerStatus::Away },
            ConnectRefusal::Invalid { violations: vec!["tags[0]: is empty; 1 to 50 characters".into()] },
        ]
    }
}

/// A connection has ended. A stale generation changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DisconnectV1 {
    /// Which peer.
    pub peer_id: PeerId,
    /// Which connection.
    pub generation: u64,
    /// Why.
    pub reason: OfflineReason,
}

impl Contract for DisconnectV1 {
    const KIND: &'static str = "presence.disconnect.v1";

    fn samples() -> Vec<Self> {
        vec![Self { peer_id: peer(), generation: 4, reason: OfflineReason::Left }]
    }
}

/// Whether the peer went offline by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disconnected {
    /// False when a newer connection stands or the peer was offline already.
    pub went_offline: bool,
}

/// Why a leave was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum DisconnectRefusal {
    /// This tenant has no such peer.
    UnknownPeer,
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for DisconnectV1 {
    type Reply = Disconnected;
    type Refusal = DisconnectRefusal;

    fn replies() -> Vec<Disconnected> {
        vec![Disconnected { went_offline: true }]
    }

    fn refusals() -> Vec<DisconnectRefusal> {
        vec![DisconnectRefusal::UnknownPeer]
    }
}

/// A connected peer changes its own status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetStatusV1 {
    /// Which peer.
    pub peer_id: PeerId,
    /// On which connection.
    pub generation: u64,
    /// `online` or `away`.
    pub status: PeerStatus,
}

impl Contract for SetStatusV1 {
    const KIND: &'static str = "presence.set_status.v1";

    fn samples() -> Vec<Self> {
        vec![Self { peer_id: peer(), generation: 4, status: PeerStatus::Away }]
    }
}

/// Why a status was not changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum SetStatusRefusal {
    /// This tenant has no such peer, or it is offline.
    UnknownPeer,
    /// A newer connection of the peer stands.
    StaleGeneration,
    /// The status machine does not allow it.
    InvalidTransition {
        /// Where it stands.
        from: PeerStatus,
        /// Where it should have gone.
        to: PeerStatus,
    },
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for SetStatusV1 {
    type Reply = PeerView;
    type Refusal = SetStatusRefusal;

    fn replies() -> Vec<PeerView> {
        vec![PeerView::sample()]
    }

    fn refusals() -> Vec<SetStatusRefusal> {
        vec![
            SetStatusRefusal::UnknownPeer,
            SetStatusRefusal::StaleGeneration,
            SetStatusRefusal::InvalidTransition { from: PeerStatus::Online, to: PeerStatus::Connecting },
        ]
    }
}

/// Where is that peer?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LookupV1 {
    /// Which peer.
    pub peer_id: PeerId,
}

impl Contract for LookupV1 {
    const KIND: &'static str = "presence.lookup.v1";

    fn samples() -> Vec<Self> {
        vec![Self { peer_id: peer() }]
    }
}

/// Why a peer was not told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum LookupRefusal {
    /// This tenant never saw such a peer.
    UnknownPeer,
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for LookupV1 {
    type Reply = PeerView;
    type Refusal = LookupRefusal;

    fn replies() -> Vec<PeerView> {
        vec![PeerView::sample()]
    }

    fn refusals() -> Vec<LookupRefusal> {
        vec![LookupRefusal::UnknownPeer]
    }
}

/// Who is here? Peers of the tenant that are not offline, by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListV1 {
    /// Peers a page, 1 to 100.
    pub limit: u32,
    /// Where the last page ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only those.
    #[serde(default, skip_serializing_if = "PeerFilter::is_empty")]
    pub filter: PeerFilter,
    /// Only those that share a network with this public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Contract for ListV1 {
    const KIND: &'static str = "presence.list.v1";

    fn samples() -> Vec<Self> {
        let Marks { network, .. } = Marks::sample();
        let filter = PeerFilter {
            room: Some("lobby".into()),
            tag: Some("team-a".into()),
            capability: Some("video".into()),
            network,
        };
        let (after, address) = (Some("YWxpY2U".into()), Some("203.0.113.9".into()));
        vec![Self { limit: 50, after, filter, address }]
    }
}

/// A page of peers. It may hold fewer than asked for, even none, while `next` says that more may follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerPage {
    /// The peers.
    pub peers: Vec<PeerView>,
    /// Set while more may follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Why a listing was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum ListRefusal {
    /// The limit is outside 1 to 100, `after` is not one of our page tokens, or a filter breaks its rule.
    InvalidPage {
        /// Which field and rule.
        message: String,
    },
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for ListV1 {
    type Reply = PeerPage;
    type Refusal = ListRefusal;

    fn replies() -> Vec<PeerPage> {
        vec![PeerPage { peers: vec![PeerView::sample()], next: Some("YWxpY2U".into()) }]
    }

    fn refusals() -> Vec<ListRefusal> {
        vec![ListRefusal::InvalidPage { message: "limit: 0 is outside 1 to 100".into() }]
    }
}

fn peer() -> PeerId {
    "alice".parse().expect("a valid id")
}
