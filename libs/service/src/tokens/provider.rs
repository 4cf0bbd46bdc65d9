use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwapOption;
use auth::JwkSet;
use clock::Clock;
use http::StatusCode;
use reqwest::redirect::Policy;
use tokio::sync::{Mutex, oneshot};
use url::Url;

use super::TokenSettings;
use crate::breaker::{Breaker, BreakerSettings};
use crate::{Lifecycle, Platform};

/// The keys that one identity provider publishes at an address: fetched, kept for a while, fetched again.
///
/// A set counts as fresh for `max_age`. After that it is fetched again in the background, and stays in use meanwhile and
/// while the provider fails, at most `stale` longer. One fetch at a time, with at least `min_interval` between two:
/// however many tokens name a key that is not in the set, the provider is asked once.
pub(super) struct Provider {
    url: Url,
    http: reqwest::Client,
    max_age: Duration,
    usable_for: Duration,
    min_interval: Duration,
    max_bytes: usize,
    breaker: Breaker,
    clock: Clock,
    lifecycle: Lifecycle,
    fetched: ArcSwapOption<Fetched>,
    /// Held while a fetch is under way.
    fetching: Arc<Mutex<()>>,
    /// When the last fetch began.
    last: std::sync::Mutex<Option<Duration>>,
    is_failing: AtomicBool,
}

struct Fetched {
    set: Arc<JwkSet>,
    at: Duration,
}

impl Provider {
    /// One that has not fetched anything yet.
    pub(super) fn try_new(url: &str, settings: &TokenSettings, platform: &Platform) -> anyhow::Result<Arc<Self>> {
        let url = Url::parse(url).context("token_jwks_url")?;
        let timeout = Duration::from_millis(settings.token_jwks_timeout_ms);
        let mut http = reqwest::Client::builder()
            .timeout(timeout)
            // Keys come from where they were configured to come from, and from nowhere that place points to.
            .redirect(Policy::none())
            .user_agent(concat!("synapse/", env!("CARGO_PKG_VERSION")));
        if matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")) {
            http = http.no_proxy();
        }
        let max_age = Duration::from_millis(settings.token_jwks_max_age_ms);
        let slow = BreakerSettings { slow_call_ms: settings.token_jwks_timeout_ms, ..BreakerSettings::default() };
        Ok(Arc::new(Self {
            http: http.build().context("the HTTP client for key sets")?,
            url,
            max_age,
            usable_for: max_age + Duration::from_millis(settings.token_jwks_stale_ms),
            min_interval: Duration::from_millis(settings.token_jwks_min_interval_ms),
            max_bytes: settings.token_jwks_max_bytes,
            breaker: Breaker::new("jwks", slow, platform.clock.clone()),
            clock: platform.clock.clone(),
            lifecycle: platform.lifecycle.clone(),
            fetched: ArcSwapOption::empty(),
            fetching: Arc::default(),
            last: std::sync::Mutex::default(),
            is_failing: AtomicBool::new(false),
        }))
    }

    /// The keys, while they may be used.
    pub(super) fn set(&self) -> Option<Arc<JwkSet>> {
        let fetched = self.fetched.load();
        let fetched = fetched.as_ref().filter(|fetched| self.age(fetched) < self.usable_for)?;
        Some(Arc::clone(&fetched.set))
    }

    /// Whether the last try to fetch came to nothing.
    pub(super) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Fetches the set unless that was tried a moment ago; returns when the fetch under way is over.
    pub(super) async fn refresh(self: &Arc<Self>) {
        let fetching = Arc::clone(&self.fetching).lock_owned().await;
        if !self.rest().is_zero() {
            return;
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.clock.monotonic());
        // In a task of its own: a caller that goes away must not take the fetch with it, which others wait for.
        let (done, waiting) = oneshot::channel();
        let this = Arc::clone(self);
        self.lifecycle.spawn("tokens.jwks.fetch", async move {
            this.fetch().await;
            drop(fetching);
            let _ = done.send(());
        });
        let _ = waiting.await;
    }

    /// Keeps the set fresh until the process stops.
    pub(super) async fn keep_fresh(self: Arc<Self>) {
        let stop = self.lifecycle.token();
        loop {
            let age = self.fetched.load().as_ref().map(|fetched| self.age(fetched));
            let fresh = age.map_or(Duration::ZERO, |age| self.max_age.saturating_sub(age));
            let wait = fresh.max(self.rest());
            let next = async {
                // A fetch that somebody asked for meanwhile makes the next one due later.
                if wait.is_zero() { self.refresh().await } else { self.clock.sleep(wait).await }
            };
            if stop.run_until_cancelled(next).await.is_none() {
                return;
            }
        }
    }

    /// How long it may not be asked again.
    fn rest(&self) -> Duration {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let since = last.map(|last| self.clock.monotonic().saturating_sub(last));
        since.map_or(Duration::ZERO, |since| self.min_interval.saturating_sub(since))
    }

    fn age(&self, fetched: &Fetched) -> Duration {
        self.clock.monotonic().saturating_sub(fetched.at)
    }

    async fn fetch(&self) {
        let host = self.url.host_str().unwrap_or_default();
        let outcome = match self.breaker.call(self.get(), |_| true).await {
            Ok(Ok(set)) => {
                set.skipped().iter().for_each(|key| tracing::warn!(host, %key, "a published key is not used"));
                let keys = set.len();
                let fetched = Fetched { set: Arc::new(set), at: self.clock.monotonic() };
                self.fetched.store(Some(Arc::new(fetched)));
                tracing::info!(host, keys, "the keys of access tokens were fetched");
                "fetched"
            }
            Ok(Err(error)) => {
                tracing::warn!(host, error = format!("{error:#}"), "the keys of access tokens could not be fetched");
                "failed"
            }
            Err(open) => {
                tracing::debug!(host, %open, "the keys of access tokens were not asked for");
                "skipped"
            }
        };
        self.is_failing.store(outcome != "fetched", Ordering::Relaxed);
        metrics::counter!("synapse_jwks_fetches_total", "outcome" => outcome).increment(1);
    }

    async fn get(&self) -> anyhow::Result<JwkSet> {
        let request = self.http.get(self.url.clone()).header(http::header::ACCEPT, "application/json");
        let mut response = request.send().await.map_err(reqwest::Error::without_url)?;
        anyhow::ensure!(response.status() == StatusCode::OK, "the answer's status is {}", response.status());
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            anyhow::ensure!(document.len() + chunk.len() <= self.max_bytes, "it is over {} bytes", self.max_bytes);
            document.extend_from_slice(&chunk);
        }
        let set = JwkSet::parse(&document)?;
        // Good keys are not given up for an answer without any.
        anyhow::ensure!(!set.is_empty(), "none of its {} keys can be used", set.skipped().len());
        Ok(set)
    }
}
