use std::convert::Infallible;

use bus::Trail;
use contracts::{PeerId, TenantId};
use futures::StreamExt;
use service::Rejection;
use store::{StoreError, limits};

use super::change;
use crate::Presence;
use crate::counts::SHARDS;
use crate::draft::Draft;
use crate::peer::Peer;
use crate::store::Stored;

/// Shards that one process sweeps at once.
const SHARDS_AT_ONCE: usize = 4;
/// Pages of leases that nobody can end, behind which a sweep still looks for others.
const MAX_IDLE_PAGES: usize = 10;

/// What came of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Peers that went offline by it.
    pub(crate) ended: usize,
    /// Whether more leases may have ended.
    pub(crate) more: bool,
}

/// Ends the leases whose time is over, up to about `sweep_batch`. Several processes share the work shard by shard. All
/// that a sweep knows is in the store: one that is cut off is carried on by the next, anywhere. A peer that can't be ended
/// now holds up no other.
pub(crate) async fn sweep(presence: &Presence) -> Result<Swept, StoreError> {
    // From another shard each time, so that processes don't run after each other.
    let first = u32::try_from(presence.platform.entropy.up_to(u64::from(SHARDS) - 1)).unwrap_or(0);
    let shards = (0..SHARDS).map(|number| (first + number) % SHARDS);
    let mut sweeping =
        futures::stream::iter(shards).map(|shard| sweep_shard(presence, shard)).buffer_unordered(SHARDS_AT_ONCE);
    let (mut all, mut failed) = (Swept::default(), None);
    while let Some(swept) = sweeping.next().await {
        match swept {
            Ok(Swept { ended, more }) => all = Swept { ended: all.ended + ended, more: all.more || more },
            Err(error) => failed = Some(error),
        }
    }
    metrics::counter!("synapse_presence_leases_ended_total").increment(all.ended as u64);
    failed.map_or(Ok(all), Err)
}

async fn sweep_shard(presence: &Presence, shard: u32) -> Result<Swept, StoreError> {
    let (peers, platform) = (&presence.peers, &presence.platform);
    if peers.ended_leases(shard, platform.clock.now_ms(), 1, None).await?.is_quiet() {
        return Ok(Swept::default());
    }
    let Some(claim) = peers.claim(shard, platform.clock.now_ms(), platform.entropy.next_u64()).await? else {
        return Ok(Swept::default());
    };
    let swept = sweep_claimed(presence, shard).await;
    peers.release(claim).await?;
    swept
}

async fn sweep_claimed(presence: &Presence, shard: u32) -> Result<Swept, StoreError> {
    let (limit, now_ms) = (presence.config.sweep_batch.div_ceil(SHARDS), presence.platform.clock.now_ms());
    let mut after = None;
    for _ in 0..MAX_IDLE_PAGES {
        let page = presence.peers.ended_leases(shard, now_ms, limit, after).await?;
        let ended = end_all(presence, page.peers, now_ms).await?;
        after = page.next;
        if ended > 0 || after.is_none() {
            return Ok(Swept { ended, more: ended > 0 && after.is_some() });
        }
    }
    Ok(Swept::default())
}

/// A peer that ends, before and after.
struct Ending {
    tenant: TenantId,
    trail: Trail,
    before: Peer,
    now: Peer,
}

/// Ends these peers, as many in a transaction as fit.
async fn end_all(presence: &Presence, found: Vec<(TenantId, Stored)>, now_ms: u64) -> Result<usize, StoreError> {
    let (mut draft, mut ending, mut ended) = (Draft::default(), Vec::new(), 0);
    for (tenant, before) in found {
        let Some(change) = before.peer.clone().expire(now_ms) else { continue };
        if draft.writes() + before.writes_to_end() > limits::TRANSACTION_ACTIONS_MAX {
            let (full, those) = (std::mem::take(&mut draft), std::mem::take(&mut ending));
            ended += end_together(presence, full, those, now_ms).await?;
        }
        let trail = Trail::fresh(&presence.platform.clock, &presence.platform.entropy);
        presence.peers.write(&mut draft, &tenant, Some(&before), &change.peer, now_ms);
        if let Some(fact) = &change.fact {
            draft.publish(&tenant, &trail, &change.peer, fact);
        }
        ending.push(Ending { tenant, trail, before: before.peer, now: change.peer });
    }
    Ok(ended + end_together(presence, draft, ending, now_ms).await?)
}

/// Commits; where one of them stands in the way, each is ended by itself.
async fn end_together(
    presence: &Presence,
    draft: Draft,
    ending: Vec<Ending>,
    now_ms: u64,
) -> Result<usize, StoreError> {
    if ending.is_empty() {
        return Ok(0);
    }
    match presence.peers.commit(draft).await {
        Ok(true) => {
            for Ending { tenant, trail, before, now } in &ending {
                presence.tell_changed(tenant, trail, Some(before), now).await;
            }
            return Ok(ending.len());
        }
        Err(error) if error.is_retryable() => return Err(error),
        Ok(false) | Err(_) => {}
    }
    let mut ended = 0;
    for Ending { tenant, trail, now, .. } in ending {
        match end(presence, &tenant, &trail, &now.peer_id, now_ms).await {
            Ok(gone) => ended += usize::from(gone),
            Err(error) => tracing::warn!(%tenant, peer_id = %now.peer_id, %error, "an ended lease was not swept"),
        }
    }
    Ok(ended)
}

async fn end(
    presence: &Presence,
    tenant: &TenantId,
    trail: &Trail,
    peer_id: &PeerId,
    now_ms: u64,
) -> Result<bool, Rejection<Infallible>> {
    let ended =
        change(presence, tenant, peer_id, trail, None, |known| Ok(known.and_then(|peer| peer.expire(now_ms)))).await?;
    Ok(ended.is_some())
}

#[cfg(test)]
#[path = "expire_tests.rs"]
mod tests;
