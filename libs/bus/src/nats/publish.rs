//! Publishing. Atomic batches where the server has them; else waves, in which each key is under way once: when a
//! message is lost with its connection, none of its key can have overtaken it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use async_nats::StatusCode;
use async_nats::header::{HeaderMap, HeaderName, HeaderValue, NATS_MESSAGE_ID};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::{BoxFuture, ready};
use futures::stream::FuturesUnordered;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::stream::EVENTS;
use super::{Link, claims};
use crate::lanes::Lanes;
use crate::meter::Published;
use crate::wire::{self, Claim};
use crate::{BusError, BusErrorKind, Envelope};

const BATCH_ID: HeaderName = HeaderName::from_static("Nats-Batch-Id");
const BATCH_SEQUENCE: HeaderName = HeaderName::from_static("Nats-Batch-Sequence");
const BATCH_COMMIT: HeaderName = HeaderName::from_static("Nats-Batch-Commit");
/// Servers hold an unfinished batch in memory.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

struct Job {
    envelope: Envelope,
    claim: Option<Claim>,
    done: oneshot::Sender<Result<(), BusError>>,
    _place: OwnedSemaphorePermit,
}

/// The way into the publishing task.
pub(super) struct Queue {
    jobs: mpsc::UnboundedSender<Vec<Job>>,
    /// Bounds what waits in `jobs`.
    places: Arc<Semaphore>,
    published: Published,
}

pub(super) fn start(link: &Arc<Link>) -> Queue {
    let (jobs, receiver) = mpsc::unbounded_channel();
    let published = Published::new("nats");
    let writer = Writer { link: Arc::clone(link), jobs: receiver, queue: VecDeque::new(), batches: 0 };
    tokio::spawn(writer.run());
    Queue { jobs, places: Arc::new(Semaphore::new(link.options.publish_queue)), published }
}

impl Queue {
    pub(super) fn publish(&self, link: &Link, batch: Vec<Envelope>) -> Vec<BoxFuture<'static, Result<(), BusError>>> {
        let span = tracing::debug_span!(
            "publish",
            messaging.system = "nats",
            messaging.operation.type = "send",
            messaging.destination.name = link.options.stream,
            messaging.batch.message_count = batch.len()
        );
        let _entered = span.enter();
        let mut failed: HashSet<String> = HashSet::new();
        let mut jobs = Vec::with_capacity(batch.len());
        let mut results = Vec::with_capacity(batch.len());
        for envelope in batch {
            let result = if failed.contains(&envelope.key) { Err(behind()) } else { self.admit(link, &envelope) };
            match result {
                Ok(place) => {
                    let (done, outcome) = oneshot::channel();
                    jobs.push(Job { envelope, claim: None, done, _place: place });
                    results.push(self.outcome(outcome));
                }
                Err(error) => {
                    failed.insert(envelope.key);
                    self.published.failed.increment(1);
                    results.push(Box::pin(ready(Err(error))));
                }
            }
        }
        // When the task has ended, the jobs' senders are dropped with them and each outcome says `Closed`.
        let _ = self.jobs.send(jobs);
        results
    }

    fn admit(&self, link: &Link, envelope: &Envelope) -> Result<OwnedSemaphorePermit, BusError> {
        link.check_open()?;
        wire::check(envelope)?;
        let (size, most) = (envelope.data.len(), link.options.max_payload_bytes);
        if size > most {
            return Err(BusError::new(
                BusErrorKind::Invalid,
                format!("data: {size} bytes; at most {most} are allowed"),
            ));
        }
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let most = link.options.publish_queue;
            BusError::new(BusErrorKind::Full, format!("{most} events wait to be published already"))
        })
    }

    fn outcome(&self, outcome: oneshot::Receiver<Result<(), BusError>>) -> BoxFuture<'static, Result<(), BusError>> {
        let published = self.published.clone();
        Box::pin(async move {
            let result =
                outcome.await.unwrap_or_else(|_| Err(BusError::new(BusErrorKind::Closed, "the bus is closed")));
            let counter = if result.is_ok() { &published.ok } else { &published.failed };
            counter.increment(1);
            result
        })
    }
}

fn behind() -> BusError {
    BusError::new(BusErrorKind::Unavailable, "an earlier event of the same key was not published")
}

fn lost() -> BusError {
    BusError::new(BusErrorKind::Unavailable, "the connection to NATS broke before the confirmation; it may be stored")
}

struct Writer {
    link: Arc<Link>,
    jobs: mpsc::UnboundedReceiver<Vec<Job>>,
    queue: VecDeque<Job>,
    batches: u64,
}

impl Writer {
    async fn run(mut self) {
        let closed = self.link.closed.clone();
        loop {
            let jobs = tokio::select! {
                () = closed.cancelled() => return,
                jobs = self.jobs.recv() => jobs,
            };
            let Some(jobs) = jobs else { return };
            self.queue.extend(jobs);
            while !self.queue.is_empty() {
                tokio::select! {
                    () = closed.cancelled() => return,
                    () = self.step() => {}
                }
                while let Ok(jobs) = self.jobs.try_recv() {
                    self.queue.extend(jobs);
                }
            }
        }
    }

    async fn step(&mut self) {
        let batch = self.next_batch();
        let failed = if self.link.features.atomic && batch.len() > 1 {
            match self.atomic(batch).await {
                Ok(failed) => failed,
                // Nothing was stored. One that was stored before refuses its whole batch; alone it is recognised.
                Err(batch) => self.wave(batch).await,
            }
        } else {
            self.wave(batch).await
        };
        if !failed.is_empty() {
            let queue = std::mem::take(&mut self.queue);
            for job in queue {
                if failed.contains(&job.envelope.key) {
                    let _ = job.done.send(Err(behind()));
                } else {
                    self.queue.push_back(job);
                }
            }
        }
    }

    fn next_batch(&mut self) -> Vec<Job> {
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(job) = self.queue.front() {
            bytes += job.envelope.data.len().min(self.link.options.max_inline_bytes);
            if batch.len() >= self.link.options.publish_window || (!batch.is_empty() && bytes > BATCH_BYTES) {
                break;
            }
            batch.extend(self.queue.pop_front());
        }
        batch
    }

    /// All or none. Gives the batch back when it has to go one by one, else the keys that failed.
    async fn atomic(&mut self, mut batch: Vec<Job>) -> Result<HashSet<String>, Vec<Job>> {
        self.batches += 1;
        let id = format!("{}-{}", self.link.client.new_inbox().rsplit('.').next().unwrap_or("b"), self.batches);
        let count = batch.len();
        let mut commit = None;
        for (index, job) in batch.iter_mut().enumerate() {
            let sent = async {
                let (subject, mut headers, payload) = message(&self.link, job).await?;
                headers.insert(BATCH_ID, id.as_str());
                headers.insert(BATCH_SEQUENCE, HeaderValue::from(index + 1));
                if index + 1 == count {
                    headers.insert(BATCH_COMMIT, "1");
                    let sending = self.link.replies.send(subject, headers, payload);
                    return Ok::<_, BusError>(Some(self.link.hand_over(sending).await?));
                }
                let sending = async {
                    let sent = self.link.client.publish_with_headers(subject, headers, payload).await;
                    sent.map_err(|error| super::failed("can't send", error))
                };
                self.link.hand_over(sending).await?;
                Ok(None)
            };
            match sent.await {
                Ok(reply) => commit = reply,
                // Never committed; the server forgets it after 10 s. Alone, only the one at fault fails.
                Err(error) => {
                    tracing::debug!(%error, "a batch goes one by one");
                    return Err(batch);
                }
            }
        }
        let Some(commit) = commit else { return Err(batch) };
        match confirmation(&self.link, commit.wait()).await {
            Ok(()) => {
                for job in batch {
                    let _ = job.done.send(Ok(()));
                }
                Ok(HashSet::new())
            }
            Err(Refusal::Server(text)) => {
                tracing::debug!(reason = text, "a batch goes one by one");
                Err(batch)
            }
            Err(Refusal::Lost(_)) => Ok(batch
                .into_iter()
                .map(|job| {
                    let _ = job.done.send(Err(lost()));
                    job.envelope.key
                })
                .collect()),
        }
    }

    /// Each key is under way once; returns the keys that failed.
    async fn wave(&mut self, batch: Vec<Job>) -> HashSet<String> {
        let mut lanes = Lanes::new();
        for (position, job) in batch.into_iter().enumerate() {
            let key = job.envelope.key.clone();
            lanes.insert(&key, position as u128, job);
        }
        let mut failed = HashSet::new();
        let mut under_way = FuturesUnordered::new();
        loop {
            while let Some((key, position, mut job)) = lanes.take(|_| true) {
                let link = Arc::clone(&self.link);
                under_way.push(async move {
                    let result = publish_one(&link, &mut job).await;
                    (key, position, job, result)
                });
            }
            let Some((key, position, job, result)) = under_way.next().await else { return failed };
            if result.is_err() {
                for waiting in lanes.take_waiting(&key) {
                    let _ = waiting.done.send(Err(behind()));
                }
                failed.insert(key.clone());
            }
            lanes.settle(&key, position);
            let _ = job.done.send(result);
        }
    }
}

async fn publish_one(link: &Link, job: &mut Job) -> Result<(), BusError> {
    let (subject, headers, payload) = message(link, job).await?;
    confirmed(link, subject, headers, payload).await
}

/// Publishes to a stream and waits until it is stored.
pub(super) async fn confirmed(
    link: &Link,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<(), BusError> {
    let reply = link.hand_over(link.replies.send(subject, headers, payload)).await?;
    match confirmation(link, reply.wait()).await {
        Ok(()) => Ok(()),
        Err(Refusal::Lost(error)) => Err(error),
        Err(Refusal::Server(text)) => {
            Err(BusError::new(BusErrorKind::Unavailable, format!("the stream refuses the message: {text}")))
        }
    }
}

enum Refusal {
    Server(String),
    Lost(BusError),
}

#[derive(Deserialize)]
struct Confirmation {
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    err_code: Option<u64>,
    description: Option<String>,
}

async fn confirmation(link: &Link, reply: impl Future<Output = Option<async_nats::Message>>) -> Result<(), Refusal> {
    let lost = |error: BusError| Err(Refusal::Lost(error));
    let waited = tokio::select! {
        biased;
        reply = link.clock.timeout(link.options.publish_timeout, reply) => reply,
        () = link.disconnected() => return lost(self::lost()),
    };
    let Some(message) = waited.flatten() else {
        return lost(BusError::new(BusErrorKind::Unavailable, "no confirmation from JetStream in time"));
    };
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        // The stream vanished: make it again, so that the next attempt succeeds.
        if let Err(error) = super::stream::ensure(link).await {
            tracing::warn!(%error, "the streams are gone and can't be made again yet");
        }
        return lost(BusError::new(BusErrorKind::Unavailable, "no stream took the message"));
    }
    match serde_json::from_slice::<Confirmation>(&message.payload) {
        Ok(Confirmation { error: None }) => Ok(()),
        Ok(Confirmation { error: Some(error) }) => Err(Refusal::Server(format!(
            "{} (error {})",
            error.description.unwrap_or_default(),
            error.err_code.unwrap_or_default()
        ))),
        Err(error) => Err(Refusal::Server(format!("unreadable confirmation: {error}"))),
    }
}

async fn message(link: &Link, job: &mut Job) -> Result<(String, HeaderMap, Bytes), BusError> {
    let envelope = &job.envelope;
    let mut headers = wire::to_headers(envelope)?;
    headers.insert(NATS_MESSAGE_ID, percent_encoded(&envelope.unique_id()).as_str());
    let partition = link.options.partition(&envelope.key);
    let subject = format!("{EVENTS}.{}.{partition:02}", envelope.kind);
    if envelope.data.len() <= link.options.max_inline_bytes {
        return Ok((subject, headers, envelope.data.clone()));
    }
    if job.claim.is_none() {
        job.claim = Some(claims::store(link, &envelope.data).await?);
    }
    if let Some(claim) = &job.claim {
        wire::add_claim(&mut headers, claim);
    }
    Ok((subject, headers, Bytes::new()))
}

/// Header values are ASCII; a source may hold anything that CloudEvents allows.
fn percent_encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::CONTROLS).to_string()
}
