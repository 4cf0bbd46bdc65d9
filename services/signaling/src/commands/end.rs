use bus::{Envelope, Trail};
use contracts::events::signaling::SessionEnd;
use contracts::{PeerId, SessionId, TenantId};
use outbox::Unit;
use store::StoreError;

use crate::Signaling;
use crate::store::{Sessions, Stored};

/// Most sessions that are ended in one transaction: each takes four actions of a hundred, and the consumer adds its own.
const MAX_SESSIONS: u32 = 20;

/// Ends the sessions of a peer that `lost` says is gone: the last of them with `unit`, those before in transactions of
/// their own. What was opened after the loss is of the peer's next life and stays, however late the fact comes.
pub(crate) async fn end_of_peer(
    signaling: &Signaling,
    lost: &Envelope,
    peer: &PeerId,
    unit: &mut Unit,
) -> Result<(), StoreError> {
    let (tenant, trail) = (&lost.tenant, lost.follow());
    let mut after = None;
    loop {
        let (sessions, next) = signaling.sessions.of_peer(tenant, peer, MAX_SESSIONS, after.clone()).await?;
        let mut batch = Unit::new();
        let ending = if next.is_some() { &mut batch } else { &mut *unit };
        for id in sessions {
            if let Some(found) = signaling.sessions.find(tenant, &id).await?
                && found.session.opened_at_ms <= lost.time_ms
            {
                end(tenant, &found, SessionEnd::PeerLost, &trail, ending);
            }
        }
        if next.is_none() {
            return Ok(());
        }
        // A session that changed meanwhile: the same page again.
        if signaling.sessions.commit(batch).await? {
            after = next;
        }
    }
}

/// Ends sessions in which nothing was said for too long, one batch. Returns how many. One that can't be ended now holds
/// up no other; the next sweep finds it again.
pub(crate) async fn sweep(signaling: &Signaling) -> Result<usize, StoreError> {
    let now_ms = signaling.platform.clock.now_ms();
    let mut ended = 0;
    for (tenant, id) in signaling.sessions.silent(now_ms, 1_000).await? {
        match end_silent(signaling, &tenant, &id, now_ms).await {
            Ok(gone) => ended += usize::from(gone),
            Err(error) => tracing::warn!(%tenant, session_id = %id, %error, "a silent session was not ended"),
        }
    }
    Ok(ended)
}

async fn end_silent(signaling: &Signaling, tenant: &TenantId, id: &SessionId, now_ms: u64) -> Result<bool, StoreError> {
    let Some(found) = signaling.sessions.find(tenant, id).await? else { return Ok(false) };
    if found.session.idle_until_ms > now_ms {
        return Ok(false);
    }
    let trail = Trail::fresh(&signaling.platform.clock, &signaling.platform.entropy);
    let mut unit = Unit::new();
    end(tenant, &found, SessionEnd::TimedOut, &trail, &mut unit);
    signaling.sessions.commit(unit).await
}

fn end(tenant: &TenantId, found: &Stored, reason: SessionEnd, trail: &Trail, unit: &mut Unit) {
    Sessions::remove(unit, tenant, found);
    unit.publish(tenant, found.session.sequence + 1, trail, &found.session.ended(reason, None));
}
