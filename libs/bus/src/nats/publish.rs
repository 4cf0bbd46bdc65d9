//! Publishing: the way in. How what waits is sent and confirmed: `writer.rs`.

mod confirm;
mod writer;

use std::collections::HashSet;
use std::sync::Arc;

use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use bytes::Bytes;
use futures::future::{BoxFuture, ready};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::stream::EVENTS;
use super::{Link, claims};
use crate::meter::Published;
use crate::wire::{self, Claim};
use crate::{BusError, BusErrorKind, Envelope};

pub(super) use confirm::confirmed;

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
    tokio::spawn(writer::Writer::new(Arc::clone(link)).run(receiver));
    Queue { jobs, places: Arc::new(Semaphore::new(link.options.publish_queue)), published }
}

impl Queue {
    pub(super) fn publish(&self, link: &Link, batch: Vec<Envelope>) -> Vec<BoxFuture<'static, Result<(), BusError>>> {
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
