mod deliver;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::Clock;
use futures::future::{BoxFuture, ready};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::EmbeddedOptions;
use super::group::{Group, Item, Out};
use crate::meter::Published;
use crate::observe::{Observe, Observed, Watchers};
use crate::{BusError, BusErrorKind, Envelope, wire};

pub(super) use deliver::subscribe;

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
