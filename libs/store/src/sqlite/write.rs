use rusqlite::{Connection, OptionalExtension};

use super::rows::{failed, unsigned};
use crate::{Action, Item, Key, StoreError, StoreErrorKind};

/// Does one transaction inside the commit the writer has open: first every condition, then the writes. A transaction
/// names each key once, so no write of its own can change what a condition of its own sees, and one that does not
/// hold leaves nothing to undo.
pub(super) fn apply(connection: &Connection, actions: &[Action], now_ms: u64) -> Result<(), StoreError> {
    let mut counters = Vec::new();
    for (number, action) in actions.iter().enumerate() {
        if let Some(counter) = check(connection, number, action, now_ms)? {
            counters.push(counter);
        }
    }
    let mut counters = counters.into_iter();
    for action in actions {
        let done = match action {
            Action::Put { item, .. } => put(connection, item),
            Action::Add { key, .. } => match counters.next() {
                Some(Counter { total, stands: true }) => set_counter(connection, key, total),
                Some(Counter { total, stands: false }) => put(connection, &counter_item(key, total)),
                None => Ok(()),
            },
            Action::Delete { key, .. } => delete(connection, key),
            Action::Check { .. } => Ok(()),
        };
        done.map_err(|error| failed(format!("writing {}", action.key()), error))?;
    }
    Ok(())
}

/// Removes up to `limit` items whose time is over at `now_ms`.
pub(super) fn sweep(connection: &Connection, limit: u32, now_ms: u64) -> Result<u64, StoreError> {
    const SQL: &str = "DELETE FROM item WHERE rowid IN \
                       (SELECT rowid FROM item WHERE expires_at_ms <= ?1 ORDER BY expires_at_ms LIMIT ?2)";
    connection
        .prepare_cached(SQL)
        .and_then(|mut statement| statement.execute((signed(now_ms), limit)))
        .map(|gone| gone as u64)
        .map_err(|error| failed("removing expired items", error))
}

/// Whether any item's time is over at `now_ms`; cheap, and takes no lock.
pub(super) fn has_expired(connection: &Connection, now_ms: u64) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT 1 FROM item WHERE expires_at_ms <= ?1 LIMIT 1";
    connection
        .prepare_cached(SQL)
        .and_then(|mut statement| statement.exists([signed(now_ms)]))
        .map_err(|error| failed("looking for expired items", error))
}

/// What an add will leave.
struct Counter {
    total: i64,
    stands: bool,
}

fn check(connection: &Connection, number: usize, action: &Action, now_ms: u64) -> Result<Option<Counter>, StoreError> {
    let key = action.key();
    let (condition, delta) = match action {
        Action::Put { condition, .. } | Action::Delete { condition, .. } | Action::Check { condition, .. } => {
            (*condition, None)
        }
        Action::Add { condition, delta, .. } => (*condition, Some(*delta)),
    };
    if condition == crate::Condition::Any && delta.is_none() {
        return Ok(None);
    }
    let stands = standing(connection, key, now_ms).map_err(|error| failed(format!("reading {key}"), error))?;
    if !condition.holds(stands) {
        let describe = |(version, counter)| format!("version {version}, counter {counter}");
        let found = stands.map_or_else(|| "nothing".to_owned(), describe);
        let detail = format!("{key} should be {condition:?} and {found} stands there");
        return Err(StoreError::new(StoreErrorKind::Conflict { action: number }, detail));
    }
    let Some(delta) = delta else { return Ok(None) };
    let counter = stands.map_or(0, |(_, counter)| counter);
    let total = counter.checked_add(delta).ok_or_else(|| {
        let detail = format!("actions[{number}].delta: {counter} + {delta} leaves 64 bits; reset the counter of {key}");
        StoreError::new(StoreErrorKind::Invalid, detail)
    })?;
    Ok(Some(Counter { total, stands: stands.is_some() }))
}

/// Version and counter of the item at `key`, unless its time is over.
fn standing(connection: &Connection, key: &Key, now_ms: u64) -> rusqlite::Result<Option<(u64, i64)>> {
    const SQL: &str = "SELECT version, counter FROM item WHERE partition = ?1 AND sort = ?2 \
                       AND (expires_at_ms IS NULL OR expires_at_ms > ?3)";
    connection
        .prepare_cached(SQL)?
        .query_row((&key.partition, &key.sort, signed(now_ms)), |row| Ok((unsigned(0, row.get(0)?)?, row.get(1)?)))
        .optional()
}

fn put(connection: &Connection, item: &Item) -> rusqlite::Result<()> {
    const SQL: &str = "\
        INSERT INTO item (partition, sort, index_partition, index_sort, version, expires_at_ms, counter, body) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (partition, sort) DO UPDATE SET \
        index_partition = ?3, index_sort = ?4, version = ?5, expires_at_ms = ?6, counter = ?7, body = ?8";
    let index = item.index.as_ref();
    connection.prepare_cached(SQL)?.execute((
        &item.key.partition,
        &item.key.sort,
        index.map(|key| &key.partition),
        index.map(|key| &key.sort),
        signed(item.version),
        item.expires_at_ms.map(signed),
        item.counter,
        &item.body,
    ))?;
    Ok(())
}

fn counter_item(key: &Key, counter: i64) -> Item {
    Item { counter, ..Item::new(key.clone(), 0, "{}") }
}

fn set_counter(connection: &Connection, key: &Key, total: i64) -> rusqlite::Result<()> {
    const SQL: &str = "UPDATE item SET counter = ?3 WHERE partition = ?1 AND sort = ?2";
    connection.prepare_cached(SQL)?.execute((&key.partition, &key.sort, total))?;
    Ok(())
}

fn delete(connection: &Connection, key: &Key) -> rusqlite::Result<()> {
    const SQL: &str = "DELETE FROM item WHERE partition = ?1 AND sort = ?2";
    connection.prepare_cached(SQL)?.execute((&key.partition, &key.sort))?;
    Ok(())
}

/// Numbers within the limits fit; the clock's may be anything.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
