use std::sync::Arc;

use bus::Asked;
use contracts::SessionId;
use contracts::requests::signaling::{OpenSessionRefusal, OpenSessionV1, SessionOpened};
use outbox::Unit;
use service::Rejection;

use super::{Unreachable, reach};
use crate::Signaling;
use crate::session::Session;
use crate::store::Sessions;

/// Opens a session when the opener's proof is good and the other peer is here.
pub(crate) async fn open_session(
    signaling: Arc<Signaling>,
    asked: Asked,
    ask: OpenSessionV1,
) -> Result<SessionOpened, Rejection<OpenSessionRefusal>> {
    if ask.from == ask.to {
        return Err(Rejection::Refused(OpenSessionRefusal::SamePeer));
    }
    if let Err(error) = signaling.proofs.verify(&asked.tenant, &ask.from, &ask.proof).await {
        return Err(Rejection::Refused(OpenSessionRefusal::ProofRefused { message: error.to_string() }));
    }
    reach(&signaling, &asked, &ask.to).await.map_err(|rejection| {
        rejection.map_refusal(|unreachable| match unreachable {
            Unreachable::Unknown => OpenSessionRefusal::UnknownPeer,
            Unreachable::Offline => OpenSessionRefusal::PeerOffline,
        })
    })?;
    let now_ms = signaling.platform.clock.now_ms();
    let session_id: SessionId =
        signaling.platform.entropy.uuid_v7(now_ms).to_string().parse().expect("a UUID is a valid id");
    let idle_until_ms = now_ms + signaling.config.idle_ms;
    let (session, fact) = Session::open(session_id, ask.from.clone(), ask.to, now_ms, idle_until_ms);
    let mut unit = Unit::new();
    Sessions::create(&mut unit, &asked.tenant, &session);
    unit.publish(&asked.tenant, session.sequence, &asked.trail, &fact);
    if !signaling.sessions.commit(unit).await? {
        return Err(Rejection::busy("the session's id was taken; try again"));
    }
    Ok(SessionOpened { polite: session.is_polite(&ask.from), session_id: session.session_id })
}
