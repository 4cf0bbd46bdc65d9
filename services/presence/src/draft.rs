//! A transaction in the making that may hold several peers: what they add to the same count becomes one write.

use std::collections::BTreeMap;

use bus::Trail;
use contracts::TenantId;
use contracts::events::presence::PresenceEvent;
use outbox::Unit;
use store::{Condition, Item, Key};

use crate::peer::Peer;

/// Writes of one transaction.
#[derive(Default)]
pub(crate) struct Draft {
    unit: Unit,
    counts: BTreeMap<Key, i64>,
    writes: usize,
}

impl Draft {
    /// Writes an item if `condition` holds.
    pub(crate) fn put(&mut self, item: Item, condition: Condition) {
        self.unit.put(item, condition);
        self.writes += 1;
    }

    /// Removes an item if `condition` holds.
    pub(crate) fn delete(&mut self, key: Key, condition: Condition) {
        self.unit.delete(key, condition);
        self.writes += 1;
    }

    /// Adds to a count.
    pub(crate) fn count(&mut self, key: Key, delta: i64) {
        *self.counts.entry(key).or_default() += delta;
    }

    /// Publishes a fact about `peer`, which it was the last to make.
    pub(crate) fn publish(&mut self, tenant: &TenantId, trail: &Trail, peer: &Peer, fact: &PresenceEvent) {
        self.unit.publish(tenant, peer.sequence, trail, fact);
        self.writes += 1;
    }

    /// How many writes it takes, at most.
    pub(crate) fn writes(&self) -> usize {
        self.writes + self.counts.len()
    }

    /// The transaction, and the counts that it takes from.
    pub(crate) fn finish(self) -> (Unit, Vec<Key>) {
        let Self { mut unit, counts, .. } = self;
        let mut lowered = Vec::new();
        for (key, delta) in counts.into_iter().filter(|(_, delta)| *delta != 0) {
            unit.add(key.clone(), delta);
            if delta < 0 {
                lowered.push(key);
            }
        }
        (unit, lowered)
    }
}
