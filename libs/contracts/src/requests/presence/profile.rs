//! What a peer tells others of itself, and by what others find it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most tags of a peer, and most capabilities.
pub const MAX_LABELS: usize = 10;
/// Longest tag or capability: characters of `[A-Za-z0-9_.:-]`.
pub const MAX_LABEL_CHARS: usize = 50;
/// Most transports of a peer.
pub const MAX_TRANSPORTS: usize = 8;
/// Longest address of a transport: printable ASCII without spaces.
pub const MAX_ADDRESS_CHARS: usize = 200;
/// Most identity keys of a peer: the one in use and the next.
pub const MAX_IDENTITY_KEYS: usize = 2;
/// Most rooms of a peer. All that is found by goes into one transaction of at most 100 writes when a peer leaves, and a
/// room takes two (its row and its count).
pub const MAX_ROOMS: usize = 24;

/// What a peer tells others of itself. It lasts as long as the connection it was told on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// Words it can be found by (`team-a`): at most 10 of 1 to 50 characters of `[A-Za-z0-9_.:-]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What it can do (`video`, `file:v2`): as many and as long as tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// How it can be reached, the best first: at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transports: Vec<Transport>,
    /// The public keys that prove who it is: at most 2, the one in use first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identity_keys: Vec<IdentityKey>,
}

impl Profile {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn sample() -> Self {
        Self {
            tags: vec!["team-a".into()],
            capabilities: vec!["video".into()],
            transports: vec![Transport { kind: TransportKind::LocalNetwork, address: Some("192.0.2.7:7777".into()) }],
            identity_keys: vec![IdentityKey::sample()],
        }
    }
}

/// A way to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transport {
    /// Which kind.
    pub kind: TransportKind,
    /// Where, in the kind's own words; nothing for what signaling settles. 1 to 200 printable ASCII characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// Kinds of ways to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum TransportKind {
    /// WebRTC, arranged by signaling.
    Webrtc,
    /// QUIC in a local network.
    LocalNetwork,
    /// Bluetooth.
    Bluetooth,
    /// The platform's relay.
    Relay,
    /// A kind newer than this reader.
    #[serde(other)]
    Unknown,
}

/// A public key that proves who a peer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IdentityKey {
    /// Which kind.
    pub kind: KeyKind,
    /// The key, base64url without padding (RFC 4648 §5): 32 bytes of `ed25519` (RFC 8032) and `x25519` (RFC 7748), 65 of
    /// `p256` (uncompressed, SEC 1 §2.3.3).
    pub key: String,
}

impl IdentityKey {
    pub(crate) fn sample() -> Self {
        // The public key of RFC 8032 §7.1, test 1.
        Self { kind: KeyKind::Ed25519, key: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into() }
    }
}

/// Kinds of identity keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum KeyKind {
    /// Signatures, RFC 8032.
    Ed25519,
    /// Key agreement, RFC 7748.
    X25519,
    /// Both, on NIST's curve, for browsers without the others.
    P256,
    /// A kind newer than this reader.
    #[serde(other)]
    Unknown,
}

/// By what peers are chosen; everything that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerFilter {
    /// In this room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// With this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// With this capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// In the network that presence gave this name (`network` of [`super::Connected`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

impl PeerFilter {
    pub(crate) fn sample() -> Self {
        let [room, tag, capability] = ["lobby", "team-a", "video"].map(|name| Some(name.to_owned()));
        Self { room, tag, capability, network: Marks::sample().network }
    }

    /// Whether it lets everybody through.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a peer with these marks is chosen.
    pub fn holds(&self, marks: &Marks) -> bool {
        let among = |wanted: &Option<String>, found: &[String]| wanted.as_ref().is_none_or(|name| found.contains(name));
        among(&self.room, &marks.rooms)
            && among(&self.tag, &marks.tags)
            && among(&self.capability, &marks.capabilities)
            && (self.network.is_none() || self.network == marks.network)
    }
}

/// What a reachable peer is found by. For processes of the platform only: a room's name opens the room, and a network's
/// name tells who sits together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Marks {
    /// Rooms it is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<String>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Its capabilities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// The name of its network: a keyed hash of its public address, different in every tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

impl Marks {
    pub(crate) fn sample() -> Self {
        Self {
            rooms: vec!["lobby".into()],
            tags: vec!["team-a".into()],
            capabilities: vec!["video".into()],
            network: Some("8b1a9953c4611296a827abf8c47804d7".into()),
        }
    }
}
