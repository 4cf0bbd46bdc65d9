//! One use case each. All of them load a peer, let it decide, commit, and decide anew when it was changed meanwhile.

pub(crate) mod connect;
pub(crate) mod disconnect;
pub(crate) mod expire;
pub(crate) mod heartbeat;
pub(crate) mod queries;
pub(crate) mod set_status;

use bus::Trail;
use contracts::{PeerId, TenantId};
use outbox::Unit;
use service::Rejection;

use crate::Presence;
use crate::peer::{Change, Peer};
use crate::places::{self, Room};

/// How often a command decides anew when others keep changing the same peer.
const MAX_DECISIONS: usize = 8;
/// The same while a subscription's places are taken one after the other: each round lets one process through.
const MAX_GATE_ROUNDS: usize = 64;
/// Peers of one sweep or heartbeat that are written at once: the store joins their commits into few.
const AT_ONCE: usize = 64;

/// Most peers of a subscription that may be here at once, and what is answered to the next.
pub(crate) struct Limit<R> {
    pub(crate) peers: u64,
    pub(crate) refusal: R,
}

/// Runs `decide` on the stored peer and commits what it says; `None` from it means that nothing changes.
pub(crate) async fn change<R: Clone>(
    presence: &Presence,
    tenant: &TenantId,
    peer_id: &PeerId,
    trail: &Trail,
    limit: Option<Limit<R>>,
    decide: impl Fn(Option<Peer>) -> Result<Option<Change>, R>,
) -> Result<Option<Peer>, Rejection<R>> {
    let rounds = if limit.is_some() { MAX_GATE_ROUNDS } else { MAX_DECISIONS };
    let mut turn = None;
    for _ in 0..rounds {
        let before = presence.peers.find(tenant, peer_id).await?;
        let Some(change) = decide(before.clone().map(|stored| stored.peer)).map_err(Rejection::Refused)? else {
            return Ok(None);
        };
        if before.as_ref().is_some_and(|stored| stored.peer == change.peer) {
            return Ok(Some(change.peer));
        }
        let mut unit = Unit::new();
        if let Some(Limit { peers, refusal }) = &limit {
            let subscription = &change.peer.subscription_id;
            match presence.peers.room(tenant, before.as_ref(), &change.peer, *peers).await? {
                Room::Full => return Err(Rejection::Refused(refusal.clone())),
                Room::Plenty => {}
                Room::Near { .. } if turn.is_none() => {
                    turn = Some(presence.turns.take(subscription).await);
                    continue;
                }
                Room::Near { gate } => places::pass(&mut unit, tenant, subscription, gate),
            }
        }
        presence.peers.write(&mut unit, tenant, before.as_ref(), &change.peer, presence.platform.clock.now_ms());
        if let Some(fact) = &change.fact {
            unit.publish(tenant, change.peer.sequence, trail, fact);
        }
        if presence.peers.commit(unit).await? {
            if change.fact.is_some() {
                presence.tell_changed(tenant, trail, &change.peer).await;
            }
            return Ok(Some(change.peer));
        }
    }
    Err(Rejection::busy(format!("peer {peer_id} is being changed by many at once; try again")))
}
