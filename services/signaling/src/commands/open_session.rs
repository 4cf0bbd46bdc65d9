use std::collections::BTreeSet;
use std::sync::Arc;

use bus::Asked;
use contracts::requests::signaling::{OpenSessionRefusal, OpenSessionV1, SessionOpened, SessionRole};
use contracts::{PeerId, SessionId};
use outbox::Unit;
use service::Rejection;

use super::{Place, place};
use crate::Signaling;
use crate::session::Session;
use crate::store::Sessions;

/// Opens a session when the opener's proof is good and the others are here.
pub(crate) async fn open_session(
    signaling: Arc<Signaling>,
    asked: Asked,
    ask: OpenSessionV1,
) -> Result<SessionOpened, Rejection<OpenSessionRefusal>> {
    let peers: Vec<PeerId> = [ask.from.clone(), ask.to.clone()].into_iter().chain(ask.others.iter().cloned()).collect();
    if peers.iter().collect::<BTreeSet<_>>().len() < peers.len() {
        return Err(Rejection::Refused(OpenSessionRefusal::SamePeer));
    }
    let limit = signaling.config.max_session_peers;
    if peers.len() > limit as usize {
        return Err(Rejection::Refused(OpenSessionRefusal::TooManyPeers { limit }));
    }
    if let Err(error) = signaling.proofs.verify(&asked.tenant, &ask.from, &ask.proof).await {
        return Err(Rejection::Refused(OpenSessionRefusal::ProofRefused { message: error.to_string() }));
    }
    let others = peers[1..].iter().map(|peer| place(&signaling, &asked.tenant, &asked.trail, peer));
    for found in futures::future::join_all(others).await {
        match found? {
            Place::Here(_) => {}
            Place::Unknown => return Err(Rejection::Refused(OpenSessionRefusal::UnknownPeer)),
            Place::Away | Place::Barred => return Err(Rejection::Refused(OpenSessionRefusal::PeerOffline)),
        }
    }
    let now_ms = signaling.platform.clock.now_ms();
    let session_id: SessionId = signaling.new_id().parse().expect("a UUID is a valid id");
    let (session, fact) = Session::open(session_id, peers, now_ms, signaling.config.patience());
    let mut unit = Unit::new();
    Sessions::create(&mut unit, &asked.tenant, &session);
    unit.publish(&asked.tenant, session.sequence, &asked.trail, &fact);
    if !signaling.sessions.commit(unit).await? {
        return Err(Rejection::busy("the session's id was taken; try again"));
    }
    let role = |peer: &PeerId| SessionRole { peer_id: peer.clone(), polite: Session::is_polite(&ask.from, peer) };
    let roles = session.shown_peers().iter().skip(1).map(role).collect();
    Ok(SessionOpened { polite: Session::is_polite(&ask.from, &ask.to), session_id: session.session_id, roles })
}
