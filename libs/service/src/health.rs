//! Liveness, readiness and metrics, on the admin listener.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use clock::Clock;
use futures::future::join_all;
use http::header::CONTENT_TYPE;
use http::{HeaderName, StatusCode};
use serde::Serialize;

use crate::telemetry::render_metrics;

/// How long a check may take before it counts as failed. Kubelet gives up after a second by default.
const CHECK_TIME: Duration = Duration::from_millis(800);

/// Whether a service can take work: its named checks, and whether it has started or is draining. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    phase: AtomicU8,
    checks: RwLock<Vec<(&'static str, Check)>>,
    clock: Clock,
}

type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

const STARTING: u8 = 0;
const RUNNING: u8 = 1;
const DRAINING: u8 = 2;

/// What `/readyz` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether to send work here.
    pub ready: bool,
    /// `starting`, `running` or `draining`.
    pub phase: &'static str,
    /// Every check, in the order they were added.
    pub checks: Vec<CheckResult>,
}

/// One check of [`Readiness`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// Its name.
    pub name: &'static str,
    /// Whether it passed.
    pub ok: bool,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Health {
    /// Not ready until [`Health::started`] is called.
    pub fn new(clock: Clock) -> Self {
        Self { inner: Arc::new(Inner { phase: AtomicU8::new(STARTING), checks: RwLock::default(), clock }) }
    }

    /// Adds a check that every `/readyz` runs, at most 800 ms long. The text says what is wrong.
    pub fn add_check<F, C>(&self, name: &'static str, check: C)
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let check: Check = Arc::new(move || Box::pin(check()));
        self.inner.checks.write().unwrap_or_else(PoisonError::into_inner).push((name, check));
    }

    /// The service is complete: ready, if its checks pass.
    pub fn started(&self) {
        // Never back from draining, however the two race.
        let _ = self.inner.phase.compare_exchange(STARTING, RUNNING, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// The service is about to stop: not ready any more, though still alive and finishing its work.
    pub fn drain(&self) {
        self.inner.phase.store(DRAINING, Ordering::SeqCst);
    }

    /// Runs all checks at once.
    pub async fn readiness(&self) -> Readiness {
        let checks = self.inner.checks.read().unwrap_or_else(PoisonError::into_inner).clone();
        let checks = join_all(checks.into_iter().map(async |(name, check)| {
            let outcome = self.inner.clock.timeout(CHECK_TIME, check()).await;
            let outcome = outcome.unwrap_or_else(|| Err(format!("no answer within {} ms", CHECK_TIME.as_millis())));
            CheckResult { name, ok: outcome.is_ok(), detail: outcome.err() }
        }));
        let checks = checks.await;
        let phase = self.inner.phase.load(Ordering::SeqCst);
        let ready = phase == RUNNING && checks.iter().all(|check| check.ok);
        Readiness { ready, phase: ["starting", "running", "draining"][usize::from(phase)], checks }
    }
}

/// `/healthz` (alive: 200), `/readyz` (ready: 200, else 503, with every check) and `/metrics` (Prometheus text).
pub fn admin_router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async || Json(serde_json::json!({"status": "ok"}))))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn readyz(State(health): State<Health>) -> (StatusCode, Json<Readiness>) {
    let readiness = health.readiness().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

async fn metrics() -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], render_metrics())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_means_started_not_draining_and_every_check_passing() {
        let health = Health::new(Clock::manual(0).0);
        assert!(!health.readiness().await.ready);
        health.started();
        assert!(health.readiness().await.ready);
        health.add_check("bus", async || Ok(()));
        health.add_check("store", async || Err("disk full".to_owned()));
        let readiness = health.readiness().await;
        assert!(!readiness.ready);
        let store = CheckResult { name: "store", ok: false, detail: Some("disk full".into()) };
        assert_eq!(readiness.checks, [CheckResult { name: "bus", ok: true, detail: None }, store]);
        health.drain();
        health.started();
        assert_eq!(health.readiness().await.phase, "draining");
    }

    #[tokio::test]
    async fn a_check_that_hangs_fails() {
        let (clock, hand) = Clock::manual(0);
        let health = Health::new(clock);
        health.started();
        health.add_check("bus", std::future::pending);
        let asked = tokio::spawn({
            let health = health.clone();
            async move { health.readiness().await }
        });
        tokio::task::yield_now().await;
        hand.advance(CHECK_TIME);
        let readiness = asked.await.expect("answered");
        assert_eq!(readiness.checks[0].detail.as_deref(), Some("no answer within 800 ms"));
        assert!(!readiness.ready);
    }
}
