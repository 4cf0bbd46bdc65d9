//! The handshake of tunnels, `synapse.tunnel.v1`: one JSON text message from the agent, one from the edge, then binary
//! messages of the carrier.
//!
//! An agent opens several connections: the first says [`AgentFrame::Open`], further ones [`AgentFrame::Join`], and one
//! that goes on where a broken one stopped [`AgentFrame::Resume`].

use serde::{Deserialize, Serialize};

use crate::http::Problem;
use crate::{PeerId, TunnelId};

/// The subprotocol's name in `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "synapse.tunnel.v1";

/// The protocol's versions that this library speaks, newest first.
pub const VERSIONS: &[u32] = &[1];

/// Codes of a carrier's close, in the application range of RFC 6455 §7.4.2. Connecting anew helps only where a line
/// says so.
pub mod close {
    /// The edge restarts. Connect anew.
    pub const RESTART: u16 = 1012;
    /// The token's time is over. Connect anew with a new one.
    pub const TOKEN_EXPIRED: u16 = 4410;
    /// The subscription no longer entitles the agent. Don't connect before it does.
    pub const ENTITLEMENT_LOST: u16 = 4402;
    /// The proof ended and no newer one came. Connect anew with a new one.
    pub const PROOF_ENDED: u16 = 4403;
    /// The tunnel was taken away by its owner or an administrator. Don't connect anew.
    pub const REMOVED: u16 = 4404;
    /// Another agent with the same identity opened the tunnel. Don't connect anew, or the two take it from each other.
    pub const TAKEN_OVER: u16 = 4409;
    /// It was not resumed in time. Connect anew.
    pub const NOT_RESUMED: u16 = 4408;
}

/// What an agent says first on a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentFrame {
    /// Open a tunnel.
    Open {
        /// The versions it speaks; the edge takes the newest that both do.
        versions: Vec<u32>,
        /// What else it can do; unknown words are ignored.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        capabilities: Vec<String>,
        /// The program and its version, for the operator's eyes.
        program: String,
        /// The agent's identity: the same agent gets the same tunnel again.
        agent_id: PeerId,
        /// A subscription proof for `agent_id`, where the edge demands one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<String>,
        /// A vanity name, 3 to 32 letters, digits and hyphens.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// One more connection of the same agent.
    Join {
        /// From [`EdgeFrame::Opened`].
        session: String,
    },
    /// Go on where a connection broke.
    Resume {
        /// From [`EdgeFrame::Opened`] or [`EdgeFrame::Joined`].
        carrier: CarrierKey,
        /// How many bytes came.
        received: u64,
    },
}

/// What an edge answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EdgeFrame {
    /// The tunnel is open.
    Opened {
        /// The version that is spoken.
        version: u32,
        /// What the edge can do besides.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        capabilities: Vec<String>,
        /// Names the agent's session; whoever knows it may add connections.
        session: String,
        /// How many connections the agent should hold.
        connections: u32,
        /// How carriers behave here.
        terms: CarrierTerms,
        /// The first connection's carrier.
        carrier: CarrierKey,
        /// The tunnel.
        tunnel: TunnelView,
    },
    /// The connection was added.
    Joined {
        /// Its carrier.
        carrier: CarrierKey,
    },
    /// The connection goes on.
    Resumed {
        /// How many bytes came.
        received: u64,
    },
    /// No. The connection closes.
    Refused {
        /// Why, and what to do.
        problem: Box<Problem>,
    },
}

/// Names a carrier; whoever knows it may go on with it, so it is as secret as a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CarrierKey(pub String);

impl std::fmt::Debug for CarrierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CarrierKey(…)")
    }
}

/// How carriers behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierTerms {
    /// Most unacknowledged bytes per direction.
    pub window_bytes: u64,
    /// A broken connection may be resumed within this time, milliseconds.
    pub resume_within_ms: u64,
    /// How often a ping is sent, milliseconds.
    pub ping_every_ms: u64,
    /// After so long in silence a connection counts as broken, milliseconds.
    pub dead_after_ms: u64,
}

/// A tunnel as its agent sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelView {
    /// Names it for good.
    pub tunnel_id: TunnelId,
    /// Its vanity name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where the public reaches it; the first is the one to show.
    pub urls: Vec<String>,
}
