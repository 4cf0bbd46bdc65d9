//! Where everything lies in a service's own table.
//!
//! | what | partition | sort | index |
//! |---|---|---|---|
//! | outbox row | `outbox#<shard>` | `<key>#<sequence:020>#<kind>` | |
//! | relay's lease | `outbox-lease#<shard>` | `lease` | |
//! | number of shards | `outbox-layout` | `layout` | |
//! | inbox record | `inbox#<source>#<event id>` | `<service>` | |
//! | watermark | `watermark#<source>#<key>` | `<service>` | |
//! | parked marker | `parked#<source>#<key>` | `marker` | `parked` / `<source>#<key>` |
//! | dead letter | `parked#<source>#<key>` | `letter#<sequence:020>#<kind>#<event id>` | `dead` / `<letter id>` |
//! | conflict, malformed, expired | `aside#<hash>` | `letter` | `dead` / `<letter id>` |
//!
//! `#` and `%` inside a part are written `%23` and `%25`, so that the rows of one key stand together and in order. The
//! partitions of what every event touches (record, watermark, marker) spread over the table: none of them is hot.

use std::borrow::Cow;

use bus::Envelope;
use sha2::{Digest, Sha256};
use store::Key;

/// The index partition that lists dead letters by time.
pub(crate) const DEAD: &str = "dead";
/// The index partition that lists parked keys.
pub(crate) const PARKED: &str = "parked";
/// Sorts after every row of every key.
pub(crate) const LAST: &str = "\u{10ffff}";
/// Longest ordering key that the outbox takes, in bytes as escaped: a sort key holds 1,024 with sequence and kind.
pub(crate) const KEY_BYTES_MAX: usize = 800;

// A partition takes 2,048 bytes; a longer foreign source or key is replaced by its hash.
const PART_BYTES_MAX: usize = 900;

fn escape(part: &str) -> Cow<'_, str> {
    if part.contains(['#', '%']) { part.replace('%', "%25").replace('#', "%23").into() } else { part.into() }
}

fn bounded(part: &str) -> Cow<'_, str> {
    if part.len() > PART_BYTES_MAX { digest(part).into() } else { escape(part) }
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn digest(text: &str) -> String {
    hex(&Sha256::digest(text))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    digits.map(char::from).collect()
}

/// The shard of an ordering key: FNV-1a (64 bit), which never changes between versions of the compiler.
pub(crate) fn shard(key: &str, shards: u32) -> u32 {
    let hash = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // Below `shards`, so it fits.
    u32::try_from(hash % u64::from(shards.max(1))).unwrap_or(0)
}

pub(crate) fn outbox(shard: u32) -> String {
    format!("outbox#{shard}")
}

pub(crate) fn row(shards: u32, key: &str, sequence: u64, kind: &str) -> Key {
    Key::new(outbox(shard(key, shards)), format!("{}#{sequence:020}#{kind}", escape(key)))
}

/// The (escaped) ordering key of an outbox row.
pub(crate) fn key_of_row(sort: &str) -> &str {
    sort.rsplitn(3, '#').nth(2).unwrap_or(sort)
}

/// Sorts after every row of the (escaped) key and before any other key's: `:` follows the digits.
pub(crate) fn after_key(escaped: &str) -> String {
    format!("{escaped}#:")
}

pub(crate) fn lease(shard: u32) -> Key {
    Key::new(format!("outbox-lease#{shard}"), "lease")
}

pub(crate) fn layout() -> Key {
    Key::new("outbox-layout", "layout")
}

pub(crate) fn inbox(service: &str, envelope: &Envelope) -> Key {
    Key::new(format!("inbox#{}#{}", bounded(&envelope.source), envelope.id), service)
}

pub(crate) fn watermark(service: &str, envelope: &Envelope) -> Key {
    Key::new(format!("watermark#{}", lane(&envelope.source, &envelope.key)), service)
}

/// What keeps its order: one key of one source.
pub(crate) fn lane(source: &str, key: &str) -> String {
    format!("{}#{}", bounded(source), bounded(key))
}

pub(crate) fn parked(lane: &str) -> String {
    format!("parked#{lane}")
}

pub(crate) fn marker(lane: &str) -> Key {
    Key::new(parked(lane), "marker")
}

pub(crate) fn letter(lane: &str, envelope: &Envelope) -> Key {
    let kind = bounded(&envelope.kind);
    let kind = if kind.len() > 600 { digest(&kind).into() } else { kind };
    Key::new(parked(lane), format!("letter#{:020}#{kind}#{}", envelope.sequence, envelope.id))
}

/// A letter that blocks no key.
pub(crate) fn aside(hash: &str) -> Key {
    Key::new(format!("aside#{hash}"), "letter")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_row_gives_its_key_back() {
        let row = row(4, "acme/peer/a#b", 7, "presence.peer_went_online.v1");
        assert_eq!(row.sort, "acme/peer/a%23b#00000000000000000007#presence.peer_went_online.v1");
        assert_eq!(key_of_row(&row.sort), "acme/peer/a%23b");
    }

    #[test]
    fn digests_are_hexadecimal() {
        assert_eq!(hex(&[0x00, 0x0f, 0xa0, 0xff]), "000fa0ff");
        assert!(digest("").starts_with("e3b0c44298fc1c14"), "SHA-256 of nothing (FIPS 180-4)");
    }

    #[test]
    fn shards_never_change() {
        // Written down once: a change would break the order of rows that wait while a new version is deployed.
        assert_eq!([shard("acme/peer/alice", 4), shard("acme/peer/bob", 4), shard("", 4)], [3, 0, 1]);
    }

    proptest! {
        #[test]
        fn rows_of_one_key_stand_together_in_order(
            keys in proptest::collection::btree_set("[a-c#%/!~-]{1,6}", 2..6),
            sequences in proptest::collection::vec(0..u64::MAX, 1..4),
        ) {
            let mut rows: Vec<_> = keys
                .iter()
                .flat_map(|key| sequences.iter().map(move |sequence| (key, *sequence, row(1, key, *sequence, "a.b.v1").sort)))
                .collect();
            rows.sort_by(|a, b| a.2.cmp(&b.2));
            for pair in rows.windows(2) {
                if pair[0].0 == pair[1].0 {
                    prop_assert!(pair[0].1 <= pair[1].1);
                } else {
                    prop_assert!(after_key(key_of_row(&pair[0].2)) < pair[1].2, "{:?}", pair);
                }
            }
            let mut seen: Vec<&String> = rows.iter().map(|row| row.0).collect();
            seen.dedup();
            prop_assert_eq!(seen.len(), keys.len(), "each key's rows are one run");
        }
    }
}
