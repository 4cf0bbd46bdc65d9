//! One use case each. All of them load a peer, let it decide, commit, and decide anew when it was changed meanwhile.

pub(crate) mod connect;
pub(crate) mod describe;
pub(crate) mod disconnect;
pub(crate) mod expire;
pub(crate) mod heartbeat;
pub(crate) mod queries;
pub(crate) mod set_status;

use bus::Trail;
use contracts::{PeerId, TenantId};
use service::Rejection;

use crate::Presence;
use crate::draft::Draft;
use crate::peer::{Change, Peer};
use crate::places::{self, Room};

/// How often a command decides anew when others keep changing the same peer.
const MAX_DECISIONS: usize = 8;
/// The same while a subscription's places are taken one after the other: each round lets one process through.
const MAX_GATE_ROUNDS: usize = 64;
/// Peers of one heartbeat that are written at once: the store joins their commits into few.
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
        let mut draft = Draft::default();
        if let Some(Limit { peers, refusal }) = &limit {
            let subscription = &change.peer.subscription_id;
            match presence.peers.room(tenant, before.as_ref(), &change.peer, *peers).await? {
                Room::Full => return Err(Rejection::Refused(refusal.clone())),
                Room::Plenty => {}
                Room::Near { .. } if turn.is_none() => {
                    turn = Some(presence.turns.take(subscription).await);
                    continue;
                }
                Room::Near { gate } => places::pass(&mut draft, tenant, subscription, gate),
            }
        }
        let (now, was) = (&change.peer, before.as_ref().map(|stored| &stored.peer));
        presence.peers.write(&mut draft, tenant, before.as_ref(), now, presence.platform.clock.now_ms());
        if let Some(fact) = &change.fact {
            draft.publish(tenant, trail, now, fact);
        }
        if presence.peers.commit(draft).await? {
            // A heartbeat is no news.
            if change.fact.is_some() || was.map(|was| &was.rooms) != Some(&now.rooms) {
                presence.tell_changed(tenant, trail, was, now).await;
            }
            return Ok(Some(change.peer));
        }
    }
    Err(Rejection::busy(format!("peer {peer_id} is being changed by many at once; try again")))
}
