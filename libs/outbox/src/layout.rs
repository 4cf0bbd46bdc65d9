//! How many shards an outbox has: written into its table with the first use and the same for ever after.
//!
//! A key's shard follows from the number. Were two numbers in use at once (another option after a restart, or two
//! versions of a service side by side), rows of one key would lie in two shards and lose their order, and rows of
//! shards beyond the smaller number would have no reader.

use serde::{Deserialize, Serialize};
use store::{Condition, Item, Store, StoreError};

use crate::keys;
use crate::stored::read;

/// Most shards of an outbox.
pub(crate) const SHARDS_MAX: u32 = 64;

#[derive(Serialize, Deserialize)]
struct Layout {
    shards: u32,
}

/// The number that the table has; `wanted` becomes it where there is none yet.
pub(crate) async fn shards(store: &Store, wanted: u32, service: &str) -> Result<u32, StoreError> {
    if let Some(shards) = written(store).await? {
        if shards != wanted {
            tracing::warn!(
                service,
                "shards: this outbox has {shards} since its first use and keeps them; {wanted} is ignored. To change \
                 it, drain the outbox, stop every process of the service and delete the item {}",
                keys::layout()
            );
        }
        return Ok(shards);
    }
    // Tables of before this item existed had four, and a lease for each.
    let wanted = if store.get(&keys::lease(1)).await?.is_some() { 4 } else { wanted };
    let body = serde_json::to_string(&Layout { shards: wanted }).expect("a layout is plain data");
    match store.put(Item::new(keys::layout(), 1, body), Condition::Absent).await {
        Ok(()) => Ok(wanted),
        // Another process was first.
        Err(error) if error.conflict().is_some() => Ok(written(store).await?.unwrap_or(wanted)),
        Err(error) => Err(error),
    }
}

async fn written(store: &Store) -> Result<Option<u32>, StoreError> {
    let Some(item) = store.get(&keys::layout()).await? else { return Ok(None) };
    let layout: Layout = read(&item.body)?;
    Ok(Some(layout.shards.clamp(1, SHARDS_MAX)))
}

/// The number for a new table: one where the file belongs to one process, whose one relay then reads neighbouring rows
/// together; several where processes share a table and a partition bears only so many writes.
pub(crate) fn default_shards(store: &Store) -> u32 {
    if store.backend_name() == "sqlite" { 1 } else { 4 }
}
