//! The WebSocket protocol `synapse.v1`: what a client and the gateway say to each other, JSON in text messages.
//!
//! Every client frame has an `id` of the client's choosing and gets exactly one [`ServerFrame::Outcome`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::events::presence::PeerStatus;
use crate::http::Problem;
use crate::requests::presence::PeerView;
use crate::signals::signaling::PeerSignal;
use crate::{ConnectionId, PeerId, SessionId};

/// The subprotocol's name in `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "synapse.v1";

/// Close codes of the application range (RFC 6455 §7.4.2). Reconnecting helps only where a line says so.
pub mod close {
    /// No valid token within the time limit, or the token was refused. Don't reconnect with the same one.
    pub const UNAUTHENTICATED: u16 = 4401;
    /// The subscription no longer entitles the peer. Don't reconnect before it does.
    pub const ENTITLEMENT_LOST: u16 = 4402;
    /// The proof was refused. Get a new one, then reconnect.
    pub const PROOF_REFUSED: u16 = 4403;
    /// As many peers as the plan allows are connected. Reconnect when one has left.
    pub const QUOTA_EXCEEDED: u16 = 4429;
    /// A newer connection of the same peer took over. Don't reconnect.
    pub const TAKEN_OVER: u16 = 4409;
    /// The client read too slowly. Reconnect.
    pub const SLOW_CONSUMER: u16 = 4408;
    /// Nothing was heard from the client for too long. Reconnect.
    pub const SILENT: u16 = 4407;
    /// Too many bad frames. Mend the client first.
    pub const PROTOCOL_ABUSE: u16 = 4400;
    /// The token has expired. Reconnect with a new one.
    pub const TOKEN_EXPIRED: u16 = 4410;
    /// The server is restarting (registered, RFC 6455 registry). Reconnect after the hinted delay.
    pub const SERVICE_RESTART: u16 = 1012;
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// First frame: who I am.
    Auth {
        /// Names this frame.
        id: String,
        /// Access token (JWT).
        token: String,
        /// The peer this connection speaks for.
        peer_id: PeerId,
        /// Its subscription proof.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<String>,
    },
    /// Are you there?
    Ping {
        /// Names this frame.
        id: String,
    },
    /// About presence.
    Presence {
        /// Names this frame.
        id: String,
        /// What to do.
        #[serde(flatten)]
        action: PresenceAction,
    },
    /// Open a session with another peer.
    Session {
        /// Names this frame.
        id: String,
        /// With whom.
        to: PeerId,
    },
    /// Pass a signal on to the other peer of a session.
    Signal {
        /// Names this frame.
        id: String,
        /// Which session.
        session_id: SessionId,
        /// What to pass on.
        signal: PeerSignal,
    },
}

/// What a client wants of presence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum PresenceAction {
    /// Who is here?
    List {
        /// Where the last page ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// My own status.
    SetStatus {
        /// `online` or `away`.
        status: PeerStatus,
    },
}

/// What the gateway says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// First frame: what this connection is.
    Hello {
        /// The negotiated protocol.
        protocol: String,
        /// Names the connection.
        connection_id: ConnectionId,
        /// Send an auth frame within this time, milliseconds.
        auth_within_ms: u64,
        /// Send a frame (a ping, for want of another) at least this often, milliseconds.
        heartbeat_ms: u64,
    },
    /// What became of a client frame.
    Outcome {
        /// The client frame's id; absent when it could not be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The one outcome.
        outcome: Outcome,
        /// What was asked for, where something was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Value>,
        /// Why it was refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<Box<Problem>>,
    },
    /// A peer of the tenant came, went or changed.
    Presence {
        /// The peer as it is now.
        peer: PeerView,
    },
    /// A signal from the other peer of a session.
    Signal {
        /// Which session.
        session_id: SessionId,
        /// From whom.
        from: PeerId,
        /// Whether this side yields when both offer at once.
        polite: bool,
        /// What it says.
        signal: PeerSignal,
    },
    /// The gateway is about to close the connection with this code.
    Closing {
        /// The close code that follows.
        code: u16,
        /// A stable word for programs (`entitlement_lost`).
        reason: String,
        /// Whether reconnecting helps, and after how long, milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reconnect_after_ms: Option<u64>,
    },
}

/// What became of a client frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Accepted,
    /// Handed to the other peer's gateway.
    Delivered,
    /// Kept for later.
    Queued,
    /// Too late.
    Expired,
    /// A rule says no; see the problem.
    Refused,
}
