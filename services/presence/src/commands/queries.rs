use std::sync::Arc;

use ::store::{Cursor, StoreErrorKind};
use bus::Asked;
use contracts::requests::presence::{
    CountRefusal, CountV1, ListRefusal, ListV1, LookupRefusal, LookupV1, PeerCounts, PeerPage, PeerView,
};
use service::Rejection;

use crate::{Presence, counts, profile};

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
    let mut filter = ask.filter;
    if let Some(message) = profile::broken_filter(&filter) {
        return Err(refuse(message));
    }
    if let Some(address) = &ask.address {
        let name = presence.networks.name(&asked.tenant, address);
        let name = name.ok_or_else(|| refuse("address: must be an IPv4 or IPv6 address".into()))?;
        if filter.network.as_ref().is_some_and(|network| *network != name) {
            return Err(refuse(
                "address: belongs to another network than the one asked for; send one of the two".into(),
            ));
        }
        filter.network = Some(name);
    }
    let (peers, next) =
        presence.peers.list(&asked.tenant, &filter, ask.limit, after).await.map_err(|error| match error.kind() {
            // A well-formed token of another listing, say another tenant's: the asker's mistake, not the store's.
            StoreErrorKind::Invalid => refuse(format!("after: {error}")),
            _ => error.into(),
        })?;
    Ok(PeerPage {
        peers: peers.iter().map(crate::peer::Peer::view).collect(),
        next: next.map(|next| next.as_str().to_owned()),
    })
}

/// How many are here?
pub(crate) async fn count(
    presence: Arc<Presence>,
    asked: Asked,
    ask: CountV1,
) -> Result<PeerCounts, Rejection<CountRefusal>> {
    if let Some(rule) = ask.room.as_deref().and_then(profile::broken_room) {
        return Err(Rejection::Refused(CountRefusal::Invalid { message: format!("room: {rule}") }));
    }
    let count = async |scope: String| counts::read(presence.peers.store(), &asked.tenant, &scope).await;
    let here = count(counts::HERE.to_owned()).await?;
    let room = match &ask.room {
        Some(room) => Some(count(counts::room(room)).await?),
        None => None,
    };
    let node = match &ask.node_id {
        Some(node) => Some(count(counts::node(node)).await?),
        None => None,
    };
    Ok(PeerCounts { here, room, node })
}
