use std::sync::Arc;

use bus::Asked;
use contracts::requests::presence::{DescribeRefusal, DescribeV1, PeerView};
use service::Rejection;

use super::change;
use crate::Presence;

/// A peer tells of itself, or its gateway of its rooms.
pub(crate) async fn describe(
    presence: Arc<Presence>,
    asked: Asked,
    ask: DescribeV1,
) -> Result<PeerView, Rejection<DescribeRefusal>> {
    let changed = change(&presence, &asked.tenant, &ask.peer_id, &asked.trail, None, |known| {
        let peer = known.ok_or(DescribeRefusal::UnknownPeer)?;
        peer.describe(ask.clone()).map(Some)
    })
    .await?;
    changed.map(|peer| peer.view()).ok_or(Rejection::Refused(DescribeRefusal::UnknownPeer))
}
