use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use clock::Clock;
use futures::future::{BoxFuture, ready};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::EmbeddedOptions;
use super::group::{Group, Item, Out};
use crate::backend::{Deliveries, Delivery, Settle, Subscribe};
use crate::meter::Published;
use crate::observe::{Observe, Observed, Watchers};
use crate::{BusError, BusErrorKind, Envelope, wire};

pub(super) struct Events {
    options: EmbeddedOptions,
    clock: Clock,
    state: Mutex<State>,
    /// Something is due earlier than the timer thinks.
    timer: Notify,
    /// Something was settled: drain looks again.
    settled: Notify,
    draining: CancellationToken,
    closed: CancellationToken,
    published: Published,
    watchers: Arc<Watchers>,
}

#[derive(Default)]
struct State {
    next: u64,
    is_timed: bool,
    groups: BTreeMap<String, Group>,
    tracked: HashMap<u64, Tracked>,
    /// Source and id of what is tracked.
    known: HashMap<String, u64>,
    /// What comes again when: one entry for each that is out.
    due: BTreeSet<(Duration, Arc<str>, u128)>,
}

/// One published event that somebody has not settled yet.
struct Tracked {
    envelope: Arc<Envelope>,
    left: BTreeSet<String>,
    waiters: Vec<oneshot::Sender<()>>,
}

impl Events {
    pub(super) fn new(options: EmbeddedOptions, clock: Clock, watchers: Arc<Watchers>) -> Self {
        Self {
            options,
            clock,
            state: Mutex::default(),
            timer: Notify::new(),
            settled: Notify::new(),
            draining: CancellationToken::new(),
            closed: CancellationToken::new(),
            published: Published::new("embedded"),
            watchers,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.draining.is_cancelled()
    }

    pub(super) fn close(&self) {
        self.draining.cancel();
        self.closed.cancel();
        let mut state = self.state();
        state.tracked.clear();
        state.known.clear();
    }

    /// Hands out nothing more and waits until consumers have settled what they hold.
    pub(super) async fn drain(&self) {
        self.draining.cancel();
        loop {
            let settled = self.settled.notified();
            if self.state().groups.values().all(|group| group.in_hands() == 0) {
                return;
            }
            settled.await;
        }
    }

    fn enqueue(&self, envelope: Envelope) -> Result<Option<(u64, oneshot::Receiver<()>)>, BusError> {
        if self.is_closed() {
            return Err(closed());
        }
        wire::check(&envelope)?;
        super::check_size(&envelope, self.options.max_payload_bytes)?;
        let mut state = self.state();
        let (sender, receiver) = oneshot::channel();
        let unique = envelope.unique_id();
        if let Some(id) = state.known.get(&unique).copied()
            && let Some(tracked) = state.tracked.get_mut(&id)
            && *tracked.envelope == envelope
        {
            // The same event once more while it is still queued: wait for that one.
            tracked.waiters.retain(|waiter| !waiter.is_closed());
            tracked.waiters.push(sender);
            return Ok(Some((id, receiver)));
        }
        let mut left = self.options.routes(&envelope.kind);
        left.extend(state.groups.iter().filter(|(_, group)| group.reads(&envelope.kind)).map(|(name, _)| name.clone()));
        if left.is_empty() {
            self.show(&envelope);
            return Ok(None);
        }
        let full = left.iter().find(|service| {
            state.groups.get(*service).is_some_and(|group| group.lanes.waiting() >= self.options.queue_capacity)
        });
        if let Some(service) = full {
            let most = self.options.queue_capacity;
            return Err(BusError::new(BusErrorKind::Full, format!("{most} events wait for {service} already")));
        }
        self.show(&envelope);
        state.next += 1;
        let id = state.next;
        let envelope = Arc::new(envelope);
        for service in &left {
            let group = state.groups.entry(service.clone()).or_insert_with(|| Group::new(service));
            let item = Item { tracked: id, envelope: Arc::clone(&envelope), attempts: 0 };
            group.lanes.insert(&envelope.key, u128::from(id), item);
            group.wake.notify_waiters();
        }
        state.known.insert(unique, id);
        state.tracked.insert(id, Tracked { envelope, left, waiters: vec![sender] });
        Ok(Some((id, receiver)))
    }

    /// Shows an event to those who look on.
    fn show(&self, envelope: &Envelope) {
        let wants = |options: Observe| options.events;
        if self.watchers.any(wants) {
            self.watchers.show(wants, &Observed::Event(Ok(envelope.clone())));
        }
    }

    /// Which services an event still waits for.
    fn left(&self, id: u64) -> String {
        let state = self.state();
        let names = state.tracked.get(&id).map(|tracked| tracked.left.iter().cloned().collect::<Vec<_>>());
        names.unwrap_or_default().join(", ")
    }

    fn take(&self, service: &str, member: u64, lease: Duration) -> Option<(u128, u64, Item, String)> {
        let mut state = self.state();
        state.next += 1;
        let generation = state.next;
        let group = state.groups.get_mut(service)?;
        let kinds = group.members.get(&member)?;
        let (key, position, mut item) = group.lanes.take(|item| kinds.contains(&item.envelope.kind))?;
        item.attempts += 1;
        group.consumed.deliver(item.attempts, false);
        let copy = Item { envelope: Arc::clone(&item.envelope), ..item };
        let due = self.clock.monotonic().saturating_add(lease);
        let out = Out { key: key.clone(), item, generation, lease, due, scheduled: due, is_delayed: false };
        group.out.insert(position, out);
        let name = Arc::clone(&group.name);
        self.schedule(&mut state, due, name, position);
        Some((position, generation, copy, key))
    }

    fn schedule(&self, state: &mut State, due: Duration, service: Arc<str>, position: u128) {
        let is_next = state.due.first().is_none_or(|(first, ..)| due < *first);
        state.due.insert((due, service, position));
        if is_next {
            self.timer.notify_one();
        }
    }

    /// Brings back what is due; says when the next thing is.
    fn fire(&self) -> Option<Duration> {
        let mut state = self.state();
        let now = self.clock.monotonic();
        loop {
            let (due, ..) = state.due.first()?;
            if *due > now {
                return Some(due.saturating_sub(now));
            }
            let (_, service, position) = state.due.pop_first()?;
            let Some(group) = state.groups.get_mut(&*service) else { continue };
            let Some(out) = group.out.get_mut(&position) else { continue };
            if out.due > now {
                // Extended meanwhile.
                out.scheduled = out.due;
                let due = out.due;
                state.due.insert((due, service, position));
                continue;
            }
            if let Some(out) = group.out.remove(&position) {
                group.lanes.insert(&out.key, position, out.item);
                group.wake.notify_waiters();
                self.release_unread(&mut state, &service);
            }
            self.settled.notify_waiters();
        }
    }

    /// The service is done with it, whichever delivery of it says so.
    fn finish(&self, service: &str, key: &str, position: u128) -> bool {
        let mut state = self.state();
        let Some(group) = state.groups.get_mut(service) else { return false };
        let waited = group.lanes.settle(key, position);
        let out = group.out.remove(&position);
        let name = Arc::clone(&group.name);
        group.wake.notify_waiters();
        if let Some(out) = &out {
            state.due.remove(&(out.scheduled, name, position));
        }
        let Some(item) = out.map(|out| out.item).or(waited) else { return false };
        state.resolve(item.tracked, service);
        self.settled.notify_waiters();
        true
    }

    fn delay(&self, service: &str, position: u128, generation: u64, delay: Duration) {
        let mut state = self.state();
        let Some(group) = state.groups.get_mut(service) else { return };
        let Some(out) = group.out.get_mut(&position).filter(|out| out.generation == generation) else { return };
        group.consumed.nakked.increment(1);
        out.due = self.clock.monotonic().saturating_add(delay);
        out.is_delayed = true;
        out.generation = 0;
        let (old, due) = (std::mem::replace(&mut out.scheduled, out.due), out.due);
        let name = Arc::clone(&group.name);
        state.due.remove(&(old, Arc::clone(&name), position));
        self.schedule(&mut state, due, name, position);
        self.settled.notify_waiters();
    }

    fn extend(&self, service: &str, position: u128, generation: u64) -> Result<(), BusError> {
        let mut state = self.state();
        let out = state.groups.get_mut(service).and_then(|group| group.out.get_mut(&position));
        match out.filter(|out| out.generation == generation) {
            Some(out) => {
                out.due = self.clock.monotonic().saturating_add(out.lease);
                Ok(())
            }
            None => Err(BusError::new(BusErrorKind::Timeout, "the lease ended before it was extended")),
        }
    }

    fn leave(&self, service: &str, member: u64) {
        let mut state = self.state();
        if let Some(group) = state.groups.get_mut(service) {
            group.members.remove(&member);
        }
        self.release_unread(&mut state, service);
    }

    /// Lets go of what waits for a service that neither reads it nor, by the topology, ever will.
    fn release_unread(&self, state: &mut State, service: &str) {
        let Some(group) = state.groups.get_mut(service) else { return };
        if !group.members.is_empty() {
            return;
        }
        let unread = group.lanes.remove_waiting(|item| !self.options.routes(&item.envelope.kind).contains(service));
        for item in unread {
            state.resolve(item.tracked, service);
        }
    }
}

impl State {
    fn resolve(&mut self, id: u64, service: &str) {
        let Some(tracked) = self.tracked.get_mut(&id) else { return };
        tracked.left.remove(service);
        if !tracked.left.is_empty() {
            return;
        }
        if let Some(tracked) = self.tracked.remove(&id) {
            let unique = tracked.envelope.unique_id();
            if self.known.get(&unique) == Some(&id) {
                self.known.remove(&unique);
            }
            for waiter in tracked.waiters {
                let _ = waiter.send(());
            }
        }
    }
}

fn closed() -> BusError {
    BusError::new(BusErrorKind::Closed, "the bus is closed")
}

pub(super) fn publish(events: &Arc<Events>, batch: Vec<Envelope>) -> Vec<BoxFuture<'static, Result<(), BusError>>> {
    let span = tracing::debug_span!(
        "publish",
        messaging.system = "synapse.embedded",
        messaging.operation.type = "send",
        messaging.batch.message_count = batch.len()
    );
    let _entered = span.enter();
    let mut failed: HashSet<String> = HashSet::new();
    let mut results = Vec::with_capacity(batch.len());
    for envelope in batch {
        let key = envelope.key.clone();
        let queued = if failed.contains(&key) {
            Err(BusError::new(BusErrorKind::Unavailable, "an earlier event of the same key was not published"))
        } else {
            events.enqueue(envelope)
        };
        if queued.is_err() {
            failed.insert(key);
        }
        results.push(outcome(Arc::clone(events), queued));
    }
    results
}

type Queued = Result<Option<(u64, oneshot::Receiver<()>)>, BusError>;

fn outcome(events: Arc<Events>, queued: Queued) -> BoxFuture<'static, Result<(), BusError>> {
    match queued {
        Ok(None) => {
            events.published.ok.increment(1);
            Box::pin(ready(Ok(())))
        }
        Err(error) => {
            events.published.failed.increment(1);
            Box::pin(ready(Err(error)))
        }
        Ok(Some((id, receiver))) => Box::pin(async move {
            let within = events.options.settle_within;
            let result = match events.clock.timeout(within, receiver).await {
                Some(Ok(())) => Ok(()),
                Some(Err(_)) => Err(closed()),
                None => {
                    let detail = format!("not settled within {} ms by {}", within.as_millis(), events.left(id));
                    Err(BusError::new(BusErrorKind::Unavailable, detail))
                }
            };
            let counter = if result.is_ok() { &events.published.ok } else { &events.published.failed };
            counter.increment(1);
            result
        }),
    }
}

pub(super) fn subscribe(events: &Arc<Events>, subscribe: Subscribe) -> Result<Deliveries, BusError> {
    if events.is_closed() {
        return Err(closed());
    }
    let (sender, receiver) = mpsc::channel(1);
    let member = {
        let mut state = events.state();
        state.next += 1;
        let member = state.next;
        let service = &subscribe.service;
        let group = state.groups.entry(service.clone()).or_insert_with(|| Group::new(service));
        group.members.insert(member, subscribe.kinds.iter().cloned().collect());
        if !std::mem::replace(&mut state.is_timed, true) {
            tokio::spawn(keep_time(Arc::clone(events)));
        }
        member
    };
    tokio::spawn(hand_out(Arc::clone(events), subscribe, member, sender));
    Ok(Deliveries { receiver })
}

/// Brings back what nobody settled in time, until the bus closes.
async fn keep_time(events: Arc<Events>) {
    loop {
        let next = events.fire();
        let sleep = async {
            match next {
                Some(wait) => events.clock.sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = events.closed.cancelled() => return,
            () = events.timer.notified() => {}
            () = sleep => {}
        }
    }
}

async fn hand_out(events: Arc<Events>, subscribe: Subscribe, member: u64, sender: mpsc::Sender<Delivery>) {
    let permits = Arc::new(Semaphore::new(subscribe.max_in_flight.clamp(1, Semaphore::MAX_PERMITS)));
    let service: Arc<str> = subscribe.service.as_str().into();
    let wake = events.state().groups.get(&*service).map(|group| Arc::clone(&group.wake));
    let work = async {
        let Some(wake) = wake else { return };
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let Ok(slot) = sender.reserve().await else { return };
            let taken = loop {
                let woken = wake.notified();
                tokio::pin!(woken);
                woken.as_mut().enable();
                match events.take(&service, member, subscribe.lease) {
                    Some(taken) => break taken,
                    None => woken.await,
                }
            };
            let (position, generation, item, key) = taken;
            let settle = Box::new(Handle {
                events: Arc::clone(&events),
                service: Arc::clone(&service),
                key,
                position,
                generation,
                _permit: permit,
            });
            slot.send(Delivery { incoming: Ok((*item.envelope).clone()), attempt: item.attempts, settle });
        }
    };
    tokio::select! {
        () = events.draining.cancelled() => {}
        () = sender.closed() => {}
        () = work => {}
    }
    events.leave(&service, member);
}

struct Handle {
    events: Arc<Events>,
    service: Arc<str>,
    key: String,
    position: u128,
    generation: u64,
    _permit: OwnedSemaphorePermit,
}

impl Handle {
    fn finish(&self, is_ack: bool) {
        if self.events.finish(&self.service, &self.key, self.position)
            && let Some(group) = self.events.state().groups.get(&*self.service)
        {
            let counter = if is_ack { &group.consumed.acked } else { &group.consumed.terminated };
            counter.increment(1);
        }
    }
}

#[async_trait]
impl Settle for Handle {
    async fn ack(&self) -> Result<(), BusError> {
        self.finish(true);
        Ok(())
    }

    async fn nak(&self, delay: Duration) -> Result<(), BusError> {
        self.events.delay(&self.service, self.position, self.generation, delay);
        Ok(())
    }

    async fn term(&self, reason: &str) -> Result<(), BusError> {
        tracing::info!(service = &*self.service, key = self.key, reason, "an event was given up");
        self.finish(false);
        Ok(())
    }

    async fn extend(&self) -> Result<(), BusError> {
        self.events.extend(&self.service, self.position, self.generation)
    }
}
