//! The presence frames: who is here, and what others may know of me.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::events::presence::PeerStatus;
use crate::requests::presence::{IdentityKey, Transport};

/// What a client wants of presence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum PresenceAction {
    /// Who is here?
    List {
        /// Where the last page ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
        /// Only those.
        #[serde(flatten)]
        select: Select,
    },
    /// How many are here?
    Count {
        /// Also how many are in this room.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<String>,
    },
    /// What others may know of me. What is left out stays as it was.
    Describe {
        /// Words I can be found by.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tags: Option<Vec<String>>,
        /// What I can do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        capabilities: Option<Vec<String>>,
        /// How I can be reached, the best first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        transports: Option<Vec<Transport>>,
        /// The public keys that prove who I am.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identity_keys: Option<Vec<IdentityKey>>,
    },
    /// My own status.
    SetStatus {
        /// `online` or `away`.
        status: PeerStatus,
    },
    /// Tell me who comes and goes; a connection begins so. Replaces an earlier choice.
    Subscribe {
        /// Only those.
        #[serde(flatten)]
        select: Select,
    },
    /// Don't.
    Unsubscribe,
}

/// Which peers are meant; everything that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Select {
    /// Those in this room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Those with this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Those with this capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// Those that come from the same public address as this connection.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_network: bool,
}

/// What happened to a peer, as one who watches sees it: with a choice, coming into it is to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum PeerChange {
    /// It came.
    Joined,
    /// It is gone.
    Left,
    /// It is another than before.
    Updated,
    /// A change newer than this reader.
    #[serde(other)]
    Unknown,
}
