use rusqlite::{ErrorCode, Row};

use crate::{Item, Key, StoreError, StoreErrorKind};

/// The columns [`item`] reads, in its order.
pub(super) const COLUMNS: &str = "partition, sort, index_partition, index_sort, version, expires_at_ms, counter, body";

pub(super) fn item(row: &Row<'_>) -> rusqlite::Result<Item> {
    let index = match (row.get::<_, Option<String>>(2)?, row.get::<_, Option<String>>(3)?) {
        (Some(partition), Some(sort)) => Some(Key { partition, sort }),
        _ => None,
    };
    Ok(Item {
        key: Key { partition: row.get(0)?, sort: row.get(1)? },
        index,
        version: unsigned(4, row.get(4)?)?,
        expires_at_ms: row.get::<_, Option<i64>>(5)?.map(|number| unsigned(5, number)).transpose()?,
        counter: row.get(6)?,
        body: row.get(7)?,
    })
}

/// A number that was never negative when it was written.
pub(super) fn unsigned(column: usize, number: i64) -> rusqlite::Result<u64> {
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// What SQLite's failure means to a caller; `doing` says what was being done.
pub(super) fn failed(doing: impl Into<String>, error: rusqlite::Error) -> StoreError {
    let doing = doing.into();
    let (kind, advice) = match &error {
        rusqlite::Error::SqliteFailure(code, _) => match code.code {
            ErrorCode::DiskFull => (StoreErrorKind::Full, "no room left; free some or raise max_bytes"),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                (StoreErrorKind::Contended, "another process holds the file; one process per file")
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                (StoreErrorKind::Corrupt, "the file is damaged or no database; restore it from a backup")
            }
            _ => (StoreErrorKind::Unavailable, "the file can't be used; check the disk and the rights"),
        },
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => (StoreErrorKind::Corrupt, "a stored row is not an item"),
        _ => (StoreErrorKind::Unavailable, "the database can't be used"),
    };
    StoreError::new(kind, format!("{doing}: {advice} ({error})")).with_source(error)
}
