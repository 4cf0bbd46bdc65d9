//! The items of API keys.
//!
//! | partition | sort | what |
//! |---|---|---|
//! | `api-keys#<tenant>` | key id | a key; 30 days longer than it is good |
//! | `api-key#<SHA-256 of a secret>` | `key` | which key the secret is of |
//! | `api-keys-gate` | tenant | counts what was created, so that two creations at once can't pass the limit |
//! | `api-key-used#<tenant>` | key id | when it was last used |

use auth::ApiKeyHash;
use contracts::TenantId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::{Action, Condition, Cursor, Item, Key, Query, Range, Store, StoreError, StoreErrorKind};

use super::record::KeyRecord;

/// How long keys that ended are listed, milliseconds.
const KEPT_MS: u64 = 30 * 86_400_000;
/// Keys read at once when they are counted.
const PAGE: u32 = 200;
/// Actions of one transaction (DynamoDB's limit).
const MAX_ACTIONS: usize = 100;

#[derive(Serialize, Deserialize)]
struct Pointer {
    tenant: TenantId,
    key_id: String,
}

#[derive(Serialize, Deserialize)]
struct Used {
    at_ms: u64,
}

/// A key and the version it was read at.
pub(super) struct Found {
    pub(super) record: KeyRecord,
    version: u64,
}

/// The tenant's place in the order of creations.
pub(super) struct Gate(Option<u64>);

pub(super) struct KeyStore {
    store: Store,
}

impl KeyStore {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    /// The key that a secret is of.
    pub(super) async fn by_hash(&self, hash: &ApiKeyHash) -> Result<Option<KeyRecord>, StoreError> {
        let Some(item) = self.store.get(&pointer_key(&hash.text())).await? else { return Ok(None) };
        let Pointer { tenant, key_id } = read(&item)?;
        Ok(self.get(&tenant, &key_id).await?.map(|found| found.record))
    }

    pub(super) async fn get(&self, tenant: &TenantId, key_id: &str) -> Result<Option<Found>, StoreError> {
        let Some(item) = self.store.get(&Key::new(partition(tenant), key_id)).await? else { return Ok(None) };
        Ok(Some(Found { record: read(&item)?, version: item.version }))
    }

    /// A page of the tenant's keys, oldest first, each with its last use.
    pub(super) async fn list(
        &self,
        tenant: &TenantId,
        limit: u32,
        after: Option<Cursor>,
    ) -> Result<(Vec<(KeyRecord, Option<u64>)>, Option<Cursor>), StoreError> {
        let page = self.store.query(&Query { after, ..Query::all(partition(tenant), limit) }).await?;
        let records = page.items.iter().map(read::<KeyRecord>).collect::<Result<Vec<_>, _>>()?;
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok((Vec::new(), page.next)) };
        let range = Range::Between(first.key_id.clone(), last.key_id.clone());
        let used = self.store.query(&Query { range, ..Query::all(used_partition(tenant), limit) }).await?;
        let mut used = used.items.into_iter().peekable();
        let mut rows = Vec::with_capacity(records.len());
        for record in records {
            while used.next_if(|item| item.key.sort < record.key_id).is_some() {}
            let last =
                used.next_if(|item| item.key.sort == record.key_id).map(|item| read::<Used>(&item)).transpose()?;
            rows.push((record, last.map(|used| used.at_ms)));
        }
        Ok((rows, page.next))
    }

    pub(super) async fn last_used(&self, tenant: &TenantId, key_id: &str) -> Result<Option<u64>, StoreError> {
        let item = self.store.get(&Key::new(used_partition(tenant), key_id)).await?;
        Ok(item.map(|item| read::<Used>(&item)).transpose()?.map(|used| used.at_ms))
    }

    /// How many of the tenant's keys are good, counted to `most` at most. What is created through the gate afterwards
    /// fails when another creation came between.
    pub(super) async fn count(&self, tenant: &TenantId, now_ms: u64, most: usize) -> Result<(usize, Gate), StoreError> {
        let gate = self.store.get(&gate_key(tenant)).await?.map(|item| item.version);
        let (mut count, mut query) = (0, Query::all(partition(tenant), PAGE));
        loop {
            let page = self.store.query(&query).await?;
            for item in &page.items {
                let record: KeyRecord = read(item)?;
                count += usize::from(record.status(now_ms) == contracts::http::ApiKeyStatus::Active);
            }
            match page.next {
                Some(next) if count < most => query.after = Some(next),
                _ => return Ok((count, Gate(gate))),
            }
        }
    }

    /// Adds a key; a conflict when another one was created meanwhile.
    pub(super) async fn create(&self, record: &KeyRecord, gate: &Gate) -> Result<(), StoreError> {
        let (next, condition) = gate.0.map_or((1, Condition::Absent), |seen| (seen + 1, Condition::Version(seen)));
        let actions = vec![
            put(Item::new(gate_key(&record.tenant), next, "{}"), condition),
            put(item_of(record, 1), Condition::Absent),
            put(pointer(record, &record.hash, record.expires_at_ms), Condition::Absent),
        ];
        self.store.transact(actions).await
    }

    /// Replaces a key that was read; a conflict when it was changed meanwhile.
    pub(super) async fn replace(&self, before: &Found, after: &KeyRecord) -> Result<(), StoreError> {
        let mut actions = vec![put(item_of(after, before.version + 1), Condition::Version(before.version))];
        // Of a revoked key, too: that somebody still uses it is worth knowing.
        let ends = after.revoked_at_ms.or(after.expires_at_ms);
        let previous = after.previous.as_ref().map(|previous| (previous.hash.as_str(), Some(previous.until_ms)));
        let kept: Vec<_> = [Some((after.hash.as_str(), ends)), previous].into_iter().flatten().collect();
        let known = [Some(&before.record.hash), before.record.previous.as_ref().map(|previous| &previous.hash)];
        for hash in known.into_iter().flatten().filter(|hash| kept.iter().all(|(kept, _)| kept != hash)) {
            actions.push(Action::Delete { key: pointer_key(hash), condition: Condition::Any });
        }
        actions.extend(kept.iter().map(|(hash, until_ms)| put(pointer(after, hash, *until_ms), Condition::Any)));
        self.store.transact(actions).await
    }

    /// Notes when keys were last used.
    pub(super) async fn used(&self, uses: &[((TenantId, String), u64)]) -> Result<(), StoreError> {
        for some in uses.chunks(MAX_ACTIONS) {
            let action = |((tenant, key_id), at_ms): &((TenantId, String), u64)| {
                put(
                    Item::new(Key::new(used_partition(tenant), key_id), 1, text(&Used { at_ms: *at_ms })),
                    Condition::Any,
                )
            };
            self.store.transact_unsynced(some.iter().map(action).collect()).await?;
        }
        Ok(())
    }
}

fn put(item: Item, condition: Condition) -> Action {
    Action::Put { item, condition }
}

fn item_of(record: &KeyRecord, version: u64) -> Item {
    let mut item = Item::new(Key::new(partition(&record.tenant), &record.key_id), version, text(record));
    item.expires_at_ms = record.revoked_at_ms.or(record.expires_at_ms).map(|at| at.saturating_add(KEPT_MS));
    item
}

fn pointer(record: &KeyRecord, hash: &str, until_ms: Option<u64>) -> Item {
    let pointer = Pointer { tenant: record.tenant.clone(), key_id: record.key_id.clone() };
    let mut item = Item::new(pointer_key(hash), 1, text(&pointer));
    // So that "it has expired" can be told for a while.
    item.expires_at_ms = until_ms.map(|at| at.saturating_add(KEPT_MS));
    item
}

fn partition(tenant: &TenantId) -> String {
    format!("api-keys#{tenant}")
}

fn used_partition(tenant: &TenantId) -> String {
    format!("api-key-used#{tenant}")
}

fn pointer_key(hash: &str) -> Key {
    Key::new(format!("api-key#{hash}"), "key")
}

fn gate_key(tenant: &TenantId) -> Key {
    Key::new("api-keys-gate", tenant.as_str())
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("items are plain data")
}

fn read<T: DeserializeOwned>(item: &Item) -> Result<T, StoreError> {
    let detail = format!("the item {} can't be read", item.key);
    serde_json::from_str(&item.body)
        .map_err(|error| StoreError::new(StoreErrorKind::Corrupt, detail).with_source(error))
}
