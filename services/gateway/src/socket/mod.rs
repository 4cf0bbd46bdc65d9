//! The connection of a client: `GET /v1/ws` speaks `synapse.v1` over a WebSocket; [`crate::http`] brings the same over
//! an event stream.

mod codec;
mod connection;
mod desk;
mod frames;
mod handshake;
mod papers;
mod peer;
mod rules;
mod transport;

pub(crate) use connection::{Arrival, run};
pub(crate) use handshake::{check, room, upgrade};
pub(crate) use papers::Credential;
pub(crate) use transport::{Stream, Transport};

use contracts::frames::close;

use crate::registry::Farewell;

/// Nobody authenticated in time, or with a token that was refused.
const UNAUTHENTICATED: Farewell = farewell(close::UNAUTHENTICATED, "unauthenticated");
/// The subscription no longer entitles the peer.
pub(crate) const ENTITLEMENT_LOST: Farewell = farewell(close::ENTITLEMENT_LOST, "entitlement_lost");
/// The proof is missing, void or over.
pub(crate) const PROOF_REFUSED: Farewell = farewell(close::PROOF_REFUSED, "proof_refused");
/// As many peers as the plan allows are here.
const QUOTA_EXCEEDED: Farewell = farewell(close::QUOTA_EXCEEDED, "quota_exceeded");
/// A newer connection of the same peer.
pub(crate) const TAKEN_OVER: Farewell = farewell(close::TAKEN_OVER, "taken_over");
/// Frames piled up.
pub(crate) const SLOW_CONSUMER: Farewell =
    Farewell { code: close::SLOW_CONSUMER, reason: "slow_consumer", reconnect_after_ms: Some(1_000) };
/// Too many connections of one tenant or user.
const TOO_MANY: Farewell =
    Farewell { code: close::TOO_MANY, reason: "too_many_connections", reconnect_after_ms: Some(5_000) };
/// Too many bad frames.
const PROTOCOL_ABUSE: Farewell = farewell(close::PROTOCOL_ABUSE, "protocol_abuse");
/// What could tell whose token it is was away.
const UNAVAILABLE: Farewell =
    Farewell { code: close::SERVICE_RESTART, reason: "unavailable", reconnect_after_ms: Some(5_000) };
/// The token's time is over.
const TOKEN_EXPIRED: Farewell =
    Farewell { code: close::TOKEN_EXPIRED, reason: "token_expired", reconnect_after_ms: Some(0) };
/// Nothing was heard for too long, or presence heard nothing of the peer.
pub(crate) const SILENT: Farewell = Farewell { code: close::SILENT, reason: "silent", reconnect_after_ms: Some(0) };

const fn farewell(code: u16, reason: &'static str) -> Farewell {
    Farewell { code, reason, reconnect_after_ms: None }
}

/// The server is stopping: come back after a while that differs from client to client.
fn restarting(jitter_ms: u64) -> Farewell {
    Farewell { code: close::SERVICE_RESTART, reason: "service_restart", reconnect_after_ms: Some(500 + jitter_ms) }
}
