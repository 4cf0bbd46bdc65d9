//! A peer says what it is and which rooms it is in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{IdentityKey, PeerView, Profile, Transport, peer};
use crate::{Contract, PeerId, Request};

/// A connected peer tells of itself. What is left out stays as it was; what is given replaces it whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DescribeV1 {
    /// Which peer.
    pub peer_id: PeerId,
    /// On which connection.
    pub generation: u64,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Its capabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
    /// How it can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transports: Option<Vec<Transport>>,
    /// The public keys that prove who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_keys: Option<Vec<IdentityKey>>,
    /// The rooms it is in, from its gateway: at most 24 of 1 to 100 characters of `[A-Za-z0-9_-]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Vec<String>>,
}

impl Contract for DescribeV1 {
    const KIND: &'static str = "presence.describe.v1";

    fn samples() -> Vec<Self> {
        let Profile { tags, capabilities, transports, identity_keys } = Profile::sample();
        vec![Self {
            peer_id: peer(),
            generation: 4,
            tags: Some(tags),
            capabilities: Some(capabilities),
            transports: Some(transports),
            identity_keys: Some(identity_keys),
            rooms: Some(vec!["lobby".into()]),
        }]
    }
}

/// Why a description was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum DescribeRefusal {
    /// This tenant has no such peer, or it is offline.
    UnknownPeer,
    /// A newer connection of the peer stands.
    StaleGeneration,
    /// Something in it breaks a rule.
    Invalid {
        /// Every rule that is broken, each as `field: rule`.
        violations: Vec<String>,
    },
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for DescribeV1 {
    type Reply = PeerView;
    type Refusal = DescribeRefusal;

    fn replies() -> Vec<PeerView> {
        vec![PeerView::sample()]
    }

    fn refusals() -> Vec<DescribeRefusal> {
        vec![
            DescribeRefusal::UnknownPeer,
            DescribeRefusal::StaleGeneration,
            DescribeRefusal::Invalid { violations: vec!["tags[0]: is empty; 1 to 50 characters".into()] },
        ]
    }
}
