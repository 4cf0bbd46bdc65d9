//! The subscription service's items.
//!
//! | partition | sort | what |
//! |---|---|---|
//! | `sub#<tenant>` | subscription | a [`Record`]: reserved, live or refused |
//! | `op#<tenant>` | `<user>#<hash of the key>` | an Idempotency-Key: hash of what was asked, and the subscription; expires |
//! | `customer#<tenant>` | user | Stripe's customer of a user |
//!
//! Besides, `proof-keys` (see `keys.rs`). A record's item version counts its writes. Every look at Stripe writes the
//! record, changed or not: of two looks that cross, the older one then meets a newer version and is thrown away.

use contracts::{SubscriptionId, TenantId, UserId};
use outbox::{Outbox, Unit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::{Condition, Cursor, Item, Key, Query, StoreError, StoreErrorKind};

use crate::subscription::{Reservation, Subscription};

/// What stands under a subscription's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Record {
    /// Asked for; Stripe may or may not have made it.
    Reserved(Reservation),
    /// At Stripe.
    Live(Subscription),
    /// The bank said no; the same Idempotency-Key gets the same answer.
    Refused {
        /// What the client was told.
        message: String,
    },
}

/// A record and the version of its item.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) record: Record,
    version: u64,
}

/// What an Idempotency-Key was used for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Operation {
    /// Hash of what was asked.
    pub(crate) hash: String,
    pub(crate) subscription_id: SubscriptionId,
}

#[derive(Serialize, Deserialize)]
struct Customer {
    stripe_customer_id: String,
}

/// The service's table.
#[derive(Clone)]
pub(crate) struct Records {
    outbox: Outbox,
}

impl Records {
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self { outbox }
    }

    pub(crate) async fn find(&self, tenant: &TenantId, id: &SubscriptionId) -> Result<Option<Stored>, StoreError> {
        let Some(item) = self.outbox.store().get(&record_key(tenant, id)).await? else { return Ok(None) };
        Ok(Some(Stored { record: read(&item)?, version: item.version }))
    }

    /// The subscription, if it is live.
    pub(crate) async fn find_live(
        &self,
        tenant: &TenantId,
        id: &SubscriptionId,
    ) -> Result<Option<(Subscription, Stored)>, StoreError> {
        Ok(match self.find(tenant, id).await? {
            Some(stored) => match &stored.record {
                Record::Live(subscription) => Some((subscription.clone(), stored)),
                Record::Reserved(_) | Record::Refused { .. } => None,
            },
            None => None,
        })
    }

    pub(crate) async fn operation(
        &self,
        tenant: &TenantId,
        user: &UserId,
        key_hash: &str,
    ) -> Result<Option<Operation>, StoreError> {
        let item = self.outbox.store().get(&operation_key(tenant, user, key_hash)).await?;
        item.map(|item| read(&item)).transpose()
    }

    /// Stripe's customer of a user.
    pub(crate) async fn customer(&self, tenant: &TenantId, user: &UserId) -> Result<Option<String>, StoreError> {
        let Some(item) = self.outbox.store().get(&customer_key(tenant, user)).await? else { return Ok(None) };
        Ok(Some(read::<Customer>(&item)?.stripe_customer_id))
    }

    /// Remembers a user's customer; `Ok(false)` when another is remembered already.
    pub(crate) async fn remember_customer(
        &self,
        tenant: &TenantId,
        user: &UserId,
        stripe_customer_id: &str,
    ) -> Result<bool, StoreError> {
        let body = Customer { stripe_customer_id: stripe_customer_id.to_owned() };
        let mut unit = Unit::new();
        unit.put(Item::new(customer_key(tenant, user), 1, write(&body)), Condition::Absent);
        self.commit(unit).await
    }

    /// Adds an Idempotency-Key and what it reserves to `unit`.
    pub(crate) fn reserve(
        unit: &mut Unit,
        tenant: &TenantId,
        key_hash: &str,
        operation: &Operation,
        reservation: Reservation,
        expires_at_ms: u64,
    ) {
        let mut item = Item::new(operation_key(tenant, &reservation.user_id, key_hash), 1, write(operation));
        item.expires_at_ms = Some(expires_at_ms);
        unit.put(item, Condition::Absent);
        let key = record_key(tenant, &operation.subscription_id);
        unit.put(Item::new(key, 1, write(&Record::Reserved(reservation))), Condition::Absent);
    }

    /// Reserves what was found at Stripe under a name that nothing stands under here.
    pub(crate) fn reserve_found(&self, unit: &mut Unit, tenant: &TenantId, id: &SubscriptionId, found: Reservation) {
        let item = Item::new(record_key(tenant, id), 1, write(&Record::Reserved(found)));
        unit.put(item, Condition::Absent);
    }

    /// A page of a tenant's records by id, whatever their state.
    pub(crate) async fn page(
        &self,
        tenant: &TenantId,
        limit: u32,
        after: Option<Cursor>,
    ) -> Result<(Vec<Record>, Option<Cursor>), StoreError> {
        let query = Query { after, ..Query::all(format!("sub#{tenant}"), limit) };
        let page = self.outbox.store().query(&query).await?;
        Ok((page.items.iter().map(read).collect::<Result<_, _>>()?, page.next))
    }

    /// Adds a record's new state to `unit`. `expires_at_ms` is for refusals.
    pub(crate) fn update(
        unit: &mut Unit,
        tenant: &TenantId,
        id: &SubscriptionId,
        before: &Stored,
        record: &Record,
        expires_at_ms: Option<u64>,
    ) {
        let mut item = Item::new(record_key(tenant, id), before.version + 1, write(record));
        item.expires_at_ms = expires_at_ms;
        unit.put(item, Condition::Version(before.version));
    }

    /// Commits; `Ok(false)` when something was changed meanwhile and the command has to decide anew.
    pub(crate) async fn commit(&self, unit: Unit) -> Result<bool, StoreError> {
        match self.outbox.commit(unit).await {
            Ok(()) => Ok(true),
            Err(error) if error.conflict().is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn record_key(tenant: &TenantId, id: &SubscriptionId) -> Key {
    Key::new(format!("sub#{tenant}"), id.as_str())
}

fn operation_key(tenant: &TenantId, user: &UserId, key_hash: &str) -> Key {
    Key::new(format!("op#{tenant}"), format!("{user}#{key_hash}"))
}

fn customer_key(tenant: &TenantId, user: &UserId) -> Key {
    Key::new(format!("customer#{tenant}"), user.as_str())
}

fn write(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("items are plain data")
}

fn read<T: DeserializeOwned>(item: &Item) -> Result<T, StoreError> {
    serde_json::from_str(&item.body).map_err(|error| {
        StoreError::new(StoreErrorKind::Corrupt, format!("the item at {} can't be read", item.key)).with_source(error)
    })
}
