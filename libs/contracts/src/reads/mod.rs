//! What a service reads of a message: the one way in which services parse payloads, and the record of it.
//!
//! A reader's own type decides what binds the provider: fields it does not name may go. What it names is not written
//! by hand but found out: while a [`Recording`] runs (only in tests; release builds have no trace of it) every payload
//! that is one of the golden samples is parsed again with one thing changed at a time, by the reader's own type. What
//! makes a difference is read.

#[cfg(debug_assertions)]
mod probe;
#[cfg(debug_assertions)]
mod recording;

#[cfg(debug_assertions)]
pub use recording::Recording;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Class;

/// Reads a payload of `kind` as `reader` (a service's name) sees it. Every service parses what it is sent with this.
///
/// # Errors
/// The payload is not of type `T`.
pub fn read<T: DeserializeOwned + Debug>(
    reader: &str,
    class: Class,
    kind: &str,
    data: &[u8],
) -> Result<T, serde_json::Error> {
    #[cfg(debug_assertions)]
    recording::note::<T>(reader, class, kind, data);
    #[cfg(not(debug_assertions))]
    let _ = (reader, class, kind);
    serde_json::from_slice(data)
}

/// A name that tells a message from all others: replies share their request's kind and have `.reply` appended.
pub fn message_name(class: Class, kind: &str) -> String {
    if class == Class::Reply { format!("{kind}.reply") } else { kind.to_owned() }
}

/// Everything one service reads: its committed `contract/reads.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    /// The reader.
    pub service: String,
    /// By message name, by path (`peers[].status`, `metadata.*`).
    pub reads: BTreeMap<String, Fields>,
}

/// What is read of one message, by path.
pub type Fields = BTreeMap<String, Field>;

/// One field that somebody reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// JSON types seen there: `string`, `integer`, `number`, `boolean`, `object`, `array`, `null`.
    pub types: BTreeSet<String>,
    /// Whether the reader fails without it, in some variant at least.
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// The values that the reader tells apart; empty where any text is fine.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub values: BTreeSet<String>,
    /// Whether it also takes values that it does not know (`values` is then not all there may be).
    #[serde(default, skip_serializing_if = "is_false")]
    pub open: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(debug_assertions)]
impl Field {
    fn merge(&mut self, other: Self) {
        self.types.extend(other.types);
        self.values.extend(other.values);
        self.required |= other.required;
        self.open |= other.open;
    }
}

impl Reads {
    /// The committed form: indented, one line per field.
    pub fn to_text(&self) -> String {
        let mut text = format!("{{\n  \"service\": {:?},\n  \"reads\": {{", self.service);
        for (place, (name, fields)) in self.reads.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            let _ = write!(text, "{comma}\n    {name:?}: {{");
            for (place, (path, field)) in fields.iter().enumerate() {
                let comma = if place > 0 { "," } else { "" };
                let field = serde_json::to_string(field).unwrap_or_default();
                let _ = write!(text, "{comma}\n      {path:?}: {field}");
            }
            text.push_str(if fields.is_empty() { "}" } else { "\n    }" });
        }
        text.push_str("\n  }\n}\n");
        text
    }

    /// Reads the committed form.
    ///
    /// # Errors
    /// It is not of that form.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
