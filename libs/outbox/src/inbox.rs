//! The inbox: one record per event and service, written in the transaction of the event's effects.

use bus::Envelope;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{Action, Condition, Item, Key, Store, StoreError};

use crate::keys;
use crate::stored::read;

/// What is known of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// SHA-256 of kind and payload, hexadecimal.
    pub(crate) hash: String,
    pub(crate) state: State,
    /// Tries that failed.
    #[serde(default)]
    pub(crate) attempts: u32,
    /// Who holds the lease, while claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until_ms: Option<u64>,
    /// What handling came to, or why it failed the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Its effects are committed.
    Done,
    /// A try failed; there will be another.
    Failed,
    /// A worker is at it and may be calling others.
    Claimed,
    /// It is a dead letter.
    Dead,
    /// It waits behind a dead letter of its key.
    Parked,
    /// Somebody decided that it is not to be handled.
    Dropped,
}

impl State {
    /// Whether a delivery of the event has nothing left to do.
    pub(crate) fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Dead | Self::Parked | Self::Dropped)
    }
}

/// An event's record with its place and its fencing token: the item's version, which each writer raises.
pub(crate) struct Entry {
    pub(crate) at: Key,
    pub(crate) hash: String,
    pub(crate) token: Option<u64>,
    pub(crate) record: Option<Record>,
}

impl Entry {
    /// The place of an event's record, of which nothing is known yet.
    pub(crate) fn new(service: &str, envelope: &Envelope) -> Self {
        Self { at: keys::inbox(service, envelope), hash: payload_hash(envelope), token: None, record: None }
    }

    pub(crate) async fn load(&mut self, store: &Store) -> Result<(), StoreError> {
        let item = store.get(&self.at).await?;
        self.token = item.as_ref().map(|item| item.version);
        self.record = item.map(|item| read(&item.body)).transpose()?;
        Ok(())
    }

    /// Whether the same id came with another payload before.
    pub(crate) fn is_conflict(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.hash != self.hash)
    }

    /// Tries that failed; a dead letter that is redriven starts anew.
    pub(crate) fn attempts(&self) -> u32 {
        self.record.as_ref().filter(|record| !record.state.is_settled()).map_or(0, |record| record.attempts)
    }

    /// A record in `state` that may replace this one; the fields of a lease are empty.
    pub(crate) fn record(&self, state: State, attempts: u32, result: impl Into<Option<String>>) -> Record {
        Record { hash: self.hash.clone(), state, attempts, owner: None, until_ms: None, result: result.into() }
    }

    /// Writes `record` unless another worker wrote since this entry was loaded.
    pub(crate) fn put(&self, record: &Record, expires_at_ms: u64) -> Action {
        self.put_as(record, expires_at_ms, self.token.map_or(1, |token| token + 1))
    }

    /// The same without raising the token: its holder says more about the same claim.
    pub(crate) fn renew(&self, record: &Record, expires_at_ms: u64) -> Action {
        self.put_as(record, expires_at_ms, self.token.unwrap_or(1))
    }

    fn put_as(&self, record: &Record, expires_at_ms: u64, version: u64) -> Action {
        let body = serde_json::to_string(record).expect("a record is plain data");
        let mut item = Item::new(self.at.clone(), version, body);
        item.expires_at_ms = Some(expires_at_ms);
        Action::Put { item, condition: self.token.map_or(Condition::Absent, Condition::Version) }
    }
}

pub(crate) fn payload_hash(envelope: &Envelope) -> String {
    let mut hash = Sha256::new();
    hash.update(&envelope.kind);
    hash.update([0]);
    hash.update(&envelope.data);
    keys::hex(&hash.finalize())
}
