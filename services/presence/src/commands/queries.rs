use std::sync::Arc;

use ::store::{Cursor, StoreErrorKind};
use bus::Asked;
use contracts::requests::presence::{ListRefusal, ListV1, LookupRefusal, LookupV1, PeerPage, PeerView};
use service::Rejection;

use crate::Presence;

/// Where is that peer?
pub(crate) async fn lookup(
    presence: Arc<Presence>,
    asked: Asked,
    ask: LookupV1,
) -> Result<PeerView, Rejection<LookupRefusal>> {
    let stored = presence.peers.find(&asked.tenant, &ask.peer_id).await?;
    stored.map(|stored| stored.peer.view()).ok_or(Rejection::Refused(LookupRefusal::UnknownPeer))
}

/// Who is here?
pub(crate) async fn list(
    presence: Arc<Presence>,
    asked: Asked,
    ask: ListV1,
) -> Result<PeerPage, Rejection<ListRefusal>> {
    let refuse = |message: String| Rejection::Refused(ListRefusal::InvalidPage { message });
    if !(1..=100).contains(&ask.limit) {
        return Err(refuse(format!("limit: {} is outside 1 to 100", ask.limit)));
    }
    let after = ask.after.as_deref().map(Cursor::parse).transpose();
    let after = after.map_err(|error| refuse(format!("after: {error}")))?;
    let (peers, next) =
        presence.peers.list(&asked.tenant, ask.limit, after).await.map_err(|error| match error.kind() {
            // A well-formed token of another listing, say another tenant's: the asker's mistake, not the store's.
            StoreErrorKind::Invalid => refuse(format!("after: {error}")),
            _ => error.into(),
        })?;
    Ok(PeerPage {
        peers: peers.iter().map(crate::peer::Peer::view).collect(),
        next: next.map(|next| next.as_str().to_owned()),
    })
}
