//! The subscription service's items.
//!
//! | partition | sort | what |
//! |---|---|---|
//! | `sub#<tenant>` | subscription | a [`Record`]: reserved, live or refused. Index: `of#<tenant>#<user>` / subscription |
//! | `op#<tenant>` | `<user>#<hash of the key>` | an Idempotency-Key: hash of what was asked, and what came of it; expires |
//! | `customer#<tenant>` | user | Stripe's customer of a user, or that it is being made |
//! | `stripe-customer#<cus_…>` | `owner` | whose customer that is |
//!
//! Besides, `proof-keys` (see `keys.rs`). A record's item version counts its writes. Every look at Stripe writes the
//! record, changed or not: of two looks that cross, the older one then meets a newer version and is thrown away.

use contracts::requests::subscription::Checkout;
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
    /// The page that was opened, where one was asked for.
    #[serde(default)]
    pub(crate) checkout: Option<Checkout>,
}

/// Stripe's customer of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Customer {
    /// Stripe is asked to make it: everybody asks for the same, under the same key.
    Making {
        email: Option<String>,
        /// Numbers the keys under which Stripe was asked.
        attempt: u32,
        since_ms: u64,
    },
    /// Made.
    Known { stripe_customer_id: String },
}

/// Whose a customer at Stripe is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) tenant: TenantId,
    pub(crate) user: UserId,
}

/// What a key was used for, with its item's version.
#[derive(Clone, Debug)]
pub(crate) struct StoredOperation {
    pub(crate) operation: Operation,
    version: u64,
    expires_at_ms: Option<u64>,
}

/// A customer, with its item's version.
#[derive(Clone, Debug)]
pub(crate) struct StoredCustomer {
    pub(crate) customer: Customer,
    version: u64,
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

    /// A page of a tenant's live subscriptions, or of one user's; those of a user may lag a moment behind.
    pub(crate) async fn list(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        limit: u32,
        after: Option<Cursor>,
    ) -> Result<(Vec<Subscription>, Option<Cursor>), StoreError> {
        let store = self.outbox.store();
        let query = |partition: String| Query { after, ..Query::all(partition, limit) };
        let page = match user {
            Some(user) => store.query_index(&query(format!("of#{tenant}#{user}"))).await?,
            None => store.query(&query(format!("sub#{tenant}"))).await?,
        };
        let mut live = Vec::new();
        for item in &page.items {
            if let Record::Live(subscription) = read(item)? {
                live.push(subscription);
            }
        }
        Ok((live, page.next))
    }

    pub(crate) async fn operation(
        &self,
        tenant: &TenantId,
        user: &UserId,
        key_hash: &str,
    ) -> Result<Option<StoredOperation>, StoreError> {
        let item = self.outbox.store().get(&operation_key(tenant, user, key_hash)).await?;
        item.map(|item| {
            let (version, expires_at_ms) = (item.version, item.expires_at_ms);
            Ok(StoredOperation { operation: read(&item)?, version, expires_at_ms })
        })
        .transpose()
    }

    /// Adds what an Idempotency-Key was used for to `unit`; nobody may have used it.
    pub(crate) fn use_key(
        unit: &mut Unit,
        tenant: &TenantId,
        user: &UserId,
        key_hash: &str,
        operation: &Operation,
        expires_at_ms: u64,
    ) {
        let mut item = Item::new(operation_key(tenant, user, key_hash), 1, write(operation));
        item.expires_at_ms = Some(expires_at_ms);
        unit.put(item, Condition::Absent);
    }

    /// Adds what came of an Idempotency-Key to `unit`.
    pub(crate) fn settle_key(
        unit: &mut Unit,
        tenant: &TenantId,
        user: &UserId,
        key_hash: &str,
        before: &StoredOperation,
        operation: &Operation,
    ) {
        let mut item = Item::new(operation_key(tenant, user, key_hash), before.version + 1, write(operation));
        item.expires_at_ms = before.expires_at_ms;
        unit.put(item, Condition::Version(before.version));
    }

    /// Stripe's customer of a user.
    pub(crate) async fn customer(
        &self,
        tenant: &TenantId,
        user: &UserId,
    ) -> Result<Option<StoredCustomer>, StoreError> {
        let Some(item) = self.outbox.store().get(&customer_key(tenant, user)).await? else { return Ok(None) };
        Ok(Some(StoredCustomer { customer: read(&item)?, version: item.version }))
    }

    /// Whose a customer of Stripe's is.
    pub(crate) async fn owner(&self, stripe_customer_id: &str) -> Result<Option<Owner>, StoreError> {
        let item = self.outbox.store().get(&owner_key(stripe_customer_id)).await?;
        item.map(|item| read(&item)).transpose()
    }

    /// Writes what is known of a user's customer; `Ok(false)` when it is not as it was in `before`.
    pub(crate) async fn put_customer(
        &self,
        owner: &Owner,
        before: Option<&StoredCustomer>,
        customer: &Customer,
    ) -> Result<bool, StoreError> {
        let (version, condition) = match before {
            Some(before) => (before.version + 1, Condition::Version(before.version)),
            None => (1, Condition::Absent),
        };
        let mut unit = Unit::new();
        unit.put(Item::new(customer_key(&owner.tenant, &owner.user), version, write(customer)), condition);
        if let Customer::Known { stripe_customer_id } = customer {
            unit.put(Item::new(owner_key(stripe_customer_id), 1, write(owner)), Condition::Any);
        }
        self.commit(unit).await
    }

    /// Forgets a user's customer; `Ok(false)` when it is not as it was in `before`.
    pub(crate) async fn forget_customer(&self, owner: &Owner, before: &StoredCustomer) -> Result<bool, StoreError> {
        let mut unit = Unit::new();
        unit.delete(customer_key(&owner.tenant, &owner.user), Condition::Version(before.version));
        if let Customer::Known { stripe_customer_id } = &before.customer {
            unit.delete(owner_key(stripe_customer_id), Condition::Any);
        }
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
        Self::use_key(unit, tenant, &reservation.user_id, key_hash, operation, expires_at_ms);
        let key = record_key(tenant, &operation.subscription_id);
        unit.put(Item::new(key, 1, write(&Record::Reserved(reservation))), Condition::Absent);
    }

    /// Reserves what was found at Stripe under a name that nothing stands under here.
    pub(crate) fn reserve_found(&self, unit: &mut Unit, tenant: &TenantId, id: &SubscriptionId, found: Reservation) {
        let item = Item::new(record_key(tenant, id), 1, write(&Record::Reserved(found)));
        unit.put(item, Condition::Absent);
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
        if let Record::Live(subscription) = record {
            item.index = Some(Key::new(format!("of#{tenant}#{}", subscription.user_id), id.as_str()));
        }
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

fn owner_key(stripe_customer_id: &str) -> Key {
    Key::new(format!("stripe-customer#{stripe_customer_id}"), "owner")
}

fn write(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("items are plain data")
}

fn read<T: DeserializeOwned>(item: &Item) -> Result<T, StoreError> {
    serde_json::from_str(&item.body).map_err(|error| {
        StoreError::new(StoreErrorKind::Corrupt, format!("the item at {} can't be read", item.key)).with_source(error)
    })
}
