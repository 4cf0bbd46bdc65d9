use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Semaphore;

use super::rows::{COLUMNS, failed, item};
use super::{SqliteOptions, open};
use crate::cursor::Place;
use crate::limits::{self, PAGE_BYTES_MAX};
use crate::{Cursor, Item, Key, Page, Query, Range, StoreError, StoreErrorKind};

/// The read connections. A call borrows one on a blocking thread; calls beyond their number wait.
pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    turns: Arc<Semaphore>,
    options: SqliteOptions,
}

impl Readers {
    pub(super) fn open(options: &SqliteOptions) -> Result<Self, StoreError> {
        let idle = (0..options.readers).map(|_| open::reader(options)).collect::<Result<_, _>>()?;
        let turns = Arc::new(Semaphore::new(options.readers));
        Ok(Self { idle: Mutex::new(idle), turns, options: options.clone() })
    }

    /// Runs `work` on a connection of its own.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.expect("the semaphore is never closed");
        let readers = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            // Held to the end of the work even when the caller stops waiting.
            let _turn = turn;
            let connection = readers.take()?;
            let result = work(&connection);
            readers.lock().push(connection);
            result
        });
        reading.await.unwrap_or_else(|error| {
            Err(StoreError::new(StoreErrorKind::Unavailable, "a read was broken off").with_source(error))
        })
    }

    fn take(&self) -> Result<Connection, StoreError> {
        let idle = self.lock().pop();
        // None is idle only after a read that panicked took one with it.
        idle.map_or_else(|| open::reader(&self.options), Ok)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn get(connection: &Connection, key: &Key, now_ms: u64) -> Result<Option<Item>, StoreError> {
    const SQL: &str = "SELECT partition, sort, index_partition, index_sort, version, expires_at_ms, counter, body \
                       FROM item WHERE partition = ?1 AND sort = ?2";
    let doing = || format!("reading {key}");
    let mut statement = connection.prepare_cached(SQL).map_err(|error| failed(doing(), error))?;
    let found =
        statement.query_row([&key.partition, &key.sort], item).optional().map_err(|error| failed(doing(), error))?;
    Ok(found.filter(|item| !item.is_expired(now_ms)))
}

pub(super) fn query(
    connection: &Connection,
    query: &Query,
    place: Option<Place>,
    now_ms: u64,
) -> Result<Page, StoreError> {
    let (mut first, mut last) = bounds(&query.range);
    if let Some(place) = place {
        let bound = Bound::Excluded(place.sort);
        if query.descending { last = bound } else { first = bound }
    }
    let mut listing = Listing::new("partition", query, now_ms);
    listing.between("sort", &first, &last);
    let order = if query.descending { "sort DESC" } else { "sort" };
    let rows = listing.run(connection, order, &format!("listing {}", query.partition))?;
    Ok(rows.page(|item| Some(Cursor::after_key(&item.key))))
}

pub(super) fn query_index(
    connection: &Connection,
    query: &Query,
    place: Option<Place>,
    now_ms: u64,
) -> Result<Page, StoreError> {
    let (mut first, mut last) = bounds(&query.range);
    let mut listing = Listing::new("index_partition", query, now_ms);
    let key = place.and_then(|place| {
        let bound = Bound::Included(place.sort.clone());
        if query.descending {
            last = bound
        } else {
            first = bound
        }
        place.item.map(|key| (place.sort, key))
    });
    listing.between("index_sort", &first, &last);
    if let Some((sort, key)) = &key {
        let sign = if query.descending { "<" } else { ">" };
        listing.sql += &format!(" AND (index_sort, partition, sort) {sign} (?, ?, ?)");
        listing.values.extend([sort as &dyn ToSql, &key.partition, &key.sort]);
    }
    let order =
        if query.descending { "index_sort DESC, partition DESC, sort DESC" } else { "index_sort, partition, sort" };
    let rows = listing.run(connection, order, &format!("listing index {}", query.partition))?;
    Ok(rows.page(|item| Some(Cursor::after_index_key(item.index.as_ref()?, &item.key))))
}

struct Listing<'a> {
    sql: String,
    values: Vec<&'a dyn ToSql>,
    limit: u32,
    now_ms: u64,
}

impl<'a> Listing<'a> {
    fn new(partition_column: &str, query: &'a Query, now_ms: u64) -> Self {
        let sql = format!("SELECT {COLUMNS} FROM item WHERE {partition_column} = ?");
        Self { sql, values: vec![&query.partition], limit: query.limit, now_ms }
    }

    fn between(&mut self, column: &str, first: &'a Bound<String>, last: &'a Bound<String>) {
        for (bound, sign) in [(first, '>'), (last, '<')] {
            let (value, equal) = match bound {
                Bound::Included(value) => (value, "="),
                Bound::Excluded(value) => (value, ""),
                Bound::Unbounded => continue,
            };
            self.sql += &format!(" AND {column} {sign}{equal} ?");
            self.values.push(value);
        }
    }

    // One more than asked for tells whether another page follows. The text has few forms, so preparing them is paid
    // once per connection.
    fn run(mut self, connection: &Connection, order: &str, doing: &str) -> Result<Rows, StoreError> {
        let now_ms = i64::try_from(self.now_ms).unwrap_or(i64::MAX);
        let limit = i64::from(self.limit) + 1;
        self.sql += &format!(" AND (expires_at_ms IS NULL OR expires_at_ms > ?) ORDER BY {order} LIMIT ?");
        let mut values = self.values;
        values.extend([&now_ms as &dyn ToSql, &limit]);
        let read = || {
            let mut statement = connection.prepare_cached(&self.sql)?;
            let mut found = statement.query(values.as_slice())?;
            let (mut items, mut bytes) = (Vec::new(), 0);
            while let Some(row) = found.next()? {
                if bytes >= PAGE_BYTES_MAX || items.len() == self.limit as usize {
                    return Ok(Rows { items, more: true });
                }
                let item = item(row)?;
                bytes += limits::item_bytes(&item);
                items.push(item);
            }
            Ok(Rows { items, more: false })
        };
        read().map_err(|error| failed(doing, error))
    }
}

struct Rows {
    items: Vec<Item>,
    more: bool,
}

impl Rows {
    fn page(self, cursor: impl Fn(&Item) -> Option<Cursor>) -> Page {
        let next = self.items.last().filter(|_| self.more).and_then(cursor);
        Page { items: self.items, next }
    }
}

fn bounds(range: &Range) -> (Bound<String>, Bound<String>) {
    match range {
        Range::All => (Bound::Unbounded, Bound::Unbounded),
        Range::Prefix(prefix) => {
            let after = after_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded);
            (Bound::Included(prefix.clone()), after)
        }
        Range::Between(first, last) => (Bound::Included(first.clone()), Bound::Included(last.clone())),
    }
}

/// The smallest text above every text that begins with `prefix`; `None` where there is none. UTF-8's byte order is the
/// order of code points, so the last character that has a successor takes it.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        if last < char::MAX {
            // The range steps over the surrogates.
            text.extend((last..=char::MAX).nth(1));
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_above_all_it_holds_and_below_all_else() {
        assert_eq!(after_prefix("a#"), Some("a$".to_owned()));
        assert_eq!(after_prefix("\u{d7ff}"), Some("\u{e000}".to_owned()));
        assert_eq!(after_prefix("a\u{10ffff}"), Some("b".to_owned()));
        assert_eq!(after_prefix("\u{10ffff}"), None);
        assert_eq!(after_prefix(""), None);
    }
}
