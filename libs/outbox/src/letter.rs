use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bus::Envelope;
use bytes::Bytes;
use clock::Entropy;
use serde::{Deserialize, Serialize, Serializer};
use store::{Action, Condition, Item, Key, StoreError};

use crate::keys;
use crate::stored::{StoredEnvelope, read};

/// Longest error text kept, in bytes.
const ERROR_BYTES_MAX: usize = 2_048;

/// An event that a service could not handle, or one that waits behind such an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names the letter; later letters have larger ids.
    pub id: String,
    /// Why it lies here.
    pub reason: Reason,
    /// What went wrong the last time, at most 2 KiB.
    pub error: String,
    /// Tries that failed.
    pub attempts: u32,
    /// When it came here, Unix milliseconds.
    pub at_ms: u64,
    /// The letter it waits behind, where the reason is [`Reason::Parked`].
    pub behind: Option<String>,
    /// The event; `None` where the message was none.
    pub envelope: Option<Envelope>,
    /// The message that was no event, at most its first 64 KiB.
    pub raw: Option<Bytes>,
}

/// Why an event lies among the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Every try failed.
    Exhausted,
    /// Its handler said that it can never be handled.
    Permanent,
    /// Its handler said that it is broken.
    Poison,
    /// The message was no event at all. It blocks nothing and can only be dropped.
    Malformed,
    /// Its id came before with another payload. It blocks nothing and can only be dropped.
    Conflict,
    /// It came after a dead letter of its key and waits for it.
    Parked,
    /// No event: something else that a service could not do in time ([`crate::Unit::bury`]). It blocks nothing, can only
    /// be dropped, and goes by itself when its time is over.
    Expired,
}

impl Reason {
    /// A short stable word for metrics, traces and brokers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Permanent => "permanent",
            Self::Poison => "poison",
            Self::Malformed => "malformed",
            Self::Conflict => "conflict",
            Self::Parked => "parked",
            Self::Expired => "expired",
        }
    }

    /// Whether the letter is part of a key's order (and can be redriven).
    pub fn is_in_order(self) -> bool {
        !matches!(self, Self::Malformed | Self::Conflict | Self::Expired)
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    id: String,
    reason: Reason,
    error: String,
    attempts: u32,
    at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    behind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    envelope: Option<StoredEnvelope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw_base64: Option<String>,
}

/// As it is stored: the payload as JSON where it is JSON, else base64.
impl Serialize for DeadLetter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.body().serialize(serializer)
    }
}

impl DeadLetter {
    pub(crate) fn new(entropy: &Entropy, now_ms: u64, reason: Reason, error: &str) -> Self {
        let mut end = error.len().min(ERROR_BYTES_MAX);
        while !error.is_char_boundary(end) {
            end -= 1;
        }
        Self {
            id: entropy.uuid_v7(now_ms).to_string(),
            reason,
            error: error[..end].to_owned(),
            attempts: 0,
            at_ms: now_ms,
            behind: None,
            envelope: None,
            raw: None,
        }
    }

    fn body(&self) -> Body {
        Body {
            id: self.id.clone(),
            reason: self.reason,
            error: self.error.clone(),
            attempts: self.attempts,
            at_ms: self.at_ms,
            behind: self.behind.clone(),
            envelope: self.envelope.as_ref().map(StoredEnvelope::from),
            raw_base64: self.raw.as_ref().map(|raw| STANDARD.encode(raw)),
        }
    }

    pub(crate) fn read(item: &Item) -> Result<Self, StoreError> {
        let body: Body = read(&item.body)?;
        Ok(Self {
            id: body.id,
            reason: body.reason,
            error: body.error,
            attempts: body.attempts,
            at_ms: body.at_ms,
            behind: body.behind,
            envelope: body.envelope.map(StoredEnvelope::into_envelope).transpose()?,
            // Written by us; what can't be read back is shown as nothing rather than hiding the letter.
            raw: body.raw_base64.and_then(|text| STANDARD.decode(text).ok()).map(Bytes::from),
        })
    }

    /// Writes the letter at `at` with the version after `old`'s.
    pub(crate) fn put(&self, at: Key, old: Option<u64>) -> Action {
        let body = serde_json::to_string(&self.body()).expect("a letter is plain data");
        let mut item = Item::new(at, old.map_or(1, |version| version + 1), body);
        item.index = Some(Key::new(keys::DEAD, self.id.clone()));
        Action::Put { item, condition: old.map_or(Condition::Absent, Condition::Version) }
    }
}

/// Stands while a key has dead letters; every letter's coming and going raises its version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(crate) source: String,
    pub(crate) key: String,
    /// The letter the others wait behind.
    pub(crate) blocking: String,
    /// Letters of the key, the blocking one included.
    pub(crate) letters: u64,
    /// Whether they are being handled again.
    pub(crate) redriving: bool,
}

/// A marker as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) lane: String,
    pub(crate) version: u64,
    pub(crate) marker: Marker,
}

impl Standing {
    pub(crate) fn read(lane: &str, item: &Item) -> Result<Self, StoreError> {
        Ok(Self { lane: lane.to_owned(), version: item.version, marker: read(&item.body)? })
    }

    /// Replaces the marker that was read; removes it when no letter is left.
    pub(crate) fn replace(&self, marker: Marker) -> Action {
        if marker.letters == 0 {
            return Action::Delete { key: keys::marker(&self.lane), condition: Condition::Version(self.version) };
        }
        put_marker(&self.lane, &marker, Some(self.version))
    }
}

/// Writes the marker of a lane; `old` is the version it replaces.
pub(crate) fn put_marker(lane: &str, marker: &Marker, old: Option<u64>) -> Action {
    let body = serde_json::to_string(marker).expect("a marker is plain data");
    let mut item = Item::new(keys::marker(lane), old.map_or(1, |version| version + 1), body);
    // Index sort keys take 1,024 bytes; two parts of 900 may not fit.
    let sort = if lane.len() > 1_000 { keys::digest(lane) } else { lane.to_owned() };
    item.index = Some(Key::new(keys::PARKED, sort));
    Action::Put { item, condition: old.map_or(Condition::Absent, Condition::Version) }
}
