//! One use case each.

pub(crate) mod empty;
pub(crate) mod end;
pub(crate) mod ice_servers;
pub(crate) mod open_session;
pub(crate) mod send;

use std::time::Duration;

use bus::Trail;
use contracts::events::presence::PeerStatus;
use contracts::requests::presence::{LookupRefusal, LookupV1};
use contracts::{NodeId, PeerId, TenantId};
use service::{Rejection, expect_reply};

use crate::Signaling;

/// How often a command decides anew when others keep changing the same things.
const MAX_DECISIONS: usize = 8;

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Connected to this gateway process.
    Here(NodeId),
    /// Not connected now.
    Away,
    /// This tenant never saw it.
    Unknown,
    /// Its entitlement is gone.
    Barred,
}

/// Asks presence where a peer is. `R` is whatever the asker refuses with.
async fn place<R>(
    signaling: &Signaling,
    tenant: &TenantId,
    trail: &Trail,
    peer_id: &PeerId,
) -> Result<Place, Rejection<R>> {
    let platform = &signaling.platform;
    let lookup = LookupV1 { peer_id: peer_id.clone() };
    let timeout = Duration::from_millis(signaling.config.lookup_timeout_ms);
    let answer = platform.bus.ask(&platform.sender, tenant, trail, &lookup, timeout).await?;
    let peer = match expect_reply(answer) {
        Ok(peer) => peer,
        Err(Rejection::Refused(LookupRefusal::UnknownPeer)) => return Ok(Place::Unknown),
        Err(Rejection::Refused(LookupRefusal::Unknown)) => return Ok(Place::Away),
        Err(Rejection::Failed(failure)) => return Err(Rejection::Failed(failure)),
    };
    if signaling.proofs.is_revoked(&peer.subscription_id, peer.proof_ver) {
        return Ok(Place::Barred);
    }
    match peer.status {
        PeerStatus::Online | PeerStatus::Away => Ok(Place::Here(peer.node_id)),
        PeerStatus::Connecting | PeerStatus::Offline | PeerStatus::Unknown => Ok(Place::Away),
    }
}
