//! Sending: per queue, each key is under way once, so that a batch that fails in part can't put a key out of order.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::{BoxFuture, ready, try_join_all};
use futures::stream::FuturesUnordered;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{Sqs, failed};
use crate::lanes::Lanes;
use crate::meter::Published;
use crate::nats::claims;
use crate::wire;
use crate::{BusError, BusErrorKind, Envelope};

/// SQS takes at most ten messages at once.
const BATCH: usize = 10;
/// And at most 256 KiB together.
const BATCH_BYTES: usize = 256 * 1024;

struct Job {
    envelope: Arc<Envelope>,
    done: oneshot::Sender<Result<(), BusError>>,
    _place: OwnedSemaphorePermit,
}

struct Queue {
    jobs: mpsc::UnboundedSender<Vec<Job>>,
    /// Bounds what waits in `jobs`.
    places: Arc<Semaphore>,
}

/// The way into the queues of all subscribing services.
pub(super) struct Sender {
    queues: BTreeMap<String, Queue>,
    published: Published,
}

impl Sender {
    pub(super) async fn start(sqs: &Arc<Sqs>) -> Result<Self, BusError> {
        let mut queues = BTreeMap::new();
        for service in sqs.options.services() {
            let url = sqs.queue(&service).await?;
            let (jobs, receiver) = mpsc::unbounded_channel();
            let writer = Writer { sqs: Arc::clone(sqs), url, jobs: receiver, lanes: Lanes::new(), next: 0 };
            tokio::spawn(writer.run());
            queues.insert(service, Queue { jobs, places: Arc::new(Semaphore::new(sqs.options.publish_queue)) });
        }
        Ok(Self { queues, published: Published::new("sqs") })
    }

    pub(super) fn publish(&self, sqs: &Sqs, batch: Vec<Envelope>) -> Vec<BoxFuture<'static, Result<(), BusError>>> {
        let mut broken: HashSet<String> = HashSet::new();
        let mut jobs: BTreeMap<&str, Vec<Job>> = BTreeMap::new();
        let mut results: Vec<BoxFuture<'static, Result<(), BusError>>> = Vec::with_capacity(batch.len());
        for envelope in batch {
            let envelope = Arc::new(envelope);
            let admitted = if broken.contains(&envelope.key) { Err(behind()) } else { self.admit(sqs, &envelope) };
            let queued = match admitted {
                Ok(queued) => queued,
                Err(error) => {
                    broken.insert(envelope.key.clone());
                    self.published.failed.increment(1);
                    results.push(Box::pin(ready(Err(error))));
                    continue;
                }
            };
            let mut outcomes = Vec::new();
            for (service, place) in queued {
                let (done, outcome) = oneshot::channel();
                jobs.entry(service).or_default().push(Job { envelope: Arc::clone(&envelope), done, _place: place });
                outcomes.push(outcome);
            }
            results.push(self.outcome(outcomes));
        }
        for (service, jobs) in jobs {
            if let Some(queue) = self.queues.get(service) {
                // When its task has ended, the jobs are dropped and each outcome says `Closed`.
                let _ = queue.jobs.send(jobs);
            }
        }
        results
    }

    fn admit(&self, sqs: &Sqs, envelope: &Envelope) -> Result<Vec<(&str, OwnedSemaphorePermit)>, BusError> {
        sqs.check_open()?;
        wire::check(envelope)?;
        let (size, most) = (envelope.data.len(), sqs.options.nats.max_payload_bytes);
        if size > most {
            return Err(BusError::new(
                BusErrorKind::Invalid,
                format!("data: {size} bytes; at most {most} are allowed"),
            ));
        }
        let services = sqs.options.routes(&envelope.kind);
        let mut queued = Vec::with_capacity(services.len());
        for service in services {
            let Some((name, queue)) = self.queues.get_key_value(&service) else { continue };
            let place = Arc::clone(&queue.places).try_acquire_owned().map_err(|_| {
                let most = sqs.options.publish_queue;
                BusError::new(BusErrorKind::Full, format!("{most} events wait for the queue of {service} already"))
            })?;
            queued.push((name.as_str(), place));
        }
        Ok(queued)
    }

    fn outcome(
        &self,
        outcomes: Vec<oneshot::Receiver<Result<(), BusError>>>,
    ) -> BoxFuture<'static, Result<(), BusError>> {
        let published = self.published.clone();
        Box::pin(async move {
            let closed = || BusError::new(BusErrorKind::Closed, "the bus is closed");
            let each =
                outcomes.into_iter().map(|outcome| async move { outcome.await.unwrap_or_else(|_| Err(closed())) });
            let result = try_join_all(each).await.map(|_| ());
            let counter = if result.is_ok() { &published.ok } else { &published.failed };
            counter.increment(1);
            result
        })
    }
}

fn behind() -> BusError {
    BusError::new(BusErrorKind::Unavailable, "an earlier event of the same key was not published")
}

type Out = (String, u128, Job);

struct Writer {
    sqs: Arc<Sqs>,
    url: String,
    jobs: mpsc::UnboundedReceiver<Vec<Job>>,
    lanes: Lanes<Job>,
    next: u128,
}

impl Writer {
    async fn run(mut self) {
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < self.sqs.options.publish_batches {
                let batch = self.next_batch();
                if batch.is_empty() {
                    break;
                }
                under_way.push(send(Arc::clone(&self.sqs), self.url.clone(), batch));
            }
            tokio::select! {
                () = self.sqs.closed.cancelled() => return,
                jobs = self.jobs.recv() => match jobs {
                    Some(jobs) => for job in jobs {
                        self.next += 1;
                        let key = job.envelope.key.clone();
                        self.lanes.insert(&key, self.next, job);
                    },
                    None => return,
                },
                Some(sent) = under_way.next() => self.settle(sent),
            }
        }
    }

    /// Events of different keys: of each key only the first.
    fn next_batch(&mut self) -> Vec<Out> {
        let mut bytes = 0;
        let mut batch = Vec::new();
        let most = self.sqs.options.max_inline_bytes;
        while batch.len() < BATCH {
            // Attributes of at most 4 KiB come on top.
            let size = |job: &Job| 4096 + if job.envelope.data.len() > most { 0 } else { job.envelope.data.len() };
            let is_first = batch.is_empty();
            let Some(out) = self.lanes.take(|job| is_first || bytes + size(job) <= BATCH_BYTES) else { break };
            bytes += size(&out.2);
            batch.push(out);
        }
        batch
    }

    fn settle(&mut self, sent: Vec<(Out, Result<(), BusError>)>) {
        for ((key, position, job), result) in sent {
            if result.is_err() {
                for waiting in self.lanes.take_waiting(&key) {
                    let _ = waiting.done.send(Err(behind()));
                }
            }
            self.lanes.settle(&key, position);
            let _ = job.done.send(result);
        }
    }
}

async fn send(sqs: Arc<Sqs>, url: String, batch: Vec<Out>) -> Vec<(Out, Result<(), BusError>)> {
    let mut results: Vec<Option<Result<(), BusError>>> = batch.iter().map(|_| None).collect();
    let mut entries = Vec::with_capacity(batch.len());
    for (index, (_, _, job)) in batch.iter().enumerate() {
        match entry(&sqs, index, &job.envelope).await {
            Ok(entry) => entries.push(entry),
            Err(error) => results[index] = Some(Err(error)),
        }
    }
    if !entries.is_empty() {
        let sending = sqs.client.send_message_batch().queue_url(url).set_entries(Some(entries)).send();
        let _turn = sqs.turn().await;
        let sent = sqs.clock.timeout(sqs.options.call_timeout, sending).await;
        let whole = match &sent {
            Some(Ok(_)) => String::new(),
            Some(Err(error)) => aws_sdk_sqs::error::DisplayErrorContext(error).to_string(),
            None => "no answer in time".to_owned(),
        };
        if let Some(Ok(output)) = &sent {
            for stored in output.successful() {
                if let Some(slot) = stored.id().parse().ok().and_then(|index: usize| results.get_mut(index)) {
                    *slot = Some(Ok(()));
                }
            }
            for refused in output.failed() {
                let text =
                    format!("SQS refuses the event: {} {}", refused.code(), refused.message().unwrap_or_default());
                if let Some(slot) = refused.id().parse().ok().and_then(|index: usize| results.get_mut(index)) {
                    *slot = Some(Err(BusError::new(BusErrorKind::Unavailable, text)));
                }
            }
        }
        for slot in results.iter_mut().filter(|slot| slot.is_none()) {
            *slot = Some(Err(BusError::new(BusErrorKind::Unavailable, format!("can't send to SQS: {whole}"))));
        }
    }
    let settled = results.into_iter().map(|result| result.unwrap_or_else(|| Err(behind())));
    batch.into_iter().zip(settled).collect()
}

async fn entry(sqs: &Sqs, index: usize, envelope: &Envelope) -> Result<SendMessageBatchRequestEntry, BusError> {
    let claim = match envelope.data.len() > sqs.options.max_inline_bytes {
        true => Some(claims::store(&sqs.claims, &envelope.data).await?),
        false => None,
    };
    let body: Bytes = wire::encode(envelope, claim.as_ref())?;
    let body = String::from_utf8(body.into())
        .map_err(|error| BusError::new(BusErrorKind::Invalid, "the event is not UTF-8").with_source(error))?;
    let mut entry = SendMessageBatchRequestEntry::builder()
        .id(index.to_string())
        .message_body(body)
        .message_group_id(hex(&envelope.key, 32))
        // Ids are unique per source.
        .message_deduplication_id(format!("{}-{}", envelope.id, hex(&envelope.source, 8)))
        .message_attributes("ce-id", text(envelope.id.as_str())?)
        .message_attributes("ce-type", text(&format!("{}{}", wire::TYPE_PREFIX, envelope.kind))?);
    if let Some(parent) = envelope.trail.traceparent.as_deref().filter(|parent| !parent.is_empty()) {
        entry = entry.message_attributes("traceparent", text(parent)?);
    }
    entry.build().map_err(|error| failed("can't build a message", error))
}

fn text(value: &str) -> Result<MessageAttributeValue, BusError> {
    let built = MessageAttributeValue::builder().data_type("String").string_value(value).build();
    built.map_err(|error| failed("can't build an attribute", error))
}

/// As many bytes of the hash in hexadecimal: SQS's ids have a small alphabet and 128 characters.
fn hex(value: &str, bytes: usize) -> String {
    Sha256::digest(value.as_bytes()).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}
