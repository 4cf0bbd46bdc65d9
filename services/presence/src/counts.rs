//! How many are here: of a tenant, in a room, at a gateway process. Every coming and going changes the counts in its own
//! transaction, so they are exact after a crash, and reading one takes one query of at most sixteen small items.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use contracts::events::presence::PeerStatus;
use contracts::{NodeId, PeerId, TenantId};
use store::{Condition, Key, Query, Store, StoreError};

use crate::draft::Draft;
use crate::peer::Peer;

/// Counts and leases are spread over so many shards: writers of one tenant seldom meet at one item, and no partition of
/// DynamoDB's index bears all heartbeats (it takes 1,000 writes a second).
pub(crate) const SHARDS: u32 = 16;

/// Where a peer is counted and its lease is listed. It need not stay the same for ever: a count is the sum of all
/// shards, and sweeps read all of them.
pub(crate) fn shard(peer: &PeerId) -> u32 {
    let mut hash = DefaultHasher::new();
    peer.hash(&mut hash);
    u32::try_from(hash.finish() % u64::from(SHARDS)).expect("below 16")
}

/// All that is here of a tenant.
pub(crate) const HERE: &str = "here";

/// What is counted of a room.
pub(crate) fn room(name: &str) -> String {
    format!("room#{name}")
}

/// What is counted of a gateway process.
pub(crate) fn node(id: &NodeId) -> String {
    format!("node#{id}")
}

/// Adds to `draft` what changes when a peer goes from `before` to `now`, each `None` where it is not here.
pub(crate) fn moved(draft: &mut Draft, tenant: &TenantId, before: Option<&Peer>, now: Option<&Peer>) {
    let of = |peer: Option<&Peer>| peer.map(scopes).unwrap_or_default();
    let (was, is) = (of(before), of(now));
    let Some(peer) = now.or(before) else { return };
    let key = |scope: &String| Key::new(partition(tenant), format!("{scope}#{:02}", shard(&peer.peer_id)));
    was.difference(&is).for_each(|scope| draft.count(key(scope), -1));
    is.difference(&was).for_each(|scope| draft.count(key(scope), 1));
}

/// Everything that a peer counts for.
pub(crate) fn scopes(peer: &Peer) -> BTreeSet<String> {
    debug_assert_ne!(peer.status, PeerStatus::Offline, "who is gone counts for nothing");
    let rooms = peer.rooms.iter().map(|name| room(name));
    rooms.chain([HERE.to_owned(), node(&peer.node_id)]).collect()
}

/// How many there are.
pub(crate) async fn read(store: &Store, tenant: &TenantId, scope: &str) -> Result<u64, StoreError> {
    let page = store.query(&Query::prefix(partition(tenant), format!("{scope}#"), SHARDS)).await?;
    let sum: i64 = page.items.iter().map(|item| item.counter).sum();
    Ok(u64::try_from(sum).unwrap_or(0))
}

/// Removes those of `lowered` that came down to nothing: rooms and gateways come and go, and their counts with them. What
/// a crash leaves here is removed when the room or gateway is empty the next time.
pub(crate) async fn tidy(store: &Store, lowered: Vec<Key>) {
    for key in lowered.into_iter().filter(is_passing) {
        let emptied = async {
            if store.get(&key).await?.is_some_and(|item| item.counter == 0) {
                store.delete(key.clone(), Condition::Counter(0)).await?;
            }
            Ok::<_, StoreError>(())
        };
        match emptied.await {
            Err(error) if error.conflict().is_none() => tracing::debug!(%key, %error, "an empty count stays"),
            _ => {}
        }
    }
}

fn is_passing(key: &Key) -> bool {
    key.partition.starts_with("count#") && !key.sort.starts_with(HERE)
}

fn partition(tenant: &TenantId) -> String {
    format!("count#{tenant}")
}
