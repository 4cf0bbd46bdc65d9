use bus::{Envelope, Trail};
use contracts::{PeerId, SessionId, TenantId};
use outbox::Unit;
use store::StoreError;

use crate::Signaling;
use crate::session::{Change, Session};
use crate::store::{Sessions, Stored};

/// Most sessions that are changed in one transaction of a hundred actions: one of eight members takes ten, and the
/// consumer adds its own.
const MAX_SESSIONS: u32 = 8;

/// Tells the sessions of a peer that it came or went, as `decide` has it: the last of them with `unit`, those before in
/// transactions of their own. What was opened after the news is of the peer's next life and stays, however late they come.
pub(crate) async fn tell_sessions(
    signaling: &Signaling,
    news: &Envelope,
    peer: &PeerId,
    unit: &mut Unit,
    decide: impl Fn(Session) -> Change,
) -> Result<(), StoreError> {
    let (tenant, trail) = (&news.tenant, news.follow());
    let mut after = None;
    loop {
        let (sessions, next) = signaling.sessions.of_peer(tenant, peer, MAX_SESSIONS, after.clone()).await?;
        let mut batch = Unit::new();
        let changing = if next.is_some() { &mut batch } else { &mut *unit };
        for id in sessions {
            if let Some(found) = signaling.sessions.find(tenant, &id).await?
                && found.session.opened_at_ms <= news.time_ms
            {
                apply(tenant, &found, decide(found.session.clone()), &trail, changing);
            }
        }
        if next.is_none() {
            return Ok(());
        }
        // A session that changed meanwhile: the same page again.
        if batch.is_empty() || signaling.sessions.commit(batch).await? {
            after = next;
        }
    }
}

/// Ends sessions in which nothing was said or answered for too long, and takes out members that did not come back, one
/// batch. Returns how many changed. One that can't be changed now holds up no other; the next sweep finds it again.
pub(crate) async fn sweep(signaling: &Signaling) -> Result<usize, StoreError> {
    let now_ms = signaling.platform.clock.now_ms();
    let mut changed = 0;
    for (tenant, id) in signaling.sessions.due(now_ms, 1_000).await? {
        match sweep_one(signaling, &tenant, &id, now_ms).await {
            Ok(gone) => changed += usize::from(gone),
            Err(error) => {
                tracing::warn!(%tenant, session_id = %id, %error, "a session whose time is over still stands")
            }
        }
    }
    Ok(changed)
}

async fn sweep_one(signaling: &Signaling, tenant: &TenantId, id: &SessionId, now_ms: u64) -> Result<bool, StoreError> {
    let Some(found) = signaling.sessions.find(tenant, id).await? else { return Ok(false) };
    let trail = Trail::fresh(&signaling.platform.clock, &signaling.platform.entropy);
    let mut unit = Unit::new();
    apply(tenant, &found, found.session.clone().after(now_ms), &trail, &mut unit);
    Ok(!unit.is_empty() && signaling.sessions.commit(unit).await?)
}

fn apply(tenant: &TenantId, found: &Stored, change: Change, trail: &Trail, unit: &mut Unit) {
    match change {
        Change::Stays => {}
        Change::Now(session) => Sessions::update(unit, tenant, found, &session),
        Change::Over(fact) => {
            Sessions::remove(unit, tenant, found);
            unit.publish(tenant, found.session.sequence + 1, trail, &fact);
        }
    }
}
