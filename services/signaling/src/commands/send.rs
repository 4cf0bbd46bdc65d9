use std::sync::Arc;

use bus::Asked;
use contracts::PeerId;
use contracts::requests::signaling::{Forwarded, SendRefusal, SendV1};
use contracts::signals::signaling::DeliverV1;
use outbox::Unit;
use service::Rejection;

use super::{MAX_DECISIONS, Unreachable, reach};
use crate::Signaling;
use crate::sdp::{self, Limits};
use crate::session::Step;
use crate::store::{Sessions, Stored};

/// Passes a signal on to the other peer of the session.
pub(crate) async fn send(
    signaling: Arc<Signaling>,
    asked: Asked,
    ask: SendV1,
) -> Result<Forwarded, Rejection<SendRefusal>> {
    check(&signaling, &asked, &ask).await?;
    for _ in 0..MAX_DECISIONS {
        let found = signaling.sessions.find(&asked.tenant, &ask.session_id).await?;
        let before = found.ok_or(Rejection::Refused(SendRefusal::UnknownSession))?;
        let to = before.session.other(&ask.from).map_err(Rejection::Refused)?.clone();
        // Looked up before the session moves on: what can't be delivered must not change it.
        let target = reach(&signaling, &asked, &to).await.map_err(|rejection| {
            rejection.map_refusal(|(Unreachable::Unknown | Unreachable::Offline)| SendRefusal::PeerOffline)
        })?;
        if advance(&signaling, &asked, &ask, &before).await? {
            return deliver(&signaling, &asked, ask, &before, to, target.node_id.as_str()).await;
        }
    }
    Err(Rejection::busy("the session is being changed by many at once; try again"))
}

async fn check(signaling: &Signaling, asked: &Asked, ask: &SendV1) -> Result<(), Rejection<SendRefusal>> {
    if let Err(error) = signaling.proofs.verify(&asked.tenant, &ask.from, &ask.proof).await {
        return Err(Rejection::Refused(SendRefusal::ProofRefused { message: error.to_string() }));
    }
    let limits =
        Limits { sdp_bytes: signaling.config.max_sdp_bytes, candidate_bytes: signaling.config.max_candidate_bytes };
    let violations = sdp::violations(&ask.signal, limits);
    if violations.is_empty() { Ok(()) } else { Err(Rejection::Refused(SendRefusal::InvalidSignal { violations })) }
}

/// Writes what the signal does to its session; false when the session was changed meanwhile.
async fn advance(
    signaling: &Signaling,
    asked: &Asked,
    ask: &SendV1,
    before: &Stored,
) -> Result<bool, Rejection<SendRefusal>> {
    let idle_until_ms = signaling.platform.clock.now_ms() + signaling.config.idle_ms;
    let mut unit = Unit::new();
    match before.session.clone().accept(&ask.from, &ask.signal, idle_until_ms).map_err(Rejection::Refused)? {
        Step::End(fact) => {
            Sessions::remove(&mut unit, &asked.tenant, before);
            unit.publish(&asked.tenant, before.session.sequence + 1, &asked.trail, &fact);
        }
        // Most candidates only move the end of silence: that is written once per tenth of it.
        Step::Forward(now)
            if now.generation == before.session.generation
                && now.idle_until_ms < before.session.idle_until_ms + signaling.config.idle_ms / 10 =>
        {
            return Ok(true);
        }
        Step::Forward(now) => Sessions::update(&mut unit, &asked.tenant, before, &now),
    }
    Ok(signaling.sessions.commit(unit).await?)
}

async fn deliver(
    signaling: &Signaling,
    asked: &Asked,
    ask: SendV1,
    before: &Stored,
    to: PeerId,
    node: &str,
) -> Result<Forwarded, Rejection<SendRefusal>> {
    let signal = DeliverV1 {
        polite: before.session.is_polite(&to),
        session_id: ask.session_id,
        to: to.clone(),
        from: ask.from,
        signal: ask.signal,
    };
    let platform = &signaling.platform;
    platform.bus.tell(&platform.sender, node, &asked.tenant, &asked.trail, &signal).await?;
    Ok(Forwarded { to })
}
