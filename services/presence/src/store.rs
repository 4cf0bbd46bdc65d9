//! Presence's items.
//!
//! | partition | sort | index | what |
//! |---|---|---|---|
//! | `here#<tenant>` | peer | `leases` / lease end | a reachable peer; the index finds ended leases |
//! | `gone#<tenant>` | peer | | an unreachable one: its owner, last generation and sequence; expires |
//! | `count#<tenant>` | `here` | | how many are reachable (counter) |
//! | `places#<tenant>` | `count#…`, `gate#…` | | how many of a subscription are reachable, and who may be the next |
//!
//! A peer stands in exactly one of the first two: going from one to the other is one transaction, conditioned on the
//! sequence of where it stood.

use contracts::{PeerId, TenantId};
use outbox::{Outbox, Unit};
use store::{Condition, Cursor, Item, Key, Page, Query, Range, StoreError, StoreErrorKind};

use crate::peer::Peer;
use crate::places::{self, Room};

/// All ended leases are in one index partition: sweeps read it in order of time.
const LEASES: &str = "leases";

/// A peer and where its item stands.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) peer: Peer,
    here: bool,
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

    /// The peer, here or gone.
    pub(crate) async fn find(&self, tenant: &TenantId, peer: &PeerId) -> Result<Option<Stored>, StoreError> {
        if let Some(item) = self.outbox.store().get(&here(tenant, peer)).await? {
            return read(&item, true).map(Some);
        }
        match self.outbox.store().get(&gone(tenant, peer)).await? {
            Some(item) => read(&item, false).map(Some),
            None => Ok(None),
        }
    }

    /// Reachable peers of a tenant by id.
    pub(crate) async fn list(
        &self,
        tenant: &TenantId,
        limit: u32,
        after: Option<Cursor>,
    ) -> Result<(Vec<Peer>, Option<Cursor>), StoreError> {
        let query = Query { after, ..Query::all(format!("here#{tenant}"), limit) };
        let Page { items, next } = self.outbox.store().query(&query).await?;
        let peers = items.iter().map(|item| read(item, true).map(|stored| stored.peer)).collect::<Result<_, _>>()?;
        Ok((peers, next))
    }

    /// Peers whose lease had ended at `now_ms`, oldest first. The index lags: read each again before ending it.
    pub(crate) async fn ended_leases(&self, now_ms: u64, limit: u32) -> Result<Vec<(TenantId, PeerId)>, StoreError> {
        let range = Range::Between(format!("{:020}", 0), format!("{now_ms:020}~"));
        let query = Query { range, ..Query::all(LEASES, limit) };
        let page = self.outbox.store().query_index(&query).await?;
        Ok(page.items.iter().filter_map(|item| owner_of(&item.key)).collect())
    }

    /// Adds to `unit` what takes the peer from where it stood (`before`) to where it stands now.
    pub(crate) fn write(&self, unit: &mut Unit, tenant: &TenantId, before: Option<&Stored>, now: &Peer, now_ms: u64) {
        let is_here = now.status != contracts::events::presence::PeerStatus::Offline;
        let was_here = before.is_some_and(|stored| stored.here);
        let (new_key, old_key) = if is_here {
            (here(tenant, &now.peer_id), gone(tenant, &now.peer_id))
        } else {
            (gone(tenant, &now.peer_id), here(tenant, &now.peer_id))
        };
        let body = serde_json::to_string(now).expect("a peer is plain data");
        // Heartbeats change the lease without a fact, so the item's version counts writes, not facts.
        let mut item = Item::new(new_key, before.map_or(1, |stored| stored.version + 1), body);
        if is_here {
            item.index = Some(Key::new(LEASES, format!("{:020}#{tenant}#{}", now.lease_until_ms, now.peer_id)));
        } else {
            item.expires_at_ms = Some(now_ms + self.memory_ms);
        }
        match before {
            Some(stored) if stored.here == is_here => {
                unit.put(item, Condition::Version(stored.version));
            }
            Some(stored) => {
                unit.delete(old_key, Condition::Version(stored.version)).put(item, Condition::Absent);
            }
            None => {
                unit.put(item, Condition::Absent);
            }
        }
        let was_under = before.filter(|stored| stored.here).map(|stored| &stored.peer.subscription_id);
        places::count_move(unit, tenant, was_under, is_here.then_some(&now.subscription_id));
        if is_here != was_here {
            unit.add(Key::new(format!("count#{tenant}"), "here"), if is_here { 1 } else { -1 });
        }
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
        places::look(self.outbox.store(), tenant, subscription, limit).await
    }

    /// Commits; `Ok(false)` when the peer was changed meanwhile and the command has to decide anew.
    pub(crate) async fn commit(&self, unit: Unit) -> Result<bool, StoreError> {
        match self.outbox.commit(unit).await {
            Ok(()) => Ok(true),
            Err(error) if error.conflict().is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn here(tenant: &TenantId, peer: &PeerId) -> Key {
    Key::new(format!("here#{tenant}"), peer.as_str())
}

fn gone(tenant: &TenantId, peer: &PeerId) -> Key {
    Key::new(format!("gone#{tenant}"), peer.as_str())
}

fn owner_of(key: &Key) -> Option<(TenantId, PeerId)> {
    Some((key.partition.strip_prefix("here#")?.parse().ok()?, key.sort.parse().ok()?))
}

fn read(item: &Item, here: bool) -> Result<Stored, StoreError> {
    let peer = serde_json::from_str(&item.body).map_err(|error| {
        StoreError::new(StoreErrorKind::Corrupt, format!("peer at {} can't be read", item.key)).with_source(error)
    })?;
    Ok(Stored { peer, here, version: item.version })
}
