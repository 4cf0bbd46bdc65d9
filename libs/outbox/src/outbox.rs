use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusError, Envelope};
use bytes::Bytes;
use clock::{Clock, Entropy};
use contracts::EventId;
use store::{Action, Condition, Item, Query, Store, StoreError, StoreErrorKind, limits};
use tokio::sync::{Notify, OnceCell};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::dead::DeadLetters;
use crate::layout::{self, SHARDS_MAX};
use crate::relay::Shard;
use crate::retry::full_jitter;
use crate::stored::StoredEnvelope;
use crate::{Options, Step, Unit, keys};

/// Largest payload of a fact: its dead letter, which adds why it died, must fit an item too.
const DATA_BYTES_MAX: usize = limits::ITEM_BYTES_MAX - 16 * 1024;
/// What [`Outbox::pending`] counts up to.
const PENDING_MAX: u64 = 100_000;

/// A service's outbox: commits units and relays their facts. One per process, cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    pub(crate) core: Arc<Core>,
}

pub(crate) struct Core {
    pub(crate) service: String,
    pub(crate) owner: String,
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) options: Options,
    /// The table's number of shards, once somebody asked.
    layout: OnceCell<u32>,
    /// One per shard, of which there may be as many.
    pub(crate) wakes: Vec<Notify>,
    /// Some key was marked for redriving.
    pub(crate) redrive: Notify,
}

/// Why a relay step failed.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Rows could not be read or deleted.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rows could not be published; they stay in the outbox.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// A unit as actions, before it is committed.
pub(crate) struct Prepared {
    pub(crate) actions: Vec<Action>,
    shards: Vec<u32>,
}

impl Outbox {
    /// The outbox of `service` in its own table. Nothing happens before it is used. Numbers in `options` outside their
    /// limits are moved inside.
    pub fn new(service: &str, store: Store, bus: Bus, clock: Clock, entropy: Entropy, options: Options) -> Self {
        let options = options.bounded();
        let owner = options.owner.clone().unwrap_or_else(|| match store.backend_name() {
            "sqlite" => "local".to_owned(),
            _ => entropy.uuid_v7(clock.now_ms()).to_string(),
        });
        let wakes = (0..SHARDS_MAX).map(|_| Notify::new()).collect();
        let (service, layout, redrive) = (service.to_owned(), OnceCell::new(), Notify::new());
        Self { core: Arc::new(Core { service, owner, store, bus, clock, entropy, options, layout, wakes, redrive }) }
    }

    /// The service's own table.
    pub fn store(&self) -> &Store {
        &self.core.store
    }

    /// Commits the unit's writes and facts in one transaction and wakes the relay. An empty unit is no error.
    ///
    /// # Errors
    /// As [`Store::transact`]. A conflict carries the number of the unit's own action (in the order they were added); a
    /// number beyond them means that a fact of the same aggregate, sequence and kind waits in the outbox already: load
    /// fresh state and decide anew. `Invalid` for facts too large or with too long a key, and for more than 100 writes
    /// and facts together.
    pub async fn commit(&self, unit: Unit) -> Result<(), StoreError> {
        let prepared = self.core.prepare(unit).await?;
        if prepared.actions.is_empty() {
            return Ok(());
        }
        self.core.transact(prepared, Vec::new()).await
    }

    /// Relays until stopped. What is in flight then gets [`Options::drain`] to settle.
    pub async fn run_relay(&self, stop: CancellationToken) {
        let Some(numbers) = self.core.shards_until(&stop).await else { return };
        let mut shards = JoinSet::new();
        for number in 0..numbers {
            let (core, stop) = (Arc::clone(&self.core), stop.clone());
            shards.spawn(async move { Shard::new(core, number).run(&stop).await });
        }
        while let Some(ended) = shards.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a relay shard ended unexpectedly");
            }
        }
    }

    /// Publishes what waits now and says how many rows went, for tests and drains: [`Outbox::run_relay`] does the same
    /// for ever. Shards that another process relays are left to it.
    ///
    /// # Errors
    /// The first trouble met; the other rows were still tried.
    pub async fn relay_once(&self) -> Result<usize, RelayError> {
        let shards = (0..self.core.shards().await?).map(|number| {
            let mut shard = Shard::new(Arc::clone(&self.core), number);
            async move { shard.drain().await }
        });
        let mut published = 0;
        let mut trouble = None;
        for outcome in futures::future::join_all(shards).await {
            match outcome {
                Ok(rows) => published += rows,
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        trouble.map_or(Ok(published), Err)
    }

    /// Rows that wait in the outbox, counted up to 100,000.
    ///
    /// # Errors
    /// The store's.
    pub async fn pending(&self) -> Result<u64, StoreError> {
        let mut rows = 0;
        for shard in 0..self.core.shards().await? {
            let mut query = Query::all(keys::outbox(shard), limits::PAGE_ITEMS_MAX);
            loop {
                let page = self.core.store.query(&query).await?;
                rows += page.items.len() as u64;
                query.after = page.next;
                if rows >= PENDING_MAX || query.after.is_none() {
                    break;
                }
            }
        }
        Ok(rows.min(PENDING_MAX))
    }

    /// The events this service could not handle.
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new(Arc::clone(&self.core))
    }
}

impl Core {
    pub(crate) fn step(&self, step: Step) {
        if let Some(hook) = &self.options.on_step {
            hook(step);
        }
    }

    /// The table's number of shards.
    pub(crate) async fn shards(&self) -> Result<u32, StoreError> {
        let find = || {
            let wanted = self.options.shards.unwrap_or_else(|| layout::default_shards(&self.store));
            layout::shards(&self.store, wanted, &self.service)
        };
        self.layout.get_or_try_init(find).await.copied()
    }

    /// The same, waiting until the store says it; `None` when stopped before.
    async fn shards_until(&self, stop: &CancellationToken) -> Option<u32> {
        for failures in 1.. {
            match self.shards().await {
                Ok(shards) => return Some(shards),
                Err(error) => tracing::warn!(service = self.service, %error, "the outbox can't be read; tried again"),
            }
            let (initial, max) = self.options.retry;
            let wait = Duration::from_millis(full_jitter(initial, max, failures, &self.entropy));
            tokio::select! {
                () = stop.cancelled() => return None,
                () = self.clock.sleep(wait) => {}
            }
        }
        None
    }

    /// The actions of a unit: its own, in their order, and behind them its facts.
    pub(crate) async fn prepare(&self, unit: Unit) -> Result<Prepared, StoreError> {
        let Unit { mut actions, facts } = unit;
        if facts.is_empty() {
            return Ok(Prepared { actions, shards: Vec::new() });
        }
        let of = self.shards().await?;
        let mut shards = Vec::new();
        let now_ms = self.clock.now_ms();
        for fact in facts {
            let key = format!("{}/{}", fact.tenant, fact.aggregate);
            let row = keys::row(of, &key, fact.sequence, fact.kind);
            if keys::key_of_row(&row.sort).len() > keys::KEY_BYTES_MAX {
                return Err(invalid(format!(
                    "{}.key: longer than {} bytes; shorten it",
                    fact.kind,
                    keys::KEY_BYTES_MAX
                )));
            }
            if fact.data.len() > DATA_BYTES_MAX {
                return Err(invalid(format!(
                    "{}.data: {} bytes; a fact takes {DATA_BYTES_MAX}; keep large content elsewhere and say where",
                    fact.kind,
                    fact.data.len()
                )));
            }
            let envelope = Envelope {
                id: fact.id.unwrap_or_else(|| self.event_id(now_ms)),
                source: format!("/synapse/{}", self.service),
                kind: fact.kind.to_owned(),
                tenant: fact.tenant,
                key,
                sequence: fact.sequence,
                time_ms: now_ms,
                trail: fact.trail,
                expires_at_ms: None,
                data: Bytes::from(fact.data),
            };
            let shard = keys::shard(&envelope.key, of);
            if !shards.contains(&shard) {
                shards.push(shard);
            }
            let item = Item::new(row, fact.sequence, StoredEnvelope::from(&envelope).to_json());
            actions.push(Action::Put { item, condition: Condition::Absent });
        }
        Ok(Prepared { actions, shards })
    }

    /// Commits the unit with `extra` actions behind its own.
    pub(crate) async fn transact(&self, prepared: Prepared, extra: Vec<Action>) -> Result<(), StoreError> {
        let Prepared { mut actions, shards } = prepared;
        actions.extend(extra);
        self.step(Step::BeforeCommit);
        self.store.transact(actions).await?;
        self.step(Step::AfterCommit);
        for shard in shards {
            if let Some(wake) = self.wakes.get(shard as usize) {
                wake.notify_one();
            }
        }
        Ok(())
    }

    fn event_id(&self, now_ms: u64) -> EventId {
        self.entropy.uuid_v7(now_ms).to_string().parse().expect("a UUID is a valid id")
    }
}

fn invalid(detail: String) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, detail)
}
