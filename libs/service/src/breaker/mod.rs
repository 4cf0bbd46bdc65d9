//! Circuit breakers: after repeated failures an external service is left alone for a while, and callers are told at
//! once. What to answer instead (the fallback) is the caller's business.
//!
//! One [`Breaker`] stands for one external service; share it.

mod machine;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::Clock;
use serde::{Deserialize, Serialize};

use crate::config::{Checks, ConfigProblem, Validate};
use machine::{Machine, Ticket};

/// When a breaker opens and closes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakerSettings {
    /// Failures in a row that open it. Default 5.
    pub failure_threshold: u32,
    /// Length of the rolling window that the failure rate is measured over, milliseconds. Default 60,000.
    pub window_ms: u64,
    /// Calls in the window below which the rate says nothing. Default 20.
    pub min_requests: u32,
    /// Part of the window's calls that must fail to open it, 0 to 1. Default 0.5.
    pub failure_rate: f64,
    /// A call that takes longer counts as a failure, milliseconds. Default 2,000.
    pub slow_call_ms: u64,
    /// How long it stays open before it tries again, milliseconds. Default 30,000.
    pub recovery_ms: u64,
    /// Calls at once while it tries, and successes that close it. Default 3.
    pub probes: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failure_threshold: 5,
            window_ms: 60_000,
            min_requests: 20,
            failure_rate: 0.5,
            slow_call_ms: 2_000,
            recovery_ms: 30_000,
            probes: 3,
        }
    }
}

impl Validate for BreakerSettings {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.range("breaker.failure_threshold", self.failure_threshold, 1..=1_000);
        checks.range("breaker.window_ms", self.window_ms, 100..=3_600_000);
        checks.range("breaker.min_requests", self.min_requests, 1..=1_000_000);
        checks.range("breaker.failure_rate", self.failure_rate, 0.01..=1.0);
        checks.range("breaker.slow_call_ms", self.slow_call_ms, 1..=600_000);
        checks.range("breaker.recovery_ms", self.recovery_ms, 1..=3_600_000);
        checks.range("breaker.probes", self.probes, 1..=100);
        checks.finish()
    }
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Calls are refused.
    Open,
    /// Some calls go through, to see whether it works again.
    HalfOpen,
}

/// A breaker's figures since it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BreakerStats {
    /// Where it stands.
    pub state: BreakerState,
    /// Calls that went well.
    pub successes: u64,
    /// Calls that failed, the slow ones included.
    pub failures: u64,
    /// Calls that were only slow.
    pub slow: u64,
    /// Calls that were refused.
    pub rejected: u64,
    /// How often it opened.
    pub opened: u64,
    /// Calls in the rolling window.
    pub window_calls: u32,
    /// Failures among them.
    pub window_failures: u32,
    /// Failures in a row up to now.
    pub consecutive_failures: u32,
}

/// The call was not made because the breaker is open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is left alone after repeated failures; try again in {retry_after_ms} ms")]
pub struct BreakerOpen {
    /// The breaker's name.
    pub name: &'static str,
    /// When the next call may go through, milliseconds from now; at least 1.
    pub retry_after_ms: u64,
}

/// A circuit breaker. Cheap to clone; clones share their state.
#[derive(Clone)]
pub struct Breaker {
    inner: Arc<Inner>,
}

struct Inner {
    name: &'static str,
    slow_call: Duration,
    clock: Clock,
    machine: Mutex<Machine>,
}

impl Breaker {
    /// A closed breaker for the external service `name` (also the label of its metrics).
    pub fn new(name: &'static str, settings: BreakerSettings, clock: Clock) -> Self {
        let slow_call = Duration::from_millis(settings.slow_call_ms);
        let machine = Mutex::new(Machine::new(settings));
        metrics::gauge!("breaker_open", "name" => name).set(0.0);
        Self { inner: Arc::new(Inner { name, slow_call, clock, machine }) }
    }

    /// Leave to make one call.
    ///
    /// # Errors
    /// [`BreakerOpen`] while it is open, or half-open with enough probes under way.
    pub fn try_acquire(&self) -> Result<Permit, BreakerOpen> {
        let started = self.inner.clock.monotonic();
        match self.inner.change(|machine| machine.acquire(millis(started))) {
            Ok(ticket) => Ok(Permit { inner: Arc::clone(&self.inner), started, ticket: Some(ticket) }),
            Err(retry_after_ms) => {
                metrics::counter!("breaker_rejected_total", "name" => self.inner.name).increment(1);
                Err(BreakerOpen { name: self.inner.name, retry_after_ms })
            }
        }
    }

    /// Makes `call` if it may be made. `is_failure` says which errors count against the external service: its refusal
    /// of a bad request does not.
    ///
    /// # Errors
    /// [`BreakerOpen`]; the inner result is the call's own.
    pub async fn call<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        is_failure: impl FnOnce(&E) -> bool,
    ) -> Result<Result<T, E>, BreakerOpen> {
        let permit = self.try_acquire()?;
        let outcome = call.await;
        match &outcome {
            Err(error) if is_failure(error) => permit.failure(),
            _ => permit.success(),
        }
        Ok(outcome)
    }

    /// Its figures now.
    pub fn stats(&self) -> BreakerStats {
        let now_ms = millis(self.inner.clock.monotonic());
        self.inner.change(|machine| machine.stats(now_ms))
    }

    /// Where it stands now.
    pub fn state(&self) -> BreakerState {
        self.stats().state
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("name", &self.inner.name).field("stats", &self.stats()).finish()
    }
}

impl Inner {
    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the machine, and tells of a change of state.
    fn change<T>(&self, change: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.machine();
        let before = machine.state();
        let result = change(&mut machine);
        let after = machine.state();
        drop(machine);
        if before != after {
            let open = if after == BreakerState::Closed { 0.0 } else { 1.0 };
            metrics::gauge!("breaker_open", "name" => self.name).set(open);
            tracing::warn!(breaker = self.name, ?before, ?after, "circuit breaker changed");
        }
        result
    }
}

/// Leave to make one call; say how it went. Dropped without a word (the caller gave up) it counts as a failure if the
/// call was slow by then, else not at all.
#[derive(Debug)]
#[must_use = "make the call, then say how it went"]
pub struct Permit {
    inner: Arc<Inner>,
    started: Duration,
    ticket: Option<Ticket>,
}

impl Permit {
    /// It went well; a slow call counts as a failure all the same.
    pub fn success(mut self) {
        self.report(Some(true));
    }

    /// It failed, through the external service's fault.
    pub fn failure(mut self) {
        self.report(Some(false));
    }

    fn report(&mut self, success: Option<bool>) {
        let Some(ticket) = self.ticket.take() else { return };
        let now = self.inner.clock.monotonic();
        let slow = now.saturating_sub(self.started) > self.inner.slow_call;
        let now_ms = millis(now);
        let result = match success {
            Some(true) if slow => "slow",
            Some(true) => "success",
            Some(false) => "failure",
            None if slow => "slow",
            None => return self.inner.change(|machine| machine.abandon(ticket)),
        };
        metrics::counter!("breaker_calls_total", "name" => self.inner.name, "result" => result).increment(1);
        self.inner.change(|machine| machine.report(ticket, result == "success", result == "slow", now_ms));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.report(None);
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
