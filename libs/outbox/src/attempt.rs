//! One try of one event: what is known of it, its handler, its commit. What else it may come to: `aftermath.rs`.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bus::Envelope;
use futures::FutureExt;
use store::{Action, Condition, Item, StoreError, StoreErrorKind};

use crate::gate::Gate;
use crate::inbox::{Entry, State};
use crate::lease::millis;
use crate::letter::{Reason, Standing};
use crate::worker::Worker;
use crate::{Effects, Failure, Order, Step, Subscription, Unit, keys};

/// An event on its way through the inbox.
pub(crate) struct Task<'a> {
    pub(crate) envelope: &'a Envelope,
    pub(crate) subscription: &'a Subscription,
    pub(crate) gate: Gate,
    /// A dead letter of a kind that nobody handles any more.
    pub(crate) unsubscribed: bool,
    pub(crate) entry: Entry,
    /// Whether the record must be read first. A first delivery skips it: its commit finds out.
    look: bool,
    /// Whether the key's marker must be read first.
    look_at_gate: bool,
    redelivered: bool,
    reruns: u32,
    tries: u32,
}

pub(crate) enum Turn {
    Over(Outcome),
    Again,
    Wait(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Duplicate,
    Stale,
    Parked,
    Dead(Reason),
    /// A dead letter that changed hands while it was being redriven.
    Moved,
}

impl Outcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::Parked => "parked",
            Self::Dead(reason) => reason.name(),
            Self::Moved => "moved",
        }
    }
}

impl<'a> Task<'a> {
    pub(crate) fn new(
        service: &str,
        envelope: &'a Envelope,
        subscription: &'a Subscription,
        gate: Gate,
        redelivered: bool,
    ) -> Self {
        Self {
            envelope,
            subscription,
            unsubscribed: false,
            entry: Entry::new(service, envelope),
            look: redelivered || subscription.effects != Effects::Local,
            look_at_gate: false,
            gate,
            redelivered,
            reruns: 0,
            tries: 0,
        }
    }

    pub(crate) fn look_again(&mut self) {
        (self.look, self.look_at_gate) = (true, true);
    }

    /// Somebody else wrote the record, the watermark or the key's marker.
    pub(crate) fn overtaken(&mut self) -> Turn {
        if !self.gate.is_open() {
            return Turn::Over(Outcome::Moved);
        }
        self.look_again();
        Turn::Again
    }
}

enum Ran {
    Well(Unit),
    Badly(Failure),
    Fenced,
}

impl Worker {
    pub(crate) async fn turn(&self, task: &mut Task<'_>) -> Result<Turn, StoreError> {
        if let Some(over) = self.known(task).await? {
            return Ok(over);
        }
        let mark = match task.subscription.order {
            Order::Every => None,
            Order::LatestWins => {
                let at = keys::watermark(&self.core.service, task.envelope);
                let old = self.core.store.get(&at).await?.map(|item| item.version);
                if old.is_some_and(|old| task.envelope.sequence <= old) {
                    return self.stale(task).await;
                }
                let mut item = Item::new(at, task.envelope.sequence, "{}");
                item.expires_at_ms = Some(self.expires_at_ms());
                Some(Action::Put { item, condition: old.map_or(Condition::Absent, Condition::Version) })
            }
        };
        if let Effects::External { lease } = task.subscription.effects
            && !self.claim(task, lease).await?
        {
            return Ok(task.overtaken());
        }
        if task.redelivered || task.tries > 0 {
            self.core.step(Step::DuringRedelivery);
        } else {
            self.budget.earn();
        }
        task.tries = task.tries.saturating_add(1);
        match self.handle(task).await {
            Ran::Well(unit) => self.commit(task, unit, mark).await,
            Ran::Badly(failure) => self.fail(task, failure).await,
            Ran::Fenced => Ok(task.overtaken()),
        }
    }

    /// What the records say before the event is handled.
    async fn known(&self, task: &mut Task<'_>) -> Result<Option<Turn>, StoreError> {
        if task.look {
            task.entry.load(&self.core.store).await?;
            task.look = false;
        }
        if task.entry.is_conflict() {
            return self.conflict(task).await.map(Some);
        }
        if let Some(record) = &task.entry.record {
            if record.state.is_settled() && task.gate.is_open() {
                return Ok(Some(Turn::Over(Outcome::Duplicate)));
            }
            let now_ms = self.core.clock.now_ms();
            let until_ms = record.until_ms.unwrap_or(0);
            if record.state == State::Claimed && until_ms > now_ms && record.owner.as_deref() != Some(&self.core.owner)
            {
                task.look_again();
                return Ok(Some(Turn::Wait(Duration::from_millis(until_ms - now_ms))));
            }
        }
        if let (true, Gate::Open { lane }) = (task.look_at_gate, &task.gate) {
            if let Some(item) = self.core.store.get(&keys::marker(lane)).await? {
                let standing = Standing::read(lane, &item)?;
                return self.park(task, &standing).await.map(Some);
            }
            task.look_at_gate = false;
        }
        Ok(None)
    }

    /// Takes the right to call others for this event; false when somebody else was faster.
    async fn claim(&self, task: &mut Task<'_>, lease: Duration) -> Result<bool, StoreError> {
        let mut record = task.entry.record(State::Claimed, task.entry.attempts(), None);
        record.owner = Some(self.core.owner.clone());
        record.until_ms = Some(self.core.clock.now_ms().saturating_add(millis(lease)));
        let mut actions = vec![task.entry.put(&record, self.expires_at_ms())];
        actions.extend(task.gate.tried());
        match self.core.store.transact(actions).await {
            Ok(()) => {
                task.entry.token = Some(task.entry.token.map_or(1, |token| token + 1));
                task.entry.record = Some(record);
                Ok(true)
            }
            Err(error) if error.conflict().is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Runs the handler within its time, and keeps the claim alive meanwhile.
    async fn handle(&self, task: &Task<'_>) -> Ran {
        if task.unsubscribed {
            return Ran::Badly(Failure::Permanent(format!(
                "{}: nobody here subscribes to it any more",
                task.envelope.kind
            )));
        }
        let limit = task.subscription.retry.attempt_timeout;
        let run = async {
            let mut unit = Unit::new();
            let handled = AssertUnwindSafe(self.consumer.handle(task.envelope, &mut unit)).catch_unwind();
            match self.core.clock.timeout(limit, handled).await {
                Some(Ok(Ok(()))) => Ran::Well(unit),
                Some(Ok(Err(failure))) => Ran::Badly(failure),
                Some(Err(_)) => Ran::Badly(Failure::Transient("the handler panicked".to_owned())),
                None => Ran::Badly(Failure::Transient(format!("the handler took more than {} ms", limit.as_millis()))),
            }
        };
        let Effects::External { lease } = task.subscription.effects else { return run.await };
        tokio::pin!(run);
        loop {
            match self.core.clock.timeout(lease / 3, &mut run).await {
                Some(ran) => return ran,
                None if self.renew(task, lease).await => {}
                None => return Ran::Fenced,
            }
        }
    }

    /// False when another worker took the claim over.
    async fn renew(&self, task: &Task<'_>, lease: Duration) -> bool {
        let Some(mut record) = task.entry.record.clone() else { return true };
        record.until_ms = Some(self.core.clock.now_ms().saturating_add(millis(lease)));
        match self.core.store.transact(vec![task.entry.renew(&record, self.expires_at_ms())]).await {
            Err(error) if error.conflict().is_some() => false,
            Err(error) => {
                // The commit checks the token anyway.
                tracing::warn!(event.id = %task.envelope.id, %error, "a claim was not renewed");
                true
            }
            Ok(()) => true,
        }
    }

    /// Effects, facts, record, watermark and the key's gate in one transaction.
    async fn commit(&self, task: &mut Task<'_>, unit: Unit, mark: Option<Action>) -> Result<Turn, StoreError> {
        let result = format!("{} writes, {} facts", unit.actions.len(), unit.facts.len());
        let prepared = match self.core.prepare(unit).await {
            Ok(prepared) => prepared,
            Err(error) if error.kind() == StoreErrorKind::Invalid => return self.fail(task, error.into()).await,
            // The store is in trouble.
            Err(error) => return Err(error),
        };
        let own = prepared.actions.len();
        let record = task.entry.record(State::Done, task.entry.attempts(), result);
        let mut extra = vec![task.entry.put(&record, self.expires_at_ms())];
        extra.extend(mark);
        extra.extend(task.gate.passed());
        match self.core.transact(prepared, extra).await {
            Ok(()) => Ok(Turn::Over(Outcome::Done)),
            Err(error) if error.kind() == StoreErrorKind::Invalid => self.fail(task, error.into()).await,
            Err(error) => match error.conflict() {
                Some(action) if action < own && task.reruns >= self.options.reruns => {
                    task.reruns = 0;
                    self.fail(task, Failure::Transient(format!("its own writes kept conflicting: {error}"))).await
                }
                Some(action) if action < own => {
                    task.reruns += 1;
                    // An earlier handling of this very event is one cause.
                    task.look = true;
                    Ok(Turn::Again)
                }
                Some(_) => Ok(task.overtaken()),
                None => Err(error),
            },
        }
    }

    pub(crate) fn expires_at_ms(&self) -> u64 {
        self.core.clock.now_ms().saturating_add(millis(self.options.inbox_retention))
    }
}
