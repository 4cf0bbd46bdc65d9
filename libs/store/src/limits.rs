//! DynamoDB's limits, enforced on every backend (Amazon DynamoDB Developer Guide, "Quotas"; API reference of
//! `TransactWriteItems` and `Query`).

use std::collections::HashSet;

use crate::{Action, Condition, Item, Key, Query, Range, StoreError, StoreErrorKind};

/// Actions in one transaction.
pub const TRANSACTION_ACTIONS_MAX: usize = 100;
/// Bytes of one transaction, the sum of [`action_bytes`]: 4 MB.
pub const TRANSACTION_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one item as [`item_bytes`] counts them: 400 KB.
pub const ITEM_BYTES_MAX: usize = 400 * 1024;
/// UTF-8 bytes of a partition key; it may not be empty.
pub const PARTITION_BYTES_MAX: usize = 2_048;
/// UTF-8 bytes of a sort key; it may not be empty.
pub const SORT_BYTES_MAX: usize = 1_024;
/// Items of one page.
pub const PAGE_ITEMS_MAX: u32 = 1_000;
/// A page ends after this many bytes of items even when it holds fewer than asked for: 1 MB.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Versions and times fit SQLite's integers.
pub const NUMBER_MAX: u64 = i64::MAX as u64;

// Attribute names (67 bytes) and four numbers of at most 21 bytes, as DynamoDB counts them.
const ITEM_OVERHEAD_BYTES: usize = 160;

/// What DynamoDB counts for this item, rounded up: its keys, its index keys, its body and 160 bytes for the rest.
pub fn item_bytes(item: &Item) -> usize {
    key_bytes(&item.key) + item.index.as_ref().map_or(0, key_bytes) + item.body.len() + ITEM_OVERHEAD_BYTES
}

/// What this action counts towards [`TRANSACTION_BYTES_MAX`].
pub fn action_bytes(action: &Action) -> usize {
    match action {
        Action::Put { item, .. } => item_bytes(item),
        Action::Add { key, .. } | Action::Delete { key, .. } | Action::Check { key, .. } => {
            key_bytes(key) + ITEM_OVERHEAD_BYTES
        }
    }
}

fn key_bytes(key: &Key) -> usize {
    key.partition.len() + key.sort.len()
}

pub(crate) fn check_transaction(actions: &[Action]) -> Result<(), StoreError> {
    if !(1..=TRANSACTION_ACTIONS_MAX).contains(&actions.len()) {
        return Err(invalid(format!(
            "actions: {} of them; a transaction takes 1 to {TRANSACTION_ACTIONS_MAX}; split it",
            actions.len()
        )));
    }
    let mut keys = HashSet::with_capacity(actions.len());
    let mut bytes = 0;
    for (number, action) in actions.iter().enumerate() {
        check_action(number, action)?;
        if !keys.insert(action.key()) {
            return Err(invalid(format!(
                "actions[{number}].key: {} comes twice; one transaction takes each key once, join the two actions",
                action.key()
            )));
        }
        bytes += action_bytes(action);
    }
    if bytes > TRANSACTION_BYTES_MAX {
        return Err(invalid(format!(
            "actions: {bytes} bytes together; a transaction takes {TRANSACTION_BYTES_MAX}; split it"
        )));
    }
    Ok(())
}

fn check_action(number: usize, action: &Action) -> Result<(), StoreError> {
    check_key(&format_args!("actions[{number}].key"), action.key())?;
    let condition = match action {
        Action::Put { item, condition } => {
            check_item(number, item)?;
            condition
        }
        Action::Add { condition, .. } | Action::Delete { condition, .. } | Action::Check { condition, .. } => condition,
    };
    match condition {
        Condition::Version(version) => check_number(&format_args!("actions[{number}].condition.version"), *version),
        Condition::Any | Condition::Absent | Condition::Exists | Condition::Counter(_) => Ok(()),
    }
}

fn check_item(number: usize, item: &Item) -> Result<(), StoreError> {
    if let Some(index) = &item.index {
        check_key(&format_args!("actions[{number}].item.index"), index)?;
    }
    check_number(&format_args!("actions[{number}].item.version"), item.version)?;
    check_number(&format_args!("actions[{number}].item.expires_at_ms"), item.expires_at_ms.unwrap_or(0))?;
    let bytes = item_bytes(item);
    if bytes > ITEM_BYTES_MAX {
        return Err(invalid(format!(
            "actions[{number}].item: {bytes} bytes; an item takes {ITEM_BYTES_MAX} with its keys; keep large content \
             elsewhere and store where it is"
        )));
    }
    Ok(())
}

pub(crate) fn check_key(field: &dyn std::fmt::Display, key: &Key) -> Result<(), StoreError> {
    check_text(field, "partition", &key.partition, PARTITION_BYTES_MAX)?;
    check_text(field, "sort", &key.sort, SORT_BYTES_MAX)
}

pub(crate) fn check_query(query: &Query) -> Result<(), StoreError> {
    check_text(&"query", "partition", &query.partition, PARTITION_BYTES_MAX)?;
    match &query.range {
        Range::All => {}
        // An empty prefix is all of the partition.
        Range::Prefix(prefix) if prefix.is_empty() => {}
        Range::Prefix(prefix) => check_text(&"query", "range.prefix", prefix, SORT_BYTES_MAX)?,
        Range::Between(first, last) => {
            check_text(&"query", "range.from", first, SORT_BYTES_MAX)?;
            check_text(&"query", "range.to", last, SORT_BYTES_MAX)?;
            if first > last {
                return Err(invalid("query.range: its end lies before its start; swap the two".to_owned()));
            }
        }
    }
    if !(1..=PAGE_ITEMS_MAX).contains(&query.limit) {
        return Err(invalid(format!("query.limit: {}; a page takes 1 to {PAGE_ITEMS_MAX}", query.limit)));
    }
    Ok(())
}

fn check_text(field: &dyn std::fmt::Display, part: &str, text: &str, max: usize) -> Result<(), StoreError> {
    if text.is_empty() {
        return Err(invalid(format!("{field}.{part}: it is empty; give it at least 1 byte")));
    }
    if text.len() > max {
        return Err(invalid(format!("{field}.{part}: {} bytes; at most {max}; shorten or hash it", text.len())));
    }
    Ok(())
}

fn check_number(field: &dyn std::fmt::Display, number: u64) -> Result<(), StoreError> {
    if number > NUMBER_MAX {
        return Err(invalid(format!("{field}: {number}; at most {NUMBER_MAX}")));
    }
    Ok(())
}

fn invalid(detail: String) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, detail)
}
