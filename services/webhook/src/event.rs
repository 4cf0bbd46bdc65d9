//! What we read of Stripe's events, tolerantly: unknown fields are skipped unparsed, known ones may be missing where
//! some API version leaves them out. What can't be read at all is no reason to refuse it: it is kept, set aside.
//! `object.rs` reads the object that an event is about.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Longest id, type, version or status, bytes. Stripe's ids are at most 255 characters (API upgrades page).
pub(crate) const MAX_TEXT_BYTES: usize = 255;

/// A text of Stripe's that is not longer than any of its ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct Short(String);

/// Whether a text has a length and characters that we keep.
pub(crate) fn is_short(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control)
}

impl Short {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Short {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if is_short(&text) {
            return Ok(Self(text));
        }
        Err(D::Error::custom("a text is empty, longer than 255 bytes or has control characters"))
    }
}

/// When Stripe made an event: Unix seconds in ordinary events, RFC 3339 in thin ones. It orders nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Created {
    Seconds(u64),
    Text(Short),
}

impl Created {
    /// Unix seconds; 0 where the text is no time.
    pub(crate) fn seconds(&self) -> u64 {
        match self {
            Self::Seconds(seconds) => *seconds,
            Self::Text(text) => {
                let time = text.as_str().parse::<jiff::Timestamp>();
                time.ok().and_then(|time| u64::try_from(time.as_second()).ok()).unwrap_or(0)
            }
        }
    }
}

/// The envelope of an event.
#[derive(Debug, Deserialize)]
pub struct Event<'a> {
    pub(crate) id: Short,
    pub(crate) object: Short,
    #[serde(rename = "type")]
    pub(crate) kind: Short,
    pub(crate) created: Created,
    pub(crate) livemode: bool,
    #[serde(default)]
    pub(crate) api_version: Option<Short>,
    /// The connected account it happened in.
    #[serde(default)]
    account: Option<Short>,
    /// The same in thin events.
    #[serde(default)]
    context: Option<Short>,
    /// What a thin event is about.
    #[serde(default)]
    related_object: Option<Related>,
    #[serde(borrow, default)]
    data: Option<Data<'a>>,
}

#[derive(Debug, Deserialize)]
struct Related {
    id: Short,
}

#[derive(Debug, Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
}

impl<'a> Event<'a> {
    /// Reads an event.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(body: &'a [u8]) -> Result<Self, String> {
        let event: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        match event.object.as_str() {
            "event" | "v2.core.event" => Ok(event),
            other => Err(format!("object: it is {other:?} and not an event")),
        }
    }

    /// The account it happened in, if it is not the platform's own.
    pub(crate) fn account(&self) -> Option<&Short> {
        self.account.as_ref().or(self.context.as_ref())
    }

    /// The id of the object that a thin event is about.
    pub(crate) fn related(&self) -> Option<&str> {
        self.related_object.as_ref().map(|related| related.id.as_str())
    }

    /// The text of the object it is about.
    pub(crate) fn object(&self) -> Option<&'a str> {
        self.data.as_ref().and_then(|data| data.object).map(RawValue::get)
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
