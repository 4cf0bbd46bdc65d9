//! One pooled HTTP client for Stripe: timeouts, idempotency keys, retries, rate limits, breaker.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use backon::{BackoffBuilder, ExponentialBuilder};
use clock::{Clock, Entropy};
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::redirect::Policy;
use secrecy::ExposeSecret;
use serde_json::Value;
use service::breaker::Breaker;
use stripe_client_core::StripeMethod;
use tokio::sync::Semaphore;
use url::Url;

use super::failure::{Class, Head, StripeFailure, classify};
use super::pace::Pacer;
use super::requests::{Call, Endpoint};
use crate::config::StripeConfig;

/// Largest answer read, bytes: a page of a hundred subscriptions is about 400 KB.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Sends calls to Stripe.
pub(crate) struct Transport {
    config: StripeConfig,
    base: String,
    http: reqwest::Client,
    permits: Semaphore,
    pacers: [Pacer; Endpoint::COUNT],
    /// How many share the rate.
    processes: AtomicU32,
    breaker: Breaker,
    clock: Clock,
    entropy: Entropy,
}

impl Transport {
    /// A transport; connects when it is first used.
    pub(crate) fn try_new(config: StripeConfig, clock: Clock, entropy: Entropy) -> anyhow::Result<Self> {
        let base = Url::parse(&config.base_url).context("stripe.base_url")?;
        let mut http = reqwest::Client::builder()
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
            .timeout(Duration::from_millis(config.request_timeout_ms))
            .pool_max_idle_per_host(config.concurrency)
            .redirect(Policy::none())
            .user_agent(concat!("synapse-subscription/", env!("CARGO_PKG_VERSION")));
        if matches!(base.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")) {
            // An emulator on this machine is not behind the machine's proxy.
            http = http.no_proxy();
        }
        let longest_wait = Duration::from_millis(config.rate_wait_ms);
        Ok(Self {
            base: format!("{}/v1", config.base_url.trim_end_matches('/')),
            http: http.build().context("the HTTP client for Stripe")?,
            permits: Semaphore::new(config.concurrency),
            pacers: std::array::from_fn(|_| Pacer::new(config.rate_per_endpoint, longest_wait)),
            processes: AtomicU32::new(1),
            breaker: Breaker::new("stripe", config.breaker.clone(), clock.clone()),
            config,
            clock,
            entropy,
        })
    }

    /// So many processes share the rate from now on.
    pub(crate) fn share(&self, processes: u32) {
        self.processes.store(processes, Ordering::Relaxed);
    }

    /// Sends a call until it is answered, refused, or no time or try is left. Every try has the same idempotency key.
    pub(crate) async fn send(&self, call: &Call) -> Result<Value, StripeFailure> {
        Ok(self.send_telling_replays(call).await?.0)
    }

    /// The same, and whether the answer is a stored one that an earlier request with this key was given: what it says may
    /// be over.
    pub(crate) async fn send_telling_replays(&self, call: &Call) -> Result<(Value, bool), StripeFailure> {
        let started = self.clock.monotonic();
        let mut waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(self.config.backoff_ms))
            .with_max_delay(Duration::from_millis(self.config.backoff_max_ms))
            .with_max_times(self.config.max_retries)
            .build();
        loop {
            let failure = match self.attempt(call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            tracing::warn!(endpoint = call.endpoint.name(), class = failure.class.name(), %failure, "a call to Stripe failed");
            let spent = self.clock.monotonic().saturating_sub(started);
            let Some(wait) = self.wait_before_retry(&failure, waits.next(), spent) else { return Err(failure) };
            self.clock.sleep(wait).await;
        }
    }

    /// How long to wait before the next try; `None` when there is none.
    fn wait_before_retry(&self, failure: &StripeFailure, bound: Option<Duration>, spent: Duration) -> Option<Duration> {
        let bound = bound.filter(|_| failure.may_retry())?;
        let millis = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        let jittered = Duration::from_millis(self.entropy.up_to(millis));
        let asked = failure.retry_after.unwrap_or_default();
        if asked > Duration::from_millis(self.config.backoff_max_ms) {
            return None;
        }
        let wait = jittered.max(asked);
        (spent + wait < Duration::from_millis(self.config.total_timeout_ms)).then_some(wait)
    }

    /// One try.
    async fn attempt(&self, call: &Call) -> Result<(Value, bool), StripeFailure> {
        let not_sent = |wait: Option<Duration>, why: &str| StripeFailure {
            retry_after: wait,
            ..StripeFailure::new(Class::NotSent, why)
        };
        let acquire = || {
            self.breaker.try_acquire().map_err(|open| {
                let wait = Duration::from_millis(open.retry_after_ms);
                not_sent(Some(wait), "not asked, because it failed too often just now")
            })
        };
        // Nobody waits for a turn that won't be used; the wait itself is not held against Stripe.
        drop(acquire()?);
        let turn = self.pacers[call.endpoint as usize].turn(&self.clock, self.processes.load(Ordering::Relaxed)).await;
        turn.map_err(|wait| not_sent(Some(wait), "not asked, because too many calls wait for their turn"))?;
        let _permit = self.permits.acquire().await.map_err(|_| not_sent(None, "closed"))?;
        let leave = acquire()?;
        let began = self.clock.monotonic();
        let outcome = self.exchange(call).await;
        let took = self.clock.monotonic().saturating_sub(began);
        let word = outcome.as_ref().map_or_else(|failure| failure.class.name(), |_| "ok");
        let endpoint = call.endpoint.name();
        metrics::histogram!("stripe_call_duration_seconds", "endpoint" => endpoint, "outcome" => word).record(took);
        match &outcome {
            Err(failure) if failure.class.is_outage() => leave.failure(),
            _ => leave.success(),
        }
        outcome
    }

    async fn exchange(&self, call: &Call) -> Result<(Value, bool), StripeFailure> {
        let url = match &call.request.query {
            Some(query) => format!("{}{}?{query}", self.base, call.request.path),
            None => format!("{}{}", self.base, call.request.path),
        };
        let request = match call.request.method {
            StripeMethod::Get => self.http.get(url),
            StripeMethod::Post => self.http.post(url),
            StripeMethod::Delete => self.http.delete(url),
        };
        let mut request = request
            .bearer_auth(self.config.secret_key.current().expose_secret())
            .header("stripe-version", &self.config.api_version);
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = &call.request.body {
            request = request.header("content-type", "application/x-www-form-urlencoded").body(body.clone());
        }
        let mut response = request.send().await.map_err(unsent_or_lost)?;
        let head = head_of(response.status().as_u16(), response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(cut_off)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(StripeFailure::new(
                    Class::Unreadable,
                    format!("the answer is over {MAX_ANSWER_BYTES} bytes"),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((classify(&head, &body)?, head.is_replay))
    }
}

fn unsent_or_lost(error: reqwest::Error) -> StripeFailure {
    // Without the URL: it names the customer.
    let error = error.without_url();
    if error.is_builder() {
        return StripeFailure::new(
            Class::Invalid,
            "the request can't be written; check stripe.secret_key for odd characters",
        );
    }
    // A connection that was not made in time is both.
    let (class, message) = if error.is_connect() {
        (Class::Connect, "no connection; nothing was sent")
    } else if error.is_timeout() {
        (Class::Timeout, "no answer in time")
    } else {
        (Class::Lost, "the connection broke before the answer came")
    };
    tracing::debug!(error = &error as &dyn std::error::Error, "{message}");
    StripeFailure::new(class, message)
}

fn cut_off(error: reqwest::Error) -> StripeFailure {
    if error.is_timeout() {
        return StripeFailure::new(Class::SlowBody, "the answer did not end in time");
    }
    StripeFailure::new(Class::Lost, "the connection broke within the answer")
}

fn head_of(status: u16, headers: &HeaderMap) -> Head {
    let text = |name: &'static str| {
        let value = headers.get(HeaderName::from_static(name))?;
        value.to_str().ok().map(str::to_owned)
    };
    Head {
        status,
        request_id: text("request-id"),
        retry_after: text("retry-after"),
        should_retry: text("stripe-should-retry"),
        is_html: text("content-type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html")),
        is_replay: text("idempotent-replayed").as_deref() == Some("true"),
    }
}
