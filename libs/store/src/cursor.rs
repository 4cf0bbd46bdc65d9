use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::limits::{PARTITION_BYTES_MAX, SORT_BYTES_MAX};
use crate::{Cursor, Key, Query, StoreError, StoreErrorKind};

// Two keys of at most 3,072 bytes each; JSON escapes a byte to at most 6, base64 takes 4 for 3.
const TEXT_BYTES_MAX: usize = 2 * (PARTITION_BYTES_MAX + SORT_BYTES_MAX) * 6 * 4 / 3 + 64;

/// Where a listing stands: the last item's place in it. Base64 of a JSON array, `[partition, sort]` in a partition and
/// `[index partition, index sort, partition, sort]` in the index, the same on every backend.
pub(crate) struct Place {
    pub(crate) sort: String,
    /// The item's own key, in an index listing.
    pub(crate) item: Option<Key>,
}

impl Cursor {
    /// A cursor a caller handed back as text. Whether it fits a query is checked when it is used.
    ///
    /// # Errors
    /// `Invalid` when the text is none that [`Cursor`]'s `Display` made.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let cursor = Self(text.to_owned());
        cursor.fields()?;
        Ok(cursor)
    }

    /// The text to hand to a caller; letters, digits, `-` and `_`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn after_key(key: &Key) -> Self {
        Self::of(&[&key.partition, &key.sort])
    }

    pub(crate) fn after_index_key(index: &Key, key: &Key) -> Self {
        Self::of(&[&index.partition, &index.sort, &key.partition, &key.sort])
    }

    fn of(fields: &[&String]) -> Self {
        let json = serde_json::to_vec(fields).expect("an array of strings is JSON");
        Self(URL_SAFE_NO_PAD.encode(json))
    }

    fn fields(&self) -> Result<Vec<String>, StoreError> {
        let refused = || invalid("it is not one this store made; start again without it");
        if self.0.len() > TEXT_BYTES_MAX {
            return Err(refused());
        }
        let json = URL_SAFE_NO_PAD.decode(&self.0).map_err(|_| refused())?;
        let fields: Vec<String> = serde_json::from_slice(&json).map_err(|_| refused())?;
        let fits = |at: usize, max| (1..=max).contains(&fields[at].len());
        let key_fits = |at| fits(at, PARTITION_BYTES_MAX) && fits(at + 1, SORT_BYTES_MAX);
        match fields.len() {
            2 if key_fits(0) => Ok(fields),
            4 if key_fits(0) && key_fits(2) => Ok(fields),
            _ => Err(refused()),
        }
    }
}

impl Query {
    /// The place this query continues after, or `None` from the start.
    pub(crate) fn place(&self, in_index: bool) -> Result<Option<Place>, StoreError> {
        let Some(cursor) = &self.after else { return Ok(None) };
        let mut fields = cursor.fields()?.into_iter();
        let mut field = || fields.next().unwrap_or_default();
        let (partition, sort, key) = (field(), field(), Key::new(field(), field()));
        if key.partition.is_empty() == in_index {
            return Err(invalid("it belongs to the other kind of listing; start again without it"));
        }
        if partition != self.partition || !self.range.holds(&sort) {
            return Err(invalid("it belongs to another query; use it with the partition and range it came from"));
        }
        Ok(Some(Place { sort, item: in_index.then_some(key) }))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn invalid(rule: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, format!("after: {rule}"))
}
