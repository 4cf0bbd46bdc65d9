//! One use case each.

pub(crate) mod empty;
pub(crate) mod end;
pub(crate) mod ice_servers;
pub(crate) mod open_session;
pub(crate) mod send;

use bus::Trail;
use contracts::events::presence::PeerStatus;
use contracts::requests::presence::LookupRefusal;
use contracts::{NodeId, PeerId, TenantId};
use service::Rejection;

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

/// Where a peer is, by what presence says. `R` is whatever the asker refuses with.
async fn place<R>(
    signaling: &Signaling,
    tenant: &TenantId,
    trail: &Trail,
    peer_id: &PeerId,
) -> Result<Place, Rejection<R>> {
    let peer = match signaling.peers.lookup(tenant, trail, peer_id).await {
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
