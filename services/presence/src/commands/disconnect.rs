use std::sync::Arc;

use bus::Asked;
use contracts::requests::presence::{DisconnectRefusal, DisconnectV1, Disconnected};
use service::Rejection;

use super::change;
use crate::Presence;

/// Ends a connection, unless a newer one stands.
pub(crate) async fn disconnect(
    presence: Arc<Presence>,
    asked: Asked,
    ask: DisconnectV1,
) -> Result<Disconnected, Rejection<DisconnectRefusal>> {
    let left = change(&presence, &asked.tenant, &ask.peer_id, &asked.trail, None, |known| {
        let peer = known.ok_or(DisconnectRefusal::UnknownPeer)?;
        Ok(peer.leave(ask.generation, ask.reason))
    })
    .await?;
    Ok(Disconnected { went_offline: left.is_some() })
}
