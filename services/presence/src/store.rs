//! Presence's items.
//!
//! | partition | sort | index | what |
//! |---|---|---|---|
//! | `here#<tenant>` | peer | `leases#<shard>` / lease end | a reachable peer; the index finds ended leases |
//! | `gone#<tenant>` | peer | | an unreachable one: its owner, last generation and sequence; expires |
//! | `by#<tenant>#<mark>` | peer | | who is in a room, has a tag or a capability, is in a network |
//! | `count#<tenant>` | `<scope>#<shard>` | | how many are reachable: `here`, `room#…`, `node#…` (counters) |
//! | `places#<tenant>` | `count#…`, `gate#…` | | how many of a subscription are reachable, and who may be the next |
//! | `sweep` | shard | | which process sweeps these leases; expires |
//! | `network` | `key` | | what names of networks are made with |
//!
//! A peer stands in exactly one of the first two: going from one to the other is one transaction, conditioned on the
//! version of where it stood. Its marks and counts change in the same transaction.

use std::collections::BTreeSet;

use contracts::requests::presence::{MAX_ROOMS, PeerFilter};
use contracts::{PeerId, TenantId};
use futures::{StreamExt, TryStreamExt};
use outbox::Outbox;
use store::{Condition, Cursor, Item, Key, Page, Query, Range, Store, StoreError, StoreErrorKind};

use crate::counts;
use crate::draft::Draft;
use crate::peer::Peer;
use crate::places::{self, Room};

/// Most peers that are looked at for one page: a filter that fits few must not read a whole tenant in one request.
const MAX_LOOKED_AT: usize = 1_000;
/// Peers of a page that are read at once.
const READ_AT_ONCE: usize = 32;
/// Who began to sweep a shard and was not heard of for so long has died, milliseconds.
const CLAIM_MS: u64 = 5_000;

// A takeover by a connection that tells as much of itself: 24 rooms with their counts, and 10 tags, 10 capabilities and
// a network, go; as many of the latter come; besides the peer, two gateways' counts, two subscriptions' places, the gate
// and the fact.
const _: () = assert!(MAX_ROOMS * 2 + 21 * 2 + 7 <= store::limits::TRANSACTION_ACTIONS_MAX);

/// A peer and where its item stands.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) peer: Peer,
    here: bool,
    version: u64,
}

impl Stored {
    fn peer_here(&self) -> Option<&Peer> {
        self.here.then_some(&self.peer)
    }

    /// Most writes that its end takes.
    pub(crate) fn writes_to_end(&self) -> usize {
        // Two for the peer, one for the fact, one for the place.
        marks(&self.peer).len() + counts::scopes(&self.peer).len() + 4
    }
}

/// Ended leases of a shard.
pub(crate) struct Ended {
    pub(crate) peers: Vec<(TenantId, Stored)>,
    pub(crate) next: Option<Cursor>,
}

impl Ended {
    /// Whether there is nothing to do.
    pub(crate) fn is_quiet(&self) -> bool {
        self.peers.is_empty() && self.next.is_none()
    }
}

/// That this process sweeps a shard.
pub(crate) struct Claim {
    key: Key,
    version: u64,
}

/// Presence's table.
#[derive(Clone)]
pub(crate) struct Peers {
    outbox: Outbox,
    memory_ms: u64,
}

impl Peers {
    pub(crate) fn new(outbox: Outbox, memory_ms: u64) -> Self {
        Self { outbox, memory_ms }
    }

    pub(crate) fn store(&self) -> &Store {
        self.outbox.store()
    }

    /// The peer, here or gone.
    pub(crate) async fn find(&self, tenant: &TenantId, peer: &PeerId) -> Result<Option<Stored>, StoreError> {
        if let Some(item) = self.store().get(&here(tenant, peer)).await? {
            return read(&item, true).map(Some);
        }
        match self.store().get(&gone(tenant, peer)).await? {
            Some(item) => read(&item, false).map(Some),
            None => Ok(None),
        }
    }

    /// Reachable peers of a tenant by id, those that the filter chooses. Who is here all the while is on one page, however
    /// many come and go meanwhile; a page may hold fewer than asked for while more may follow.
    pub(crate) async fn list(
        &self,
        tenant: &TenantId,
        filter: &PeerFilter,
        limit: u32,
        mut after: Option<Cursor>,
    ) -> Result<(Vec<Peer>, Option<Cursor>), StoreError> {
        let marked = narrowest(filter);
        let partition = marked.map_or_else(|| format!("here#{tenant}"), |mark| by(tenant, &mark));
        let (mut found, mut looked_at) = (Vec::new(), 0);
        loop {
            let left = limit - u32::try_from(found.len()).unwrap_or(limit);
            let query = Query { after, ..Query::all(&partition, left) };
            let Page { items, next } = self.store().query(&query).await?;
            looked_at += items.len();
            let peers = if filter.is_empty() { all(&items)? } else { self.marked(tenant, items).await? };
            found.extend(peers.into_iter().filter(|peer| peer.marks().is_some_and(|marks| filter.holds(&marks))));
            after = next;
            if after.is_none() || found.len() >= limit as usize || looked_at >= MAX_LOOKED_AT {
                return Ok((found, after));
            }
        }
    }

    /// The peers that these rows point to, in their order, as they are now.
    async fn marked(&self, tenant: &TenantId, rows: Vec<Item>) -> Result<Vec<Peer>, StoreError> {
        let keys = rows.into_iter().map(|row| Key::new(format!("here#{tenant}"), row.key.sort));
        let reading = futures::stream::iter(keys).map(async |key| self.store().get(&key).await);
        let items: Vec<Option<Item>> = reading.buffered(READ_AT_ONCE).try_collect().await?;
        all(&items.into_iter().flatten().collect::<Vec<_>>())
    }

    /// Peers of a shard whose lease had ended at `now_ms`, oldest first. The index lags, but each is ended only if it is
    /// still as it was read. One that can't be read is left out.
    pub(crate) async fn ended_leases(
        &self,
        shard: u32,
        now_ms: u64,
        limit: u32,
        after: Option<Cursor>,
    ) -> Result<Ended, StoreError> {
        let range = Range::Between(format!("{:020}", 0), format!("{now_ms:020}~"));
        let query = Query { range, after, ..Query::all(leases(shard), limit) };
        let page = self.store().query_index(&query).await?;
        let readable = |item: &Item| {
            let tenant = item.key.partition.strip_prefix("here#")?.parse().ok()?;
            let stored = read(item, true).inspect_err(|error| tracing::warn!(%error, "an ended lease stays"));
            Some((tenant, stored.ok()?))
        };
        Ok(Ended { peers: page.items.iter().filter_map(readable).collect(), next: page.next })
    }

    /// Takes a shard to sweep it, unless another process is at it.
    pub(crate) async fn claim(&self, shard: u32, now_ms: u64, nonce: u64) -> Result<Option<Claim>, StoreError> {
        let (key, version) = (Key::new("sweep", format!("{shard:02}")), nonce >> 1);
        let expires_at_ms = Some(now_ms + CLAIM_MS);
        let item = Item { expires_at_ms, ..Item::new(key.clone(), version, "{}") };
        match self.store().put(item, Condition::Absent).await {
            Ok(()) => Ok(Some(Claim { key, version })),
            Err(error) if error.conflict().is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives a shard back; who finds it taken by another was too slow, which its conditions made harmless.
    pub(crate) async fn release(&self, claim: Claim) -> Result<(), StoreError> {
        match self.store().delete(claim.key, Condition::Version(claim.version)).await {
            Err(error) if error.conflict().is_none() => Err(error),
            _ => Ok(()),
        }
    }

    /// Adds to `draft` what takes the peer from where it stood (`before`) to where it stands now.
    pub(crate) fn write(&self, draft: &mut Draft, tenant: &TenantId, before: Option<&Stored>, now: &Peer, now_ms: u64) {
        let is_here = now.marks().is_some();
        let (new_key, old_key) = if is_here {
            (here(tenant, &now.peer_id), gone(tenant, &now.peer_id))
        } else {
            (gone(tenant, &now.peer_id), here(tenant, &now.peer_id))
        };
        let body = serde_json::to_string(now).expect("a peer is plain data");
        // Heartbeats change the lease without a fact, so the item's version counts writes, not facts.
        let mut item = Item::new(new_key, before.map_or(1, |stored| stored.version + 1), body);
        if is_here {
            let lease_end = format!("{:020}#{tenant}#{}", now.lease_until_ms, now.peer_id);
            item.index = Some(Key::new(leases(counts::shard(&now.peer_id)), lease_end));
        } else {
            item.expires_at_ms = Some(now_ms + self.memory_ms);
        }
        match before {
            Some(stored) if stored.here == is_here => draft.put(item, Condition::Version(stored.version)),
            Some(stored) => {
                draft.delete(old_key, Condition::Version(stored.version));
                draft.put(item, Condition::Absent);
            }
            None => draft.put(item, Condition::Absent),
        }
        let (was, is) = (before.and_then(Stored::peer_here), is_here.then_some(now));
        mark(draft, tenant, was, is);
        counts::moved(draft, tenant, was, is);
        let under = |peer: Option<&Peer>| peer.map(|peer| peer.subscription_id.clone());
        places::count_move(draft, tenant, under(was).as_ref(), under(is).as_ref());
    }

    /// How much room there is for `now` under its subscription, of which at most `limit` may be here; plenty where it has
    /// its place already.
    pub(crate) async fn room(
        &self,
        tenant: &TenantId,
        before: Option<&Stored>,
        now: &Peer,
        limit: u64,
    ) -> Result<Room, StoreError> {
        let subscription = &now.subscription_id;
        if before.is_some_and(|stored| stored.here && stored.peer.subscription_id == *subscription) {
            return Ok(Room::Plenty);
        }
        places::look(self.store(), tenant, subscription, limit).await
    }

    /// Commits; `Ok(false)` when a peer was changed meanwhile and the command has to decide anew.
    pub(crate) async fn commit(&self, draft: Draft) -> Result<bool, StoreError> {
        let (unit, lowered) = draft.finish();
        match self.outbox.commit(unit).await {
            Ok(()) => {
                counts::tidy(self.store(), lowered).await;
                Ok(true)
            }
            Err(error) if error.conflict().is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Adds to `draft` what makes the peer found by what it is now.
fn mark(draft: &mut Draft, tenant: &TenantId, before: Option<&Peer>, now: Option<&Peer>) {
    let of = |peer: Option<&Peer>| peer.map(marks).unwrap_or_default();
    let (was, is) = (of(before), of(now));
    let Some(peer) = now.or(before) else { return };
    let key = |mark: &String| Key::new(by(tenant, mark), peer.peer_id.as_str());
    was.difference(&is).for_each(|mark| draft.delete(key(mark), Condition::Any));
    is.difference(&was).for_each(|mark| draft.put(Item::new(key(mark), 1, "{}"), Condition::Any));
}

/// What a peer is found by.
fn marks(peer: &Peer) -> BTreeSet<String> {
    let profile = &peer.profile;
    let rooms = peer.rooms.iter().map(|room| format!("room#{room}"));
    let tags = profile.tags.iter().map(|tag| format!("tag#{tag}"));
    let capabilities = profile.capabilities.iter().map(|name| format!("capability#{name}"));
    rooms.chain(tags).chain(capabilities).chain(peer.network.iter().map(|name| format!("network#{name}"))).collect()
}

/// Of what a filter asks for, what presumably fewest have.
fn narrowest(filter: &PeerFilter) -> Option<String> {
    let named = |what: &str, name: &Option<String>| Some(format!("{what}#{}", name.as_ref()?));
    let of_people = named("room", &filter.room).or_else(|| named("network", &filter.network));
    of_people.or_else(|| named("tag", &filter.tag)).or_else(|| named("capability", &filter.capability))
}

fn by(tenant: &TenantId, mark: &str) -> String {
    format!("by#{tenant}#{mark}")
}

fn leases(shard: u32) -> String {
    format!("leases#{shard:02}")
}

fn here(tenant: &TenantId, peer: &PeerId) -> Key {
    Key::new(format!("here#{tenant}"), peer.as_str())
}

fn gone(tenant: &TenantId, peer: &PeerId) -> Key {
    Key::new(format!("gone#{tenant}"), peer.as_str())
}

fn all(items: &[Item]) -> Result<Vec<Peer>, StoreError> {
    items.iter().map(|item| read(item, true).map(|stored| stored.peer)).collect()
}

fn read(item: &Item, here: bool) -> Result<Stored, StoreError> {
    let peer = serde_json::from_str(&item.body).map_err(|error| {
        StoreError::new(StoreErrorKind::Corrupt, format!("peer at {} can't be read", item.key)).with_source(error)
    })?;
    Ok(Stored { peer, here, version: item.version })
}
