//! What a try leads to when it does not end with its effects: another try, a dead letter, a place behind one.

use std::time::Duration;

use store::StoreError;

use crate::attempt::{Outcome, Task, Turn};
use crate::inbox::State;
use crate::letter::{DeadLetter, Reason, Standing};
use crate::retry::full_jitter;
use crate::worker::Worker;
use crate::{Failure, gate, keys};

impl Worker {
    pub(crate) async fn fail(&self, task: &mut Task<'_>, failure: Failure) -> Result<Turn, StoreError> {
        let policy = task.subscription.retry;
        let attempts = task.entry.attempts().saturating_add(1);
        let error = failure.to_string();
        let reason = match failure {
            Failure::Permanent(_) => Some(Reason::Permanent),
            Failure::Poison(_) => Some(Reason::Poison),
            Failure::Transient(_) | Failure::Throttled(..) if attempts >= policy.max_attempts => {
                Some(Reason::Exhausted)
            }
            Failure::Transient(_) | Failure::Throttled(..) => None,
        };
        if let Some(reason) = reason {
            return self.bury(task, reason, &error, attempts).await;
        }
        let record = task.entry.record(State::Failed, attempts, error.clone());
        let mut actions = vec![task.entry.put(&record, self.expires_at_ms())];
        actions.extend(task.gate.tried());
        match self.core.store.transact(actions).await {
            Ok(()) => {}
            Err(error) if error.conflict().is_some() => return Ok(task.overtaken()),
            Err(error) => return Err(error),
        }
        task.entry.token = Some(task.entry.token.map_or(1, |token| token + 1));
        task.entry.record = Some(record);
        tracing::info!(event.id = %task.envelope.id, kind = task.subscription.kind, attempts, %error, "to be tried again");
        metrics::counter!("inbox_retries_total", "kind" => task.subscription.kind).increment(1);
        let jitter = Duration::from_millis(full_jitter(policy.initial, policy.max, attempts, &self.core.entropy));
        let wait = if self.budget.spend() { jitter } else { policy.max };
        Ok(Turn::Wait(match failure {
            Failure::Throttled(asked, _) => asked.min(self.options.throttle_max).max(wait),
            _ => wait,
        }))
    }

    /// Dead letter, record and the key's marker in one transaction.
    async fn bury(&self, task: &mut Task<'_>, reason: Reason, error: &str, attempts: u32) -> Result<Turn, StoreError> {
        let mut letter = self.letter(task, reason, error);
        letter.attempts = attempts;
        let record = task.entry.record(State::Dead, attempts, letter.error.clone());
        let mut actions = vec![task.entry.put(&record, self.expires_at_ms())];
        actions.extend(task.gate.buried(task.envelope, letter));
        match self.core.store.transact(actions).await {
            Ok(()) => {
                tracing::error!(event.id = %task.envelope.id, kind = task.subscription.kind, key = task.envelope.key,
                    reason = reason.name(), error, "a dead letter; later events of its key wait behind it");
                Ok(Turn::Over(Outcome::Dead(reason)))
            }
            Err(error) if error.conflict().is_some() => Ok(task.overtaken()),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn park(&self, task: &mut Task<'_>, standing: &Standing) -> Result<Turn, StoreError> {
        let error = format!("waits behind dead letter {}", standing.marker.blocking);
        let mut letter = self.letter(task, Reason::Parked, &error);
        letter.behind = Some(standing.marker.blocking.clone());
        let record = task.entry.record(State::Parked, task.entry.attempts(), error);
        let mut actions = vec![task.entry.put(&record, self.expires_at_ms())];
        actions.extend(gate::parked(standing, task.envelope, &letter));
        match self.core.store.transact(actions).await {
            Ok(()) => Ok(Turn::Over(Outcome::Parked)),
            Err(error) if error.conflict().is_some() => Ok(task.overtaken()),
            Err(error) => Err(error),
        }
    }

    /// The same id with another payload: kept beside, never handled, never silent.
    pub(crate) async fn conflict(&self, task: &Task<'_>) -> Result<Turn, StoreError> {
        let error = "the same id came before with another payload; its publisher must give each event its own id";
        let letter = self.letter(task, Reason::Conflict, error);
        let at = keys::aside(&keys::digest(&format!("{}#{}", task.entry.at, task.entry.hash)));
        match self.core.store.transact(vec![letter.put(at, None)]).await {
            Ok(()) => tracing::error!(event.id = %task.envelope.id, source = task.envelope.source, error),
            // It was set aside before.
            Err(error) if error.conflict().is_some() => {}
            Err(error) => return Err(error),
        }
        Ok(Turn::Over(Outcome::Dead(Reason::Conflict)))
    }

    pub(crate) async fn stale(&self, task: &mut Task<'_>) -> Result<Turn, StoreError> {
        if !task.gate.is_open() {
            return self.pass_stale(task).await;
        }
        if task.entry.token.is_none() {
            task.entry.load(&self.core.store).await?;
            if task.entry.is_conflict() {
                return self.conflict(task).await;
            }
        }
        Ok(Turn::Over(Outcome::Stale))
    }

    async fn pass_stale(&self, task: &mut Task<'_>) -> Result<Turn, StoreError> {
        let record = task.entry.record(State::Done, task.entry.attempts(), "stale".to_owned());
        let mut actions = vec![task.entry.put(&record, self.expires_at_ms())];
        actions.extend(task.gate.passed());
        match self.core.store.transact(actions).await {
            Ok(()) => Ok(Turn::Over(Outcome::Stale)),
            Err(error) if error.conflict().is_some() => Ok(task.overtaken()),
            Err(error) => Err(error),
        }
    }

    fn letter(&self, task: &Task<'_>, reason: Reason, error: &str) -> DeadLetter {
        let mut letter = DeadLetter::new(&self.core.entropy, self.core.clock.now_ms(), reason, error);
        letter.envelope = Some(task.envelope.clone());
        letter
    }
}
