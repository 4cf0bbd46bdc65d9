//! The webhook service's items.
//!
//! | partition | sort | index | what |
//! |---|---|---|---|
//! | `event#<Stripe's id>` | `head` | `received` / `<received, ms>#<id>` | an event: what it is and where it stands |
//! | `event#<Stripe's id>` | `body#<nn>` | | its body as it came, in pieces of 288 KiB, base64 |
//! | `quarantine#<SHA-256>` | `head`, `body#<nn>` | `quarantine` / the same | bodies without an id of their own |
//! | `subscription#<tenant>` | our id | | how many facts it has, and its last settled status |
//!
//! Events that must not act are in the index partition `quarantine`, all others in `received`. Events expire; the
//! counts of subscriptions do not, for readers drop facts whose number they have seen.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use contracts::events::subscription::Status;
use contracts::{SubscriptionId, TenantId};
use outbox::{Outbox, Unit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::{Condition, Item, Key, StoreError, StoreErrorKind};

use crate::event::{Created, Event};
use crate::judge::{Reason, State};

/// Raw bytes of a piece: 4/3 of it and a kilobyte of keys stay below the 400 KB of an item.
const PIECE_BYTES: usize = 288 * 1024;

/// The number of the head among the actions of [`Events::add`], which are the first of their unit.
pub(crate) const HEAD: usize = 0;

/// What is known of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Stripe's id; absent where the body has none, or is another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stripe_event_id: Option<String>,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<Created>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) livemode: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) customer: Option<String>,
    pub(crate) received_ms: u64,
    pub(crate) bytes: usize,
    /// Of the body, base64url.
    pub(crate) sha256: String,
    pub(crate) state: State,
    /// Why it must not act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    /// Whose fact it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<TenantId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subscription_id: Option<SubscriptionId>,
}

impl Record {
    /// The record of a body nothing is known of yet.
    pub(crate) fn of_body(body: &[u8], received_ms: u64) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
        Self {
            stripe_event_id: None,
            kind: None,
            created: None,
            api_version: None,
            livemode: None,
            account: None,
            object_id: None,
            object: None,
            customer: None,
            received_ms,
            bytes: body.len(),
            sha256: URL_SAFE_NO_PAD.encode(digest),
            state: State::Kept,
            reason: None,
            detail: None,
            tenant: None,
            subscription_id: None,
        }
    }

    /// The same with what its event says.
    pub(crate) fn with_event(self, event: &Event<'_>) -> Self {
        let about = event.about();
        Self {
            stripe_event_id: Some(event.id.as_str().to_owned()),
            kind: Some(event.kind.as_str().to_owned()),
            created: Some(event.created.clone()),
            api_version: event.api_version.as_ref().map(|version| version.as_str().to_owned()),
            livemode: Some(event.livemode),
            account: event.account().map(|account| account.as_str().to_owned()),
            object_id: about.object_id,
            object: about.object,
            customer: about.customer,
            ..self
        }
    }

    /// The same as one that must not act.
    pub(crate) fn set_aside(self, reason: Reason, detail: impl Into<String>) -> Self {
        Self { state: State::Quarantined, reason: Some(reason), detail: Some(detail.into()), ..self }
    }

    /// Where it lies: under Stripe's id, unless that is not to be trusted or belongs to another body.
    fn partition(&self) -> String {
        match (&self.stripe_event_id, self.reason) {
            (None, _) | (_, Some(Reason::Conflict)) => format!("quarantine#{}", self.sha256),
            (Some(id), _) => format!("event#{id}"),
        }
    }
}

/// What is remembered of a subscription of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// Counts its facts; each fact carries the number it made.
    pub(crate) facts: u64,
    /// The last status that the subscription service settled on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) settled: Option<Settled>,
}

/// A status as the subscription service told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settled {
    pub(crate) status: Status,
    /// The number of the fact that said so.
    pub(crate) sequence: u64,
}

/// A ledger and the version of its item; 0 where none stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoredLedger {
    pub(crate) ledger: Ledger,
    version: u64,
}

/// The webhook service's table.
#[derive(Clone)]
pub(crate) struct Events {
    outbox: Outbox,
    memory_ms: u64,
}

impl Events {
    pub(crate) fn new(outbox: Outbox, memory_ms: u64) -> Self {
        Self { outbox, memory_ms }
    }

    /// The event under this id.
    pub(crate) async fn find(&self, stripe_event_id: &str) -> Result<Option<Record>, StoreError> {
        let key = Key::new(format!("event#{stripe_event_id}"), "head");
        self.outbox.store().get(&key).await?.map(|item| read(&item)).transpose()
    }

    /// An event's body as it came.
    pub(crate) async fn body(&self, record: &Record) -> Result<Vec<u8>, StoreError> {
        let mut body = Vec::with_capacity(record.bytes);
        for number in 0..record.bytes.div_ceil(PIECE_BYTES) {
            let key = piece_key(record, number);
            let missing = || corrupt(&key, "is missing".to_owned());
            let item = self.outbox.store().get(&key).await?.ok_or_else(missing)?;
            let text: String = read(&item)?;
            body.extend(STANDARD.decode(text).map_err(|error| corrupt(&key, error.to_string()))?);
        }
        Ok(body)
    }

    /// Adds an event and its body to an empty unit, on condition that it is new.
    pub(crate) fn add(&self, unit: &mut Unit, record: &Record, body: &Bytes) {
        let expires_at_ms = Some(record.received_ms.saturating_add(self.memory_ms));
        let partition = record.partition();
        let listed = if record.state == State::Quarantined { "quarantine" } else { "received" };
        let name = record.stripe_event_id.as_ref().unwrap_or(&record.sha256);
        let index = Key::new(listed, format!("{:020}#{name}", record.received_ms));
        let head = Item::new(Key::new(partition, "head"), 1, text(record));
        unit.put(Item { index: Some(index), expires_at_ms, ..head }, Condition::Absent);
        for (number, piece) in body.chunks(PIECE_BYTES).enumerate() {
            let item = Item::new(piece_key(record, number), 1, text(&STANDARD.encode(piece)));
            unit.put(Item { expires_at_ms, ..item }, Condition::Any);
        }
    }

    /// What is remembered of a subscription.
    pub(crate) async fn ledger(&self, tenant: &TenantId, id: &SubscriptionId) -> Result<StoredLedger, StoreError> {
        match self.outbox.store().get(&ledger_key(tenant, id)).await? {
            Some(item) => Ok(StoredLedger { ledger: read(&item)?, version: item.version }),
            None => Ok(StoredLedger::default()),
        }
    }

    /// Adds a subscription's new ledger to a unit, on condition that it is still as it was read.
    pub(crate) fn write(unit: &mut Unit, tenant: &TenantId, id: &SubscriptionId, before: &StoredLedger, now: &Ledger) {
        let condition = if before.version == 0 { Condition::Absent } else { Condition::Version(before.version) };
        unit.put(Item::new(ledger_key(tenant, id), before.version + 1, text(now)), condition);
    }

    /// Commits.
    pub(crate) async fn commit(&self, unit: Unit) -> Result<(), StoreError> {
        self.outbox.commit(unit).await
    }
}

fn piece_key(record: &Record, number: usize) -> Key {
    Key::new(record.partition(), format!("body#{number:02}"))
}

fn ledger_key(tenant: &TenantId, id: &SubscriptionId) -> Key {
    Key::new(format!("subscription#{tenant}"), id.as_str())
}

fn text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("records are plain data")
}

fn read<T: DeserializeOwned>(item: &Item) -> Result<T, StoreError> {
    serde_json::from_str(&item.body).map_err(|error| corrupt(&item.key, error.to_string()))
}

fn corrupt(key: &Key, detail: String) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, format!("the item at {key} can't be read: {detail}"))
}
