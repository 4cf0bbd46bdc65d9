use std::sync::Arc;

use clock::Clock;
use tracing::Instrument;

use crate::dynamo::{Dynamo, DynamoOptions};
use crate::sqlite::{Sqlite, SqliteOptions};
use crate::{Action, Backend, Condition, Item, Key, Page, Query, StoreError, limits};

/// One service's table. Cheap to clone.
///
/// Every call is checked against the [`limits`] first, measured (histogram `store_operation_duration_seconds` with the
/// labels `system`, `operation` and `outcome`) and traced (a debug span with OpenTelemetry's database attributes).
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
    clock: Clock,
    name: Arc<str>,
}

impl Store {
    /// A store in one SQLite file; makes the file and its folder where they are missing.
    ///
    /// # Errors
    /// `Invalid` for options out of range, a file of another program or of a newer version; `Unavailable`, `Full` or
    /// `Corrupt` as the file system has it.
    pub fn sqlite(options: SqliteOptions, clock: Clock) -> Result<Self, StoreError> {
        let name = format!("sqlite {}", options.path.display());
        Ok(Self::on(Arc::new(Sqlite::open(options, clock.clone())?), name, clock))
    }

    /// A store in one DynamoDB table. Looks the table up and refuses one of another shape.
    ///
    /// # Errors
    /// `Invalid` for options out of range or a table of another shape; `Unavailable` where the endpoint, the
    /// credentials or the table are missing.
    pub async fn dynamo(options: DynamoOptions, clock: Clock) -> Result<Self, StoreError> {
        let name = format!("dynamodb {}", options.table);
        Ok(Self::on(Arc::new(Dynamo::connect(options, clock.clone()).await?), name, clock))
    }

    /// A store on any backend. `name` appears in logs.
    pub fn on(backend: Arc<dyn Backend>, name: impl Into<Arc<str>>, clock: Clock) -> Self {
        Self { backend, clock, name: name.into() }
    }

    /// Which table this is, for logs: the kind of database and the file or table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind of database: `sqlite` or `aws.dynamodb`.
    pub fn backend_name(&self) -> &'static str {
        self.backend.system()
    }

    /// The item at `key`, strongly consistent; `None` where none stands or its time is over.
    ///
    /// # Errors
    /// `Invalid` for a key outside the limits, else the backend's.
    pub async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        limits::check_key(&"get.key", key)?;
        self.observed("get", 1, self.backend.get(key)).await
    }

    /// A page of one partition, strongly consistent. It may hold fewer items than asked for (1 MB end a page) while
    /// [`Page::next`] says that more may follow.
    ///
    /// # Errors
    /// `Invalid` for a partition, range, limit or cursor outside the limits, else the backend's.
    pub async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        limits::check_query(query)?;
        self.observed("query", 1, self.backend.query(query)).await
    }

    /// A page of the secondary index ([`Item::index`]), eventually consistent: re-read by key before deciding on it.
    /// Items of one index key come in no promised order.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub async fn query_index(&self, query: &Query) -> Result<Page, StoreError> {
        limits::check_query(query)?;
        self.observed("query_index", 1, self.backend.query_index(query)).await
    }

    /// Does all the actions or none of them: 1 to 100, each key once, 4 MB together. Returns when it is durable. A
    /// caller that stops waiting does not stop the write.
    ///
    /// # Errors
    /// [`crate::StoreErrorKind::Conflict`] with the first action whose condition did not hold; `Invalid` for actions
    /// outside the limits; else the backend's.
    pub async fn transact(&self, actions: Vec<Action>) -> Result<(), StoreError> {
        limits::check_transaction(&actions)?;
        self.observed("transact", actions.len(), self.backend.transact(actions)).await
    }

    /// As [`Store::transact`], except that a power cut or a crash of the operating system soon after may undo it (all of
    /// it; a crash of this process can't, and any later durable write makes it durable too). For writes that are made
    /// again when they are found missing: on SQLite it waits for no disk.
    ///
    /// # Errors
    /// As [`Store::transact`].
    pub async fn transact_unsynced(&self, actions: Vec<Action>) -> Result<(), StoreError> {
        limits::check_transaction(&actions)?;
        self.observed("transact", actions.len(), self.backend.transact_unsynced(actions)).await
    }

    /// [`Store::transact`] with one [`Action::Put`].
    ///
    /// # Errors
    /// As [`Store::transact`].
    pub async fn put(&self, item: Item, condition: Condition) -> Result<(), StoreError> {
        self.transact(vec![Action::Put { item, condition }]).await
    }

    /// [`Store::transact`] with one [`Action::Delete`].
    ///
    /// # Errors
    /// As [`Store::transact`].
    pub async fn delete(&self, key: Key, condition: Condition) -> Result<(), StoreError> {
        self.transact(vec![Action::Delete { key, condition }]).await
    }

    /// [`Store::transact`] with one [`Action::Add`].
    ///
    /// # Errors
    /// As [`Store::transact`]; `Invalid` when the counter would leave the range of 64 bits.
    pub async fn add(&self, key: Key, delta: i64, condition: Condition) -> Result<(), StoreError> {
        self.transact(vec![Action::Add { key, delta, condition }]).await
    }

    /// Removes up to `limit` items whose time is over; says how many went. SQLite's writer also does this by itself
    /// while it is idle, and DynamoDB removes them without being asked (0 here).
    ///
    /// # Errors
    /// The backend's.
    pub async fn sweep_expired(&self, limit: u32) -> Result<u64, StoreError> {
        self.observed("sweep_expired", 1, self.backend.sweep_expired(limit)).await
    }

    async fn observed<T>(
        &self,
        operation: &'static str,
        batch: usize,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let system = self.backend.system();
        let span = tracing::debug_span!(
            "store",
            otel.name = operation,
            otel.kind = "client",
            db.system.name = system,
            db.operation.name = operation,
            db.operation.batch.size = batch,
            db.collection.name = &*self.name,
            error.type = tracing::field::Empty,
        );
        let started = self.clock.monotonic();
        let result = work.instrument(span.clone()).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(error) => error.kind().name(),
        };
        if result.is_err() {
            span.record("error.type", outcome);
        }
        let took = self.clock.monotonic().saturating_sub(started);
        metrics::histogram!("store_operation_duration_seconds",
            "system" => system, "operation" => operation, "outcome" => outcome)
        .record(took);
        result
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("name", &self.name).finish_non_exhaustive()
    }
}
