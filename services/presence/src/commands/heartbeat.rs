use std::convert::Infallible;

use bus::Trail;
use contracts::TenantId;
use contracts::signals::presence::{HeartbeatPeer, HeartbeatV1};
use futures::StreamExt;

use super::{AT_ONCE, change};
use crate::Presence;
use crate::peer::Change;

/// Renews the leases of the peers a gateway has heard from. One that can't be renewed now is tried at the next beat.
pub(crate) async fn heartbeat(presence: &Presence, tenant: &TenantId, trail: &Trail, beat: HeartbeatV1) {
    let renewing = futures::stream::iter(beat.peers).map(|heard| renew(presence, tenant, trail, heard));
    renewing.buffer_unordered(AT_ONCE).collect::<()>().await;
}

async fn renew(presence: &Presence, tenant: &TenantId, trail: &Trail, heard: HeartbeatPeer) {
    let (now_ms, lease_ms) = (presence.platform.clock.now_ms(), presence.config.lease_ms);
    let renewed = change(presence, tenant, &heard.peer_id, trail, None, |known| {
        let renewed = known.and_then(|peer| peer.heartbeat(heard.generation, now_ms, lease_ms));
        Ok::<_, Infallible>(renewed.map(|peer| Change { peer, fact: None }))
    })
    .await;
    if let Err(error) = renewed {
        tracing::warn!(peer_id = %heard.peer_id, %error, "a lease was not renewed");
    }
}
