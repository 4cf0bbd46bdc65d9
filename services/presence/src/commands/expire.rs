use std::convert::Infallible;

use bus::Trail;
use contracts::{PeerId, TenantId};
use futures::StreamExt;
use service::Rejection;
use store::StoreError;

use super::{AT_ONCE, change};
use crate::Presence;

/// Ends the leases whose time is over, one batch. Returns how many peers went offline by it. A peer that can't be
/// ended now holds up no other; the next sweep finds it again.
pub(crate) async fn sweep(presence: &Presence) -> Result<usize, StoreError> {
    let now_ms = presence.platform.clock.now_ms();
    let ended = presence.peers.ended_leases(now_ms, presence.config.sweep_batch).await?;
    let ending = futures::stream::iter(ended).map(|(tenant, peer_id)| async move {
        end(presence, &tenant, &peer_id, now_ms).await.unwrap_or_else(|error| {
            tracing::warn!(%tenant, %peer_id, %error, "an ended lease was not swept");
            false
        })
    });
    Ok(ending.buffer_unordered(AT_ONCE).filter(|&gone| std::future::ready(gone)).count().await)
}

async fn end(
    presence: &Presence,
    tenant: &TenantId,
    peer_id: &PeerId,
    now_ms: u64,
) -> Result<bool, Rejection<Infallible>> {
    let trail = Trail::fresh(&presence.platform.clock, &presence.platform.entropy);
    let ended =
        change(presence, tenant, peer_id, &trail, None, |known| Ok(known.and_then(|peer| peer.expire(now_ms)))).await?;
    Ok(ended.is_some())
}
