use std::fs;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::SqliteOptions;
use super::rows::failed;
use crate::{StoreError, StoreErrorKind};

/// The schema this code reads and writes (`PRAGMA user_version`).
const SCHEMA_VERSION: i64 = 1;
/// Marks the file as ours (`PRAGMA application_id`): "SYND".
const APPLICATION_ID: i64 = 0x53_59_4E_44;
const PAGE_BYTES: u64 = 4_096;
const WAL_FILE_KEPT_BYTES: i64 = 64 * 1024 * 1024;
const STATEMENTS_KEPT: usize = 32;

// A table with row ids: without them a body over 1 KB would leave the tree's own page.
const SCHEMA: &str = "
CREATE TABLE item (
    partition       TEXT NOT NULL,
    sort            TEXT NOT NULL,
    index_partition TEXT,
    index_sort      TEXT,
    version         INTEGER NOT NULL,
    expires_at_ms   INTEGER,
    counter         INTEGER NOT NULL,
    body            TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX item_key ON item (partition, sort);
CREATE INDEX item_index ON item (index_partition, index_sort, partition, sort) WHERE index_partition IS NOT NULL;
CREATE INDEX item_expiry ON item (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
";

/// The writer's connection, with the schema in place.
pub(super) fn writer(options: &SqliteOptions) -> Result<Connection, StoreError> {
    if let Some(folder) = options.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| {
            let detail = format!("the folder {} can't be made; check its rights", folder.display());
            StoreError::new(StoreErrorKind::Unavailable, detail).with_source(error)
        })?;
    }
    let mut connection = connect(options, OpenFlags::SQLITE_OPEN_CREATE)?;
    let doing = "opening the file";
    let mode: String = connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(|error| failed(doing, error))?;
    if mode != "wal" {
        let detail = format!("{}: its file system allows no write-ahead log; use a local disk", options.path.display());
        return Err(StoreError::new(StoreErrorKind::Unavailable, detail));
    }
    set(&connection, "synchronous", "FULL")?;
    set(&connection, "wal_autocheckpoint", options.wal_pages)?;
    set(&connection, "journal_size_limit", WAL_FILE_KEPT_BYTES)?;
    if let Some(bytes) = options.max_bytes {
        set(&connection, "max_page_count", i64::try_from(bytes / PAGE_BYTES).unwrap_or(i64::MAX))?;
    }
    prepare_schema(&mut connection, options)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn reader(options: &SqliteOptions) -> Result<Connection, StoreError> {
    let connection = connect(options, OpenFlags::empty())?;
    set(&connection, "query_only", "ON")?;
    Ok(connection)
}

fn connect(options: &SqliteOptions, more: OpenFlags) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let doing = || format!("opening {}", options.path.display());
    let connection = Connection::open_with_flags(&options.path, flags).map_err(|error| failed(doing(), error))?;
    connection.busy_timeout(Duration::from_millis(options.busy_ms)).map_err(|error| failed(doing(), error))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    set(&connection, "cache_size", -i64::from(options.cache_kib))?;
    Ok(connection)
}

fn set(connection: &Connection, pragma: &str, value: impl rusqlite::ToSql) -> Result<(), StoreError> {
    connection.pragma_update(None, pragma, value).map_err(|error| failed(format!("setting {pragma}"), error))
}

fn prepare_schema(connection: &mut Connection, options: &SqliteOptions) -> Result<(), StoreError> {
    let doing = || format!("preparing {}", options.path.display());
    let refused = |rule: String| {
        let detail = format!("{}: {rule}", options.path.display());
        Err(StoreError::new(StoreErrorKind::Invalid, detail))
    };
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|error| failed(doing(), error))?;
    let number =
        |sql: &str| transaction.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|error| failed(doing(), error));
    let (version, application) = (number("PRAGMA user_version")?, number("PRAGMA application_id")?);
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if tables > 0 && application != APPLICATION_ID {
        return refused("it is another program's database; choose another path".to_owned());
    }
    if version > SCHEMA_VERSION {
        return refused(format!(
            "its schema is version {version} and this program knows up to {SCHEMA_VERSION}; run the newer program"
        ));
    }
    if tables == 0 {
        let sql = format!("{SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; PRAGMA application_id = {APPLICATION_ID};");
        transaction.execute_batch(&sql).map_err(|error| failed(doing(), error))?;
    }
    transaction.commit().map_err(|error| failed(doing(), error))
}
