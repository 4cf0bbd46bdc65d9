use std::sync::Arc;

use bus::Asked;
use contracts::requests::presence::{PeerView, SetStatusRefusal, SetStatusV1};
use service::Rejection;

use super::change;
use crate::Presence;

/// A peer says how it is.
pub(crate) async fn set_status(
    presence: Arc<Presence>,
    asked: Asked,
    ask: SetStatusV1,
) -> Result<PeerView, Rejection<SetStatusRefusal>> {
    let changed = change(&presence, &asked.tenant, &ask.peer_id, &asked.trail, None, |known| {
        let peer = known.ok_or(SetStatusRefusal::UnknownPeer)?;
        peer.set_status(ask.generation, ask.status).map(Some)
    })
    .await?;
    changed.map(|peer| peer.view()).ok_or(Rejection::Refused(SetStatusRefusal::UnknownPeer))
}
