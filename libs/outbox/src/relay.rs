//! The relay of one shard: reads rows in order, publishes them, deletes what is safe with the broker.
//!
//! - A key whose rows are in flight, not yet deleted or waiting after a failure is passed over whole and read again
//!   from its first row later, so its rows never overtake each other.
//! - Reading, publishing and deleting go on at the same time; a slow key holds back only itself.
//! - A delete checks the lease's fencing token. One that lost the lease deletes nothing, and what it published twice
//!   the inboxes drop.

mod delete;
mod flight;
mod pause;
mod publishing;
mod scan;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bus::BusError;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use store::{Item, Key, Page, StoreError};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::lease::{Hold, Lease, millis};
use crate::outbox::{Core, RelayError};
use crate::stored::{StoredEnvelope, read};
use crate::{Step, keys};
use flight::{Flight, Row};
use pause::Rest;
use scan::Scan;

type RowKey = Arc<str>;
type Sent = (RowKey, usize, Result<(), BusError>);
type Deleted = (Vec<Row>, Result<(), StoreError>);

pub(crate) struct Shard {
    core: Arc<Core>,
    number: u32,
    lease: Arc<Mutex<Lease>>,
    lease_key: Key,
    token: u64,
    /// A delete found the lease in other hands.
    lost: bool,
    scan: Scan,
    /// At most one.
    reading: FuturesUnordered<BoxFuture<'static, Result<Read, StoreError>>>,
    flights: HashMap<RowKey, Flight>,
    /// Keys that landed while a read was under way: it may bring rows of theirs that are gone. At most the window.
    landed: HashSet<RowKey>,
    /// Rows in `flights` that are not deleted yet.
    unsettled: usize,
    sending: FuturesUnordered<BoxFuture<'static, Sent>>,
    settled: Vec<Row>,
    deleting: FuturesUnordered<BoxFuture<'static, Deleted>>,
    deletes_max: usize,
    /// Rows of one key in the air, at most.
    per_key_max: usize,
    /// Keys that wait after a failure.
    rests: HashMap<RowKey, Rest>,
    /// The whole shard waits after a failure, or for another's lease.
    pause: Rest,
    next_sweep_ms: u64,
    published: usize,
    trouble: Option<RelayError>,
}

enum Read {
    Page(u64, Page),
    Foreign(Duration),
}

impl Shard {
    pub(crate) fn new(core: Arc<Core>, number: u32) -> Self {
        let lease_key = keys::lease(number);
        let lease = Lease::new(
            core.store.clone(),
            core.clock.clone(),
            lease_key.clone(),
            core.owner.clone(),
            core.options.lease,
        );
        // SQLite joins deletes into one durable commit; elsewhere deletes that check one lease item contend for it.
        let deletes_max = if core.store.backend_name() == "sqlite" { 8 } else { 1 };
        // A broker that takes batches whole confirms one key like another: none of them can be the slow one.
        let share = if core.bus.capabilities().atomic_batch { core.options.in_flight / 4 } else { 0 };
        let per_key_max = core.options.in_flight_per_key.max(share);
        Self {
            number,
            lease: Arc::new(Mutex::new(lease)),
            lease_key,
            token: 0,
            lost: false,
            scan: Scan::new(),
            reading: FuturesUnordered::new(),
            flights: HashMap::new(),
            landed: HashSet::new(),
            unsettled: 0,
            sending: FuturesUnordered::new(),
            settled: Vec::new(),
            deleting: FuturesUnordered::new(),
            deletes_max,
            per_key_max,
            rests: HashMap::new(),
            pause: Rest::default(),
            next_sweep_ms: core.clock.now_ms().saturating_add(millis(core.options.sweep_interval)),
            published: 0,
            trouble: None,
            core,
        }
    }

    /// Until stopped; then what was committed and is in flight may settle for a while, and the lease is given back.
    pub(crate) async fn run(mut self, stop: &CancellationToken) {
        let core = Arc::clone(&self.core);
        let wake = &core.wakes[self.number as usize];
        while !stop.is_cancelled() {
            self.start_deletes();
            self.start_read();
            let pause = self.time_to_next();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.progress() => {}
                () = wake.notified() => self.scan.again(),
                () = core.clock.sleep(pause) => self.on_time(),
            }
            self.trouble = None;
        }
        // What was committed a moment ago still goes out, but not to a bus in this process, whose readers have ended.
        self.scan.again();
        let settle = self.settle(core.bus.capabilities().durable);
        let _ = core.clock.timeout(core.options.drain, settle).await;
        // A read that is never finished would keep the lease's lock.
        self.reading.clear();
        self.lease.lock().await.release().await;
    }

    /// Publishes what is there now; how many rows went.
    pub(crate) async fn drain(&mut self) -> Result<usize, RelayError> {
        self.settle(true).await;
        self.lease.lock().await.release().await;
        self.trouble.take().map_or(Ok(self.published), Err)
    }

    /// Until nothing is left that could be done without waiting. `reads`: of what is not in flight yet, too.
    async fn settle(&mut self, reads: bool) {
        loop {
            self.start_deletes();
            if reads && self.pause.until_ms == 0 {
                self.start_read();
            }
            let is_read = self.reading.is_empty() || !reads;
            if is_read && self.sending.is_empty() && self.deleting.is_empty() {
                return;
            }
            self.progress().await;
        }
    }

    /// Waits until something that was started ends, and takes note of it.
    async fn progress(&mut self) {
        tokio::select! {
            biased;
            Some(deleted) = self.deleting.next() => self.on_deleted(deleted),
            Some(sent) = self.sending.next() => {
                self.on_sent(sent);
                while let Some(Some(sent)) = self.sending.next().now_or_never() {
                    self.on_sent(sent);
                }
            }
            Some(read) = self.reading.next() => self.on_read(read),
            else => std::future::pending().await,
        }
    }

    fn start_read(&mut self) {
        let options = &self.core.options;
        let room = options.in_flight.saturating_sub(self.unsettled);
        let paused = self.pause.until_ms > self.core.clock.now_ms();
        if !self.scan.is_wanted() || !self.reading.is_empty() || paused || room == 0 {
            return;
        }
        let query = self.scan.query(keys::outbox(self.number), options.page);
        let (lease, store) = (Arc::clone(&self.lease), self.core.store.clone());
        let lost = std::mem::take(&mut self.lost);
        let read = async move {
            match lease.lock().await.hold(lost).await? {
                Hold::Foreign(wait) => Ok(Read::Foreign(wait)),
                Hold::Mine(token) => Ok(Read::Page(token, store.query(&query).await?)),
            }
        };
        self.reading.push(read.boxed());
    }

    fn on_read(&mut self, read: Result<Read, StoreError>) {
        let landed = std::mem::take(&mut self.landed);
        match read {
            Ok(Read::Page(token, page)) => {
                self.token = token;
                // Reading may well work while publishing or deleting does not: only rows that went end a wait.
                if page.items.is_empty() {
                    self.pause = Rest::default();
                }
                self.publish(page, &landed);
            }
            // Looked at again by a sweep or when somebody commits here.
            Ok(Read::Foreign(wait)) => {
                let wait = wait.min(self.core.options.sweep_interval);
                self.pause.until_ms = self.core.clock.now_ms().saturating_add(millis(wait));
                self.scan.rewind();
            }
            Err(error) => {
                tracing::warn!(shard = self.number, %error, "the outbox can't be read; tried again");
                self.pause_shard();
                self.scan.rewind();
                self.trouble.get_or_insert(error.into());
            }
        }
    }

    fn publish(&mut self, page: Page, landed: &HashSet<RowKey>) {
        let options = &self.core.options;
        let room = options.in_flight.saturating_sub(self.unsettled);
        let (flights, rests) = (&self.flights, &self.rests);
        let busy = |key: &str| {
            flights.contains_key(key) || landed.contains(key) || rests.get(key).is_some_and(|rest| rest.until_ms > 0)
        };
        let chosen = self.scan.choose(page, room, self.per_key_max, busy);
        for key in &chosen.passed_over {
            if let Some(flight) = self.flights.get_mut(key.as_str()) {
                flight.more = true;
            } else if landed.contains(key.as_str()) {
                self.scan.again();
            }
        }
        let mut rows = Vec::with_capacity(chosen.rows.len());
        let mut batch = Vec::with_capacity(chosen.rows.len());
        let mut broken: Option<RowKey> = None;
        for item in chosen.rows {
            let key: RowKey = keys::key_of_row(&item.key.sort).into();
            if broken.as_ref() == Some(&key) {
                continue;
            }
            match read::<StoredEnvelope>(&item.body).and_then(StoredEnvelope::into_envelope) {
                Ok(envelope) => {
                    batch.push(envelope);
                    rows.push((key, item));
                }
                Err(error) => {
                    let is_first = rows.last().is_none_or(|(last, _)| *last != key);
                    self.on_unreadable(&key, is_first, &item, error);
                    broken = Some(key);
                }
            }
        }
        if !batch.is_empty() {
            self.send(rows, batch, &chosen.cut);
        }
    }

    fn send(&mut self, rows: Vec<(RowKey, Item)>, batch: Vec<bus::Envelope>, cut: &[String]) {
        let span = publishing::span(&self.core, &batch);
        let sends = span.in_scope(|| self.core.bus.publisher().publish(batch));
        debug_assert_eq!(sends.len(), rows.len(), "one future per envelope");
        for ((key, item), send) in rows.into_iter().zip(sends) {
            let index = self.flights.entry(Arc::clone(&key)).or_default().add(item.key);
            self.unsettled += 1;
            let span = span.clone();
            let sent = send.map(move |result| {
                if result.is_err() {
                    span.record("otel.status_code", "ERROR");
                }
                (key, index, result)
            });
            self.sending.push(sent.boxed());
        }
        for key in cut {
            if let Some(flight) = self.flights.get_mut(key.as_str()) {
                flight.more = true;
            }
        }
        while let Some(Some(sent)) = self.sending.next().now_or_never() {
            self.on_sent(sent);
        }
        self.core.step(Step::MidPublish);
    }

    fn on_sent(&mut self, (key, index, result): Sent) {
        let Some(flight) = self.flights.get_mut(&key) else { return };
        if let Err(error) = &result {
            metrics::counter!("outbox_publish_failures_total").increment(1);
            if !flight.failed {
                tracing::warn!(%key, %error, "a row could not be published; tried again");
            }
        } else {
            metrics::counter!("outbox_published_total").increment(1);
        }
        self.settled.extend(flight.sent(&key, index, result.is_ok()));
        if let Err(error) = result {
            self.trouble.get_or_insert(error.into());
        }
        self.land(&key);
    }

    /// Takes a key whose rows are all settled one way or the other out of the air.
    fn land(&mut self, key: &RowKey) {
        let Some(flight) = self.flights.get(key).filter(|flight| flight.is_over()) else { return };
        self.unsettled -= flight.len();
        let (failed, more) = (flight.failed, flight.more);
        self.flights.remove(key);
        if !self.reading.is_empty() {
            self.landed.insert(Arc::clone(key));
        }
        if failed {
            self.rest(key);
        } else {
            self.rests.remove(key);
            if more {
                self.scan.again();
            }
        }
    }

    /// The rows before it are published first; then its key waits until somebody mends or removes it.
    fn on_unreadable(&mut self, key: &RowKey, is_first: bool, item: &Item, error: StoreError) {
        tracing::error!(row = %item.key, %error, "an outbox row can't be read; its key waits until it is mended");
        metrics::counter!("outbox_publish_failures_total").increment(1);
        self.trouble.get_or_insert(error.into());
        if is_first {
            self.rest(key);
        } else {
            self.scan.again();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
