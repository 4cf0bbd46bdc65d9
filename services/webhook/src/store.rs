//! The webhook service's items.
//!
//! | partition | sort | index | what |
//! |---|---|---|---|
//! | `event#<Stripe's id>` | `head` | `received` / `<received, ms>#<id>` | an event: what it is, where it stands, its facts |
//! | `event#<Stripe's id>` | `body#<nn>` | | its body as it came, in pieces of 288 KiB, base64 |
//! | `event#<Stripe's id>` | `by#type`, `by#customer`, `by#subscription`, `by#state`, `by#duplicate` | `type#…`, `customer#…`, `subscription#…`, `state#…` / the same | where else it is listed |
//! | `quarantine#<SHA-256>` | the same | the same | bodies without an id of their own, and conflicts |
//! | `<kind>#<tenant>` | id | | how many facts a subscription (customer, catalogue object) has, its last settled status |
//! | `stripe#<Stripe's id>` | `owner` | | whose a Stripe subscription or customer is, as earlier events told |
//!
//! Events expire; the counts and owners do not, for readers drop facts whose number they have seen.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use contracts::events::subscription::Status;
use contracts::{SubscriptionId, TenantId};
use outbox::{Outbox, Unit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::{Condition, Item, Key, StoreError, StoreErrorKind};

use crate::judge::{State, Whose};
use crate::record::Record;

/// Raw bytes of a piece: 4/3 of it and a kilobyte of keys stay below the 400 KB of an item.
const PIECE_BYTES: usize = 288 * 1024;

/// The number of the head among the actions of [`Events::add`], which are the first of their unit.
pub(crate) const HEAD: usize = 0;

/// What is remembered of a subscription of ours, or of a customer or catalogue object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// Counts its facts; each fact carries the number it made.
    pub(crate) facts: u64,
    /// The last status that the subscription service settled on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) settled: Option<Settled>,
    /// Stripe's ids that were found to be its owner's.
    #[serde(default, skip_serializing_if = "Links::is_empty")]
    pub(crate) links: Links,
}

/// Stripe's ids of the objects that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Links {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subscription: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) customer: Option<String>,
}

impl Links {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Those of these that are not known yet.
    pub(crate) fn new_in(&self, news: &Self) -> Vec<String> {
        let pairs = [(&news.subscription, &self.subscription), (&news.customer, &self.customer)];
        pairs.into_iter().filter(|(new, known)| new != known).filter_map(|(new, _)| new.clone()).collect()
    }

    /// These over the known ones.
    pub(crate) fn with(self, news: &Self) -> Self {
        let pick = |new: &Option<String>, known| new.clone().or(known);
        Self {
            subscription: pick(&news.subscription, self.subscription),
            customer: pick(&news.customer, self.customer),
        }
    }
}

/// A status as the subscription service told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settled {
    pub(crate) status: Status,
    /// The number of the fact that said so.
    pub(crate) sequence: u64,
}

/// Whose a Stripe object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) tenant: TenantId,
    /// Of a subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subscription_id: Option<SubscriptionId>,
}

impl Owner {
    /// The owner of a Stripe object that `whose` news is about. Customers may have several subscriptions.
    pub(crate) fn of(whose: &Whose, stripe_id: &str) -> Self {
        let subscription_id = whose.subscription().filter(|_| stripe_id.starts_with("sub_")).cloned();
        Self { tenant: whose.tenant().clone(), subscription_id }
    }
}

/// A ledger and the version of its item; 0 where none stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoredLedger {
    pub(crate) ledger: Ledger,
    version: u64,
}

/// An event as it lies in the store.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) record: Record,
    /// How often it came again.
    pub(crate) repeats: u64,
    version: u64,
}

/// The webhook service's table.
#[derive(Clone)]
pub(crate) struct Events {
    pub(crate) outbox: Outbox,
    memory_ms: u64,
}

impl Events {
    pub(crate) fn new(outbox: Outbox, memory_ms: u64) -> Self {
        Self { outbox, memory_ms }
    }

    /// The event under this id of Stripe's.
    pub(crate) async fn find(&self, stripe_event_id: &str) -> Result<Option<Stored>, StoreError> {
        self.head(format!("event#{stripe_event_id}")).await
    }

    /// The event that operators call so: by Stripe's id, or by the digest of its body.
    pub(crate) async fn named(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        match self.find(name).await? {
            Some(stored) => Ok(Some(stored)),
            None => self.head(format!("quarantine#{name}")).await,
        }
    }

    /// The event that lies in this partition.
    pub(crate) async fn head(&self, partition: String) -> Result<Option<Stored>, StoreError> {
        self.outbox.store().get(&Key::new(partition, "head")).await?.as_ref().map(stored).transpose()
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
        let expires_at_ms = self.expiry(record);
        unit.put(self.head_item(record, 1), Condition::Absent);
        for (number, piece) in body.chunks(PIECE_BYTES).enumerate() {
            let item = Item::new(piece_key(record, number), 1, text(&STANDARD.encode(piece)));
            unit.put(Item { expires_at_ms, ..item }, Condition::Any);
        }
        let named =
            [("type", &record.kind), ("customer", &record.customer), ("subscription", &record.stripe_subscription_id)];
        for (list, name) in named {
            if let Some(name) = name {
                unit.put(self.pointer(record, list, &format!("{list}#{name}")), Condition::Any);
            }
        }
        if matches!(record.state, State::Quarantined | State::Conflict) {
            unit.put(self.pointer(record, "state", &format!("state#{}", record.state.name())), Condition::Any);
        }
    }

    /// Writes an event anew where it stands as it was read.
    pub(crate) fn rewrite(&self, unit: &mut Unit, before: &Stored, record: &Record) {
        let repeats = i64::try_from(before.repeats).unwrap_or(i64::MAX);
        let head = Item { counter: repeats, ..self.head_item(record, before.version + 1) };
        unit.put(head, Condition::Version(before.version));
        if before.record.state != record.state {
            unit.delete(Key::new(record.partition(), "by#state"), Condition::Any);
        }
    }

    /// Counts that an event came again.
    pub(crate) async fn note_repeat(&self, record: &Record) -> Result<(), StoreError> {
        let mut unit = Unit::new();
        unit.add(Key::new(record.partition(), "head"), 1);
        unit.put(self.pointer(record, "duplicate", "state#duplicate"), Condition::Any);
        self.commit(unit).await
    }

    fn expiry(&self, record: &Record) -> Option<u64> {
        Some(record.received_ms.saturating_add(self.memory_ms))
    }

    fn head_item(&self, record: &Record, version: u64) -> Item {
        let head = Item::new(Key::new(record.partition(), "head"), version, text(record));
        Item { index: Some(Key::new("received", place(record))), expires_at_ms: self.expiry(record), ..head }
    }

    fn pointer(&self, record: &Record, list: &str, index: &str) -> Item {
        let item = Item::new(Key::new(record.partition(), format!("by#{list}")), 1, "{}");
        Item { index: Some(Key::new(index, place(record))), expires_at_ms: self.expiry(record), ..item }
    }

    /// What is remembered of an aggregate (`subscription/s-1`) of a tenant.
    pub(crate) async fn ledger(&self, tenant: &TenantId, aggregate: &str) -> Result<StoredLedger, StoreError> {
        match self.outbox.store().get(&ledger_key(tenant, aggregate)).await? {
            Some(item) => Ok(StoredLedger { ledger: read(&item)?, version: item.version }),
            None => Ok(StoredLedger::default()),
        }
    }

    /// Adds an aggregate's new ledger to a unit, on condition that it is still as it was read.
    pub(crate) fn write(unit: &mut Unit, tenant: &TenantId, aggregate: &str, before: &StoredLedger, now: &Ledger) {
        let condition = if before.version == 0 { Condition::Absent } else { Condition::Version(before.version) };
        unit.put(Item::new(ledger_key(tenant, aggregate), before.version + 1, text(now)), condition);
    }

    /// Whose this Stripe object is, where an earlier event told.
    pub(crate) async fn owner(&self, stripe_id: &str) -> Result<Option<Owner>, StoreError> {
        self.outbox.store().get(&owner_key(stripe_id)).await?.map(|item| read(&item)).transpose()
    }

    /// Adds to a unit whose a Stripe object is, on condition that nobody's is known.
    pub(crate) fn own(unit: &mut Unit, stripe_id: &str, owner: &Owner) {
        unit.put(Item::new(owner_key(stripe_id), 1, text(owner)), Condition::Absent);
    }

    /// Commits.
    pub(crate) async fn commit(&self, unit: Unit) -> Result<(), StoreError> {
        self.outbox.commit(unit).await
    }
}

/// An event's place in every list: by the time it came.
fn place(record: &Record) -> String {
    format!("{:020}#{}", record.received_ms, record.name())
}

/// A head as an event.
pub(crate) fn stored(item: &Item) -> Result<Stored, StoreError> {
    let repeats = u64::try_from(item.counter).unwrap_or(0);
    Ok(Stored { record: read(item)?, repeats, version: item.version })
}

fn piece_key(record: &Record, number: usize) -> Key {
    Key::new(record.partition(), format!("body#{number:02}"))
}

fn ledger_key(tenant: &TenantId, aggregate: &str) -> Key {
    let (kind, id) = aggregate.split_once('/').unwrap_or(("aggregate", aggregate));
    Key::new(format!("{kind}#{tenant}"), id)
}

fn owner_key(stripe_id: &str) -> Key {
    Key::new(format!("stripe#{stripe_id}"), "owner")
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
