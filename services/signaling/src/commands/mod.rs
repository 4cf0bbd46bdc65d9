//! One use case each.

pub(crate) mod end;
pub(crate) mod open_session;
pub(crate) mod send;

use bus::Asked;
use contracts::PeerId;
use contracts::events::presence::PeerStatus;
use contracts::requests::presence::{LookupRefusal, PeerView};
use service::Rejection;

use crate::Signaling;

/// How often a command decides anew when others keep changing the same session.
const MAX_DECISIONS: usize = 8;

/// Why the other peer can't be reached.
pub(crate) enum Unreachable {
    /// This tenant never saw it.
    Unknown,
    /// It is not here, or its entitlement is gone.
    Offline,
}

/// The other peer, if it is here and entitled.
async fn reach(signaling: &Signaling, asked: &Asked, peer_id: &PeerId) -> Result<PeerView, Rejection<Unreachable>> {
    let peer = signaling.peers.lookup(&asked.tenant, &asked.trail, peer_id).await.map_err(|rejection| {
        rejection.map_refusal(|refusal| match refusal {
            LookupRefusal::UnknownPeer => Unreachable::Unknown,
            LookupRefusal::Unknown => Unreachable::Offline,
        })
    })?;
    let entitled = !signaling.proofs.is_revoked(&peer.subscription_id, peer.proof_ver);
    match peer.status {
        PeerStatus::Online | PeerStatus::Away if entitled => Ok(peer),
        _ => Err(Rejection::Refused(Unreachable::Offline)),
    }
}
