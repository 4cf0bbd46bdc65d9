//! The attributes of a row. Their names and numbers are within the 160 bytes that `limits::item_bytes` allows for.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `pk`, `sk` | S | the key |
//! | `gsi1pk`, `gsi1sk` | S | the index key, if any |
//! | `item_version` | N | |
//! | `expires_at_ms` | N | exact, what conditions and reads compare |
//! | `ttl_s` | N | the same in seconds, rounded up: what DynamoDB's own removal looks at |
//! | `item_counter` | N | |
//! | `item_body` | S | JSON |

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{Item, Key, StoreError, StoreErrorKind};

pub(super) const PARTITION: &str = "pk";
pub(super) const SORT: &str = "sk";
pub(super) const INDEX: &str = "gsi1";
pub(super) const INDEX_PARTITION: &str = "gsi1pk";
pub(super) const INDEX_SORT: &str = "gsi1sk";
pub(super) const TTL: &str = "ttl_s";
const VERSION: &str = "item_version";
const EXPIRES_AT: &str = "expires_at_ms";
const COUNTER: &str = "item_counter";
const BODY: &str = "item_body";

/// Holds for a row whose time is not over; also where none stands.
pub(super) const ALIVE: &str = "(attribute_not_exists(expires_at_ms) OR expires_at_ms > :now)";

pub(super) type Row = HashMap<String, AttributeValue>;

pub(super) fn key(key: &Key) -> Row {
    pair(PARTITION, SORT, key)
}

pub(super) fn index_key(key: &Key) -> Row {
    pair(INDEX_PARTITION, INDEX_SORT, key)
}

fn pair(partition: &str, sort: &str, key: &Key) -> Row {
    HashMap::from([
        (partition.to_owned(), AttributeValue::S(key.partition.clone())),
        (sort.to_owned(), AttributeValue::S(key.sort.clone())),
    ])
}

pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn encode(item: &Item) -> Row {
    let mut row = key(&item.key);
    row.extend(item.index.iter().flat_map(index_key));
    row.insert(VERSION.to_owned(), number(item.version));
    row.insert(COUNTER.to_owned(), number(item.counter));
    row.insert(BODY.to_owned(), AttributeValue::S(item.body.clone()));
    if let Some(at_ms) = item.expires_at_ms {
        row.insert(EXPIRES_AT.to_owned(), number(at_ms));
        row.insert(TTL.to_owned(), number(at_ms.div_ceil(1_000)));
    }
    row
}

pub(super) fn decode(row: &Row) -> Result<Item, StoreError> {
    let key = key_in(row, PARTITION, SORT)?;
    let of = || key.to_string();
    let index = row.contains_key(INDEX_PARTITION).then(|| key_in(row, INDEX_PARTITION, INDEX_SORT)).transpose()?;
    let expires_at_ms = row.contains_key(EXPIRES_AT).then(|| number_in(row, EXPIRES_AT, of)).transpose()?;
    Ok(Item {
        index,
        version: number_in(row, VERSION, of)?,
        expires_at_ms,
        counter: number_in(row, COUNTER, of)?,
        body: text_in(row, BODY, of)?,
        key,
    })
}

pub(super) fn key_in(row: &Row, partition: &str, sort: &str) -> Result<Key, StoreError> {
    let of = || "a row".to_owned();
    Ok(Key { partition: text_in(row, partition, of)?, sort: text_in(row, sort, of)? })
}

fn text_in(row: &Row, name: &str, of: impl Fn() -> String) -> Result<String, StoreError> {
    row.get(name).and_then(|value| value.as_s().ok()).cloned().ok_or_else(|| corrupt(name, of()))
}

fn number_in<N: std::str::FromStr>(row: &Row, name: &str, of: impl Fn() -> String) -> Result<N, StoreError> {
    let text = row.get(name).and_then(|value| value.as_n().ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| corrupt(name, of()))
}

fn corrupt(name: &str, of: String) -> StoreError {
    let detail = format!("{of}: attribute {name} is missing or not what this program writes; another writer?");
    StoreError::new(StoreErrorKind::Corrupt, detail)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn full() -> Item {
        Item {
            key: Key::new("p", "s"),
            index: Some(Key::new("i", "t")),
            version: i64::MAX as u64,
            expires_at_ms: Some(i64::MAX as u64),
            counter: i64::MIN,
            body: "{}".to_owned(),
        }
    }

    #[test]
    fn a_row_reads_back_and_fits_what_the_limits_count() {
        let row = encode(&full());
        assert_eq!(decode(&row).unwrap(), full());
        let text = |value: &AttributeValue| value.as_s().or_else(|_| value.as_n()).unwrap().len();
        let bytes: usize = row.iter().map(|(name, value)| name.len() + text(value)).sum();
        assert!(bytes <= crate::limits::item_bytes(&full()), "{bytes}");
    }

    #[test]
    fn the_time_in_seconds_is_never_early() {
        let row = encode(&Item { expires_at_ms: Some(1_001), ..full() });
        assert_eq!(row[TTL], number(2));
        assert_eq!(row[EXPIRES_AT], number(1_001));
    }

    #[test]
    fn a_row_of_another_writer_is_corrupt() {
        for name in [SORT, INDEX_SORT, VERSION, COUNTER, BODY] {
            let mut row = encode(&full());
            row.remove(name);
            assert_eq!(decode(&row).unwrap_err().kind(), StoreErrorKind::Corrupt, "{name}");
        }
        let mut row = encode(&full());
        row.insert(VERSION.to_owned(), number(-1));
        assert_eq!(decode(&row).unwrap_err().kind(), StoreErrorKind::Corrupt);
    }
}
