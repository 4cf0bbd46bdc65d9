//! Items, conditions and transactions on SQLite or DynamoDB.
//!
//! A [`Store`] is one service's table. It knows keys, versions, expiry and JSON text, and no product words: each
//! service's own `store.rs` gives the items their meaning. Both backends enforce DynamoDB's [`limits`], so that what
//! works on one machine works on many.

mod cursor;
mod dynamo;
mod error;
mod item;
pub mod limits;
mod sqlite;
mod store;

pub use dynamo::{DynamoCredentials, DynamoOptions};
pub use error::{StoreError, StoreErrorKind};
pub use item::{Action, Condition, Cursor, Item, Key, Page, Query, Range};
pub use sqlite::SqliteOptions;
pub use store::Store;

/// What a backend must do. Low on purpose: three reads and one write. [`Store`] has checked the [`limits`] before it
/// calls any of these.
#[async_trait::async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The kind of database, as OpenTelemetry's `db.system.name` spells it.
    fn system(&self) -> &'static str;
    /// The item at `key`, strongly consistent; `None` where none stands or its time is over.
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError>;
    /// A page of a partition, strongly consistent.
    async fn query(&self, query: &Query) -> Result<Page, StoreError>;
    /// A page of the secondary index, eventually consistent: re-read by key before deciding on it.
    async fn query_index(&self, query: &Query) -> Result<Page, StoreError>;
    /// Does all the actions or none of them. At most 100, each key once, 4 MB together.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`] with the first action whose condition did not hold.
    async fn transact(&self, actions: Vec<Action>) -> Result<(), StoreError>;
    /// The same, but a power cut soon after may undo it. A backend without such a thing does the durable one.
    ///
    /// # Errors
    /// As [`Backend::transact`].
    async fn transact_unsynced(&self, actions: Vec<Action>) -> Result<(), StoreError> {
        self.transact(actions).await
    }
    /// Removes up to `limit` items whose time is over and says how many went. A backend whose database does this by
    /// itself removes none.
    async fn sweep_expired(&self, _limit: u32) -> Result<u64, StoreError> {
        Ok(0)
    }
}
