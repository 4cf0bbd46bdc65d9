//! How many processes of this service share Stripe's rate limit: each says that it is there, and counts the others.
//!
//! | partition | sort | what |
//! |---|---|---|
//! | `processes` | node id | expires unless its process renews it |
//!
//! A newcomer counts itself from its first call on; those who were there before learn of it with their next look, so for
//! one `share_interval_ms` all together may ask more often than they should, by one process's share.

use std::time::Duration;

use contracts::NodeId;
use service::Platform;
use store::{Condition, Item, Key, Query, Store, StoreError};

use crate::stripe::Stripe;

const PARTITION: &str = "processes";
/// More are not told apart: nobody has so many, and then each has the smallest share.
const MOST: u32 = 1_000;
/// Looks that may fail before others take a process for gone.
const LOOKS: u64 = 3;

/// Says that this process is there, and how many there are.
///
/// # Errors
/// The store's.
pub(crate) async fn look(store: &Store, node: &NodeId, now_ms: u64, interval_ms: u64) -> Result<u32, StoreError> {
    let mut own = Item::new(own(node), 1, "{}");
    own.expires_at_ms = Some(now_ms.saturating_add(LOOKS * interval_ms));
    store.put(own, Condition::Any).await?;
    let page = store.query(&Query::all(PARTITION, MOST)).await?;
    Ok(u32::try_from(page.items.len()).unwrap_or(MOST).max(1))
}

/// Leaves its share to the others.
///
/// # Errors
/// The store's.
pub(crate) async fn leave(store: &Store, node: &NodeId) -> Result<(), StoreError> {
    store.delete(own(node), Condition::Any).await
}

fn own(node: &NodeId) -> Key {
    Key::new(PARTITION, node.as_str())
}

/// Whether others may be on this table at all: a SQLite file belongs to one process.
pub(crate) fn is_shared(store: &Store) -> bool {
    store.backend_name() != "sqlite"
}

/// Looks until the process stops. While the store can't be asked, the last share stands.
pub(crate) async fn keep(platform: &Platform, stripe: &Stripe, interval_ms: u64) {
    let (store, node, stop) = (platform.outbox.store(), &platform.node_id, platform.lifecycle.token());
    while stop.run_until_cancelled(platform.clock.sleep(Duration::from_millis(interval_ms))).await.is_some() {
        match look(store, node, platform.clock.now_ms(), interval_ms).await {
            Ok(processes) => stripe.share(processes),
            Err(error) => tracing::warn!(%error, "the other processes could not be counted; the share stays"),
        }
    }
    if let Err(error) = leave(store, node).await {
        tracing::warn!(%error, "the others learn a little later that this process has gone");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clock::Clock;
    use store::SqliteOptions;

    use super::*;

    #[tokio::test]
    async fn processes_count_each_other_until_they_leave_or_fall_silent() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(1_000_000);
        let store = Store::sqlite(SqliteOptions::at(folder.path().join("s.db")), clock.clone()).unwrap();
        let nodes: Vec<NodeId> = ["a", "b", "c"].map(|name| name.parse().unwrap()).into();
        let count = async |node: &NodeId| look(&store, node, clock.now_ms(), 10_000).await.unwrap();
        assert_eq!([count(&nodes[0]).await, count(&nodes[1]).await, count(&nodes[2]).await], [1, 2, 3]);
        assert_eq!(count(&nodes[0]).await, 3, "the first learns of the others");
        leave(&store, &nodes[1]).await.unwrap();
        assert_eq!(count(&nodes[0]).await, 2, "who stops leaves at once");
        for _ in 0..4 {
            hand.advance(Duration::from_secs(10));
            count(&nodes[0]).await;
        }
        assert_eq!(count(&nodes[0]).await, 1, "who was killed is forgotten after three looks");
    }
}
