//! Signed deliveries of events to webhook endpoints, with retries and disorder on demand.
//!
//! Each endpoint has one lane and one worker that sends one delivery at a time, so a plan's order is exactly what the
//! receiver sees. A receiver that is slow delays only its own lane.

mod lane;
mod plan;
mod record;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use aws_lc_rs::hmac;
use clock::{Clock, Entropy};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use lane::{Job, Lane, Step};
pub use plan::{DeliveryPlan, Order, RetryPolicy};
pub(crate) use record::Record;

use crate::options::Options;

/// The delivery side of one emulator.
#[derive(Debug)]
pub(crate) struct Deliveries {
    clock: Clock,
    entropy: Entropy,
    client: reqwest::Client,
    retry: RetryPolicy,
    queue_limit: usize,
    log_limit: usize,
    stop: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    plan: DeliveryPlan,
    endpoints: HashMap<String, Endpoint>,
    log: VecDeque<Record>,
}

#[derive(Debug)]
struct Endpoint {
    url: String,
    /// The newest first; older ones with the moment they expire.
    secrets: Vec<(String, u64)>,
    lane: Lane,
    in_flight: usize,
    wake: Arc<Notify>,
    stop: CancellationToken,
}

impl Deliveries {
    /// # Errors
    /// When the HTTP client cannot be built.
    pub(crate) fn try_new(options: &Options, stop: CancellationToken) -> anyhow::Result<Arc<Self>> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_millis(options.retry.timeout_ms))
            .build()
            .context("the webhook client")?;
        Ok(Arc::new(Self {
            clock: options.clock.clone(),
            entropy: options.entropy.clone(),
            client,
            retry: options.retry.clone(),
            queue_limit: options.limits.delivery_queue,
            log_limit: options.limits.deliveries_kept,
            stop,
            state: Mutex::new(State {
                plan: options.delivery.clone(),
                endpoints: HashMap::new(),
                log: VecDeque::new(),
            }),
        }))
    }

    /// Begins to deliver to an endpoint.
    pub(crate) fn open(self: &Arc<Self>, id: &str, url: &str, secret: &str) {
        let wake = Arc::new(Notify::new());
        let stop = self.stop.child_token();
        let endpoint = Endpoint {
            url: url.to_owned(),
            secrets: vec![(secret.to_owned(), u64::MAX)],
            lane: Lane::default(),
            in_flight: 0,
            wake: Arc::clone(&wake),
            stop: stop.clone(),
        };
        self.lock().endpoints.insert(id.to_owned(), endpoint);
        tokio::spawn(Arc::clone(self).work(id.to_owned(), wake, stop));
    }

    /// Delivers to another URL from now on.
    pub(crate) fn redirect(&self, id: &str, url: &str) {
        if let Some(endpoint) = self.lock().endpoints.get_mut(id) {
            endpoint.url = url.to_owned();
        }
    }

    /// Signs with another secret from now on, and with the newest one before for as long as it is said to live.
    pub(crate) fn roll(&self, id: &str, secret: &str, expire_in_s: u64) {
        let now_ms = self.clock.now_ms();
        if let Some(endpoint) = self.lock().endpoints.get_mut(id) {
            endpoint.secrets.truncate(1);
            endpoint.secrets[0].1 = now_ms.saturating_add(expire_in_s.saturating_mul(1_000));
            endpoint.secrets.insert(0, (secret.to_owned(), u64::MAX));
        }
    }

    /// Ends deliveries to an endpoint; what waits for it is forgotten.
    pub(crate) fn close(&self, id: &str) {
        if let Some(endpoint) = self.lock().endpoints.remove(id) {
            endpoint.stop.cancel();
        }
    }

    /// Queues an event for an endpoint.
    pub(crate) fn offer(&self, endpoint_id: &str, event: &str, event_type: &str, body: Arc<[u8]>) {
        let now_ms = self.clock.now_ms();
        let state = &mut *self.lock();
        let Some(endpoint) = state.endpoints.get_mut(endpoint_id) else { return };
        let job = Job { event: event.to_owned(), event_type: event_type.to_owned(), body, copy: 1, attempt: 1 };
        let mut record = Record::new(&job, endpoint_id, now_ms);
        if endpoint.lane.waiting(&state.plan) + state.plan.copies as usize > self.queue_limit {
            tracing::warn!(event, endpoint = endpoint_id, "the delivery queue is full, the event is not delivered");
            record.outcome = "overflow";
            keep(&mut state.log, record, self.log_limit);
        } else if endpoint.lane.offer(job, &state.plan, now_ms, &self.entropy) {
            endpoint.wake.notify_one();
        } else {
            record.outcome = "dropped";
            keep(&mut state.log, record, self.log_limit);
        }
    }

    /// The plan in force.
    pub(crate) fn plan(&self) -> DeliveryPlan {
        self.lock().plan.clone()
    }

    /// Changes the plan; windows being held follow the new one.
    pub(crate) fn set_plan(&self, plan: DeliveryPlan) {
        let mut state = self.lock();
        state.plan = plan;
        state.endpoints.values().for_each(|endpoint| endpoint.wake.notify_one());
    }

    /// How many deliveries wait or are under way, and the attempts kept, oldest first.
    pub(crate) fn seen(&self) -> (usize, Vec<Record>) {
        let state = self.lock();
        let pending =
            state.endpoints.values().map(|endpoint| endpoint.lane.waiting(&state.plan) + endpoint.in_flight).sum();
        (pending, state.log.iter().cloned().collect())
    }

    async fn work(self: Arc<Self>, id: String, wake: Arc<Notify>, stop: CancellationToken) {
        loop {
            let Some((step, url, secrets)) = self.step(&id) else { return };
            let wait = match step {
                Step::Send(job) => {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.attempt(&id, *job, &url, &secrets) => continue,
                    }
                }
                Step::WaitUntil(due_ms) => Some(due_ms.saturating_sub(self.clock.now_ms())),
                Step::Idle => None,
            };
            let sleep = async {
                match wait {
                    Some(wait_ms) => self.clock.sleep(Duration::from_millis(wait_ms)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = wake.notified() => {}
                () = sleep => {}
            }
        }
    }

    fn step(&self, id: &str) -> Option<(Step, String, Vec<String>)> {
        let now_ms = self.clock.now_ms();
        let state = &mut *self.lock();
        let endpoint = state.endpoints.get_mut(id)?;
        let step = endpoint.lane.next(&state.plan, now_ms, &self.entropy);
        if matches!(step, Step::Send(_)) {
            endpoint.in_flight += 1;
        }
        endpoint.secrets.retain(|(_, until_ms)| *until_ms > now_ms);
        let secrets = endpoint.secrets.iter().map(|(secret, _)| secret.clone()).collect();
        Some((step, endpoint.url.clone(), secrets))
    }

    async fn attempt(&self, id: &str, mut job: Job, url: &str, secrets: &[String]) {
        let now_ms = self.clock.now_ms();
        let sent = self
            .client
            .post(url)
            .header("Content-Type", "application/json; charset=utf-8")
            .header("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
            .header("Stripe-Signature", signature(secrets, now_ms / 1_000, &job.body))
            .body(job.body.to_vec())
            .send()
            .await;
        let mut record = Record::new(&job, id, now_ms);
        let delivered = match sent {
            Ok(response) => {
                record.status = Some(response.status().as_u16());
                response.status().is_success()
            }
            Err(error) => {
                record.error = Some(error.without_url().to_string());
                false
            }
        };
        let wait_ms = if delivered { None } else { self.retry.wait_ms(job.attempt) };
        record.outcome = match (delivered, wait_ms) {
            (true, _) => "delivered",
            (false, Some(_)) => "retrying",
            (false, None) => "gave_up",
        };
        job.attempt += 1;
        let state = &mut *self.lock();
        keep(&mut state.log, record, self.log_limit);
        if let Some(endpoint) = state.endpoints.get_mut(id) {
            endpoint.in_flight -= 1;
            if let Some(wait_ms) = wait_ms {
                endpoint.lane.again(job, self.clock.now_ms().saturating_add(wait_ms));
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The `Stripe-Signature` header: HMAC-SHA256 with the whole `whsec_…` text over `"{t}."` and the raw body, once per
/// secret. Source: Stripe's documentation, "Verify webhook signatures manually".
fn signature(secrets: &[String], now_s: u64, body: &[u8]) -> String {
    let mut header = format!("t={now_s}");
    for secret in secrets {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{now_s}.").as_bytes());
        context.update(body);
        header += ",v1=";
        header.extend(context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")));
    }
    header
}

fn keep(log: &mut VecDeque<Record>, record: Record, limit: usize) {
    log.push_back(record);
    while log.len() > limit {
        log.pop_front();
    }
}
