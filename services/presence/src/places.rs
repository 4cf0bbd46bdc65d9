//! How many peers are here under one subscription, and whether one more may come. No scan: a counter that every coming
//! and going changes in its own transaction.
//!
//! Far from the limit, comers need nothing but the counter. Near it they pass a gate, one after the other: each has read
//! the gate before the counter and moves the gate on, so that of two who both saw the last free place one must look
//! again. Goers never touch the gate.

use std::hash::{DefaultHasher, Hash, Hasher};

use contracts::{SubscriptionId, TenantId};
use store::{Condition, Item, Key, Store, StoreError};
use tokio::sync::{Mutex, MutexGuard};

use crate::draft::Draft;

/// Within so many places of the limit comers pass the gate: more than all presence processes serve at once, so that
/// those who did not see the gate can't fill what is left.
const NEAR: u64 = 2_048;

/// Comers of one subscription in this process pass the gate one after the other, instead of failing at it together.
pub(crate) struct Turns {
    /// By the subscription's hash: few enough to be cheap, many enough that strangers seldom wait for each other.
    stripes: [Mutex<()>; 64],
}

impl Default for Turns {
    fn default() -> Self {
        Self { stripes: std::array::from_fn(|_| Mutex::new(())) }
    }
}

impl Turns {
    /// Waits for the turn.
    pub(crate) async fn take(&self, subscription: &SubscriptionId) -> MutexGuard<'_, ()> {
        let mut hash = DefaultHasher::new();
        subscription.hash(&mut hash);
        let stripe = hash.finish() % self.stripes.len() as u64;
        self.stripes[usize::try_from(stripe).expect("below 64")].lock().await
    }
}

/// What is known of a subscription's places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Far from the limit.
    Plenty,
    /// Near the limit: the gate as it was before the count.
    Near {
        /// Its version; 0 where it was never passed.
        gate: u64,
    },
    /// None.
    Full,
}

/// Looks how many places are left.
pub(crate) async fn look(
    store: &Store,
    tenant: &TenantId,
    subscription: &SubscriptionId,
    limit: u64,
) -> Result<Room, StoreError> {
    let gate = store.get(&gate(tenant, subscription)).await?.map_or(0, |item| item.version);
    let here = store.get(&count(tenant, subscription)).await?.map_or(0, |item| item.counter);
    Ok(room(u64::try_from(here).unwrap_or(0), limit, gate))
}

fn room(here: u64, limit: u64, gate: u64) -> Room {
    match limit.checked_sub(here) {
        None | Some(0) => Room::Full,
        Some(left) if left <= NEAR => Room::Near { gate },
        Some(_) => Room::Plenty,
    }
}

/// Adds to `draft` what keeps another comer from taking the same place.
pub(crate) fn pass(draft: &mut Draft, tenant: &TenantId, subscription: &SubscriptionId, seen: u64) {
    let condition = if seen == 0 { Condition::Absent } else { Condition::Version(seen) };
    draft.put(Item::new(gate(tenant, subscription), seen + 1, "{}"), condition);
}

/// Adds to `draft` what counts a peer that goes from one subscription's places (if it is here) to another's (if it
/// stays or comes).
pub(crate) fn count_move(
    draft: &mut Draft,
    tenant: &TenantId,
    from: Option<&SubscriptionId>,
    to: Option<&SubscriptionId>,
) {
    if from == to {
        return;
    }
    if let Some(from) = from {
        draft.count(count(tenant, from), -1);
    }
    if let Some(to) = to {
        draft.count(count(tenant, to), 1);
    }
}

fn count(tenant: &TenantId, subscription: &SubscriptionId) -> Key {
    Key::new(format!("places#{tenant}"), format!("count#{subscription}"))
}

fn gate(tenant: &TenantId, subscription: &SubscriptionId) -> Key {
    Key::new(format!("places#{tenant}"), format!("gate#{subscription}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_exact_and_the_gate_is_passed_only_near_it() {
        assert_eq!(room(0, 0, 7), Room::Full);
        assert_eq!(room(49, 50, 7), Room::Near { gate: 7 });
        assert_eq!(room(50, 50, 7), Room::Full);
        assert_eq!(room(60, 50, 7), Room::Full, "the plan became smaller");
        assert_eq!(room(10_000, 10_000 + NEAR, 7), Room::Near { gate: 7 });
        assert_eq!(room(10_000, 10_001 + NEAR, 7), Room::Plenty);
    }
}
