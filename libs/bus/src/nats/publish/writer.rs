//! The task that sends what waits. Each key is under way once: in a message of its own or in one atomic batch. So nothing
//! of a key can overtake what a broken connection lost or the server refused, and messages and batches of different
//! keys go side by side.
//!
//! A batch costs the server about twice what its messages cost alone (it stages them in a store of their own first), so
//! only keys of which several events wait go into one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use async_nats::header::{HeaderName, HeaderValue};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;

use super::confirm::{self, Refusal, broken, make_streams, too_late, verdict};
use super::{Job, behind, message};
use crate::BusError;
use crate::lanes::Lanes;
use crate::nats::Link;
use crate::nats::replies::Reply;

const BATCH_ID: HeaderName = HeaderName::from_static("Nats-Batch-Id");
const BATCH_SEQUENCE: HeaderName = HeaderName::from_static("Nats-Batch-Sequence");
const BATCH_COMMIT: HeaderName = HeaderName::from_static("Nats-Batch-Commit");
/// Servers hold an unfinished batch in memory.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Fewer than this many events of crowded keys are sooner through one after the other.
const BATCH_MIN: usize = 8;

/// Events by their key, and whether they are stored.
type Settled = Vec<(Arc<str>, bool)>;

pub(super) struct Writer {
    link: Arc<Link>,
    lanes: HashMap<Arc<str>, Lane>,
    /// Keys that have something waiting and nothing under way.
    ready: VecDeque<Arc<str>>,
    /// Sent, in order; the server answers in order.
    sent: VecDeque<Sent>,
    /// Large payloads on their way, and refused batches whose messages go one by one.
    slow: FuturesUnordered<BoxFuture<'static, Settled>>,
    /// Events in `sent` and `slow`.
    under_way: usize,
    batches: u64,
    /// When the streams were last made anew.
    made_at: Duration,
}

/// What waits of one key.
#[derive(Default)]
struct Lane {
    is_under_way: bool,
    waiting: VecDeque<Job>,
}

/// A message or a batch that waits for its confirmation.
struct Sent {
    at: Duration,
    reply: Reply,
    jobs: Jobs,
}

// Nearly all are the large one, and boxing it would cost each an allocation.
#[expect(clippy::large_enum_variant)]
enum Jobs {
    One(Arc<str>, Job),
    Batch(Vec<(Arc<str>, Job)>),
}

impl Jobs {
    fn len(&self) -> usize {
        match self {
            Self::One(..) => 1,
            Self::Batch(jobs) => jobs.len(),
        }
    }

    fn into_vec(self) -> Vec<(Arc<str>, Job)> {
        match self {
            Self::One(key, job) => vec![(key, job)],
            Self::Batch(jobs) => jobs,
        }
    }
}

impl Writer {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            sent: VecDeque::new(),
            slow: FuturesUnordered::new(),
            under_way: 0,
            batches: 0,
            made_at: Duration::ZERO,
        }
    }

    pub(super) async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Vec<Job>>) {
        let link = Arc::clone(&self.link);
        loop {
            tokio::select! {
                () = link.closed.cancelled() => return,
                () = self.send() => {}
            }
            let patience = self.sent.front().map_or(Duration::MAX, |sent| {
                (sent.at + link.options.publish_timeout).saturating_sub(link.clock.monotonic())
            });
            let is_waiting = !self.sent.is_empty();
            tokio::select! {
                biased;
                () = link.closed.cancelled() => return,
                reply = front(&mut self.sent), if is_waiting => {
                    self.answered(reply).await;
                    while let Some(reply) = front(&mut self.sent).now_or_never() {
                        self.answered(reply).await;
                    }
                }
                Some(done) = self.slow.next() => {
                    for (key, is_stored) in done {
                        self.under_way -= 1;
                        self.settle(&key, is_stored);
                    }
                }
                () = link.disconnected(), if is_waiting => {
                    while let Some(sent) = self.sent.pop_front() {
                        self.fail(sent.jobs, broken);
                    }
                }
                () = link.clock.sleep(patience), if is_waiting => {
                    if let Some(sent) = self.sent.pop_front() {
                        self.fail(sent.jobs, too_late);
                    }
                }
                jobs = queue.recv() => match jobs {
                    Some(jobs) => self.enqueue(jobs),
                    None => return,
                },
            }
            while let Ok(jobs) = queue.try_recv() {
                self.enqueue(jobs);
            }
        }
    }

    fn enqueue(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            let key = job.envelope.key.as_str();
            if let Some(lane) = self.lanes.get_mut(key) {
                lane.waiting.push_back(job);
            } else {
                let key: Arc<str> = key.into();
                self.ready.push_back(Arc::clone(&key));
                self.lanes.insert(key, Lane { is_under_way: false, waiting: VecDeque::from([job]) });
            }
        }
    }

    fn room(&self) -> usize {
        self.link.options.publish_window.saturating_sub(self.under_way)
    }

    /// Sends what may go: keys with one event by themselves, crowded ones together.
    async fn send(&mut self) {
        let batches = self.link.features.atomic && self.link.options.publish_window > 1;
        let (mut crowded, mut crowd) = (Vec::new(), 0);
        while self.room() > crowd
            && let Some(key) = self.ready.pop_front()
        {
            let waiting = self.lanes.get(&key).map_or(0, |lane| lane.waiting.len());
            if batches && waiting > 1 {
                crowd += waiting;
                crowded.push(key);
            } else {
                self.send_first(key).await;
            }
        }
        if crowd < BATCH_MIN {
            for key in crowded {
                self.send_first(key).await;
            }
            return;
        }
        // Half the window, so that the next one is made while the server is at this one.
        let most = (self.link.options.publish_window / 2).max(2);
        let mut keys = VecDeque::from(crowded);
        // Small batches are dear: rather wait for room.
        while !keys.is_empty() && (self.room() >= BATCH_MIN || self.under_way == 0) {
            let batch = self.next_batch(&mut keys, most.min(self.room()));
            self.send_batch(batch).await;
        }
        // Their turn comes first when there is room again.
        while let Some(key) = keys.pop_back() {
            self.ready.push_front(key);
        }
    }

    /// Up to `most` events from the front of these keys' lanes.
    fn next_batch(&mut self, keys: &mut VecDeque<Arc<str>>, most: usize) -> Vec<(Arc<str>, Job)> {
        let mut batch: Vec<(Arc<str>, Job)> = Vec::with_capacity(most);
        let mut bytes = 0;
        while batch.len() < most
            && let Some(key) = keys.pop_front()
        {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            while batch.len() < most
                && let Some(job) = lane.waiting.front()
            {
                bytes += job.envelope.data.len().min(self.link.options.max_inline_bytes);
                if bytes > BATCH_BYTES && !batch.is_empty() {
                    if !lane.is_under_way {
                        keys.push_front(key);
                    }
                    return batch;
                }
                lane.is_under_way = true;
                batch.extend(lane.waiting.pop_front().map(|job| (Arc::clone(&key), job)));
            }
        }
        batch
    }

    /// Sends the first event that waits of a key by itself.
    async fn send_first(&mut self, key: Arc<str>) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let Some(mut job) = lane.waiting.pop_front() else { return };
        lane.is_under_way = true;
        self.under_way += 1;
        let link = Arc::clone(&self.link);
        if job.envelope.data.len() > link.options.max_inline_bytes {
            self.slow.push(one_by_one(link, vec![(key, job)]).boxed());
            return;
        }
        let at = link.clock.monotonic();
        let sent = async {
            let (subject, headers, payload) = message(&link, &mut job).await?;
            link.hand_over(link.replies.send(subject, headers, payload)).await
        };
        match sent.await {
            Ok(reply) => self.sent.push_back(Sent { at, reply, jobs: Jobs::One(key, job) }),
            Err(error) => {
                self.under_way -= 1;
                let _ = job.done.send(Err(error));
                self.settle(&key, false);
            }
        }
    }

    /// All or none. What the server refuses goes one by one, so that only what is at fault fails.
    async fn send_batch(&mut self, mut jobs: Vec<(Arc<str>, Job)>) {
        self.under_way += jobs.len();
        if jobs.len() == 1 {
            return self.slow.push(one_by_one(Arc::clone(&self.link), jobs).boxed());
        }
        let at = self.link.clock.monotonic();
        match self.hand_over_batch(&mut jobs).await {
            Ok(Some(reply)) => self.sent.push_back(Sent { at, reply, jobs: Jobs::Batch(jobs) }),
            Ok(None) => {}
            // Never committed; the server forgets it after 10 s.
            Err(error) => {
                tracing::debug!(%error, "a batch goes one by one");
                self.slow.push(one_by_one(Arc::clone(&self.link), jobs).boxed());
            }
        }
    }

    /// The reply that will say whether it is stored.
    async fn hand_over_batch(&mut self, jobs: &mut [(Arc<str>, Job)]) -> Result<Option<Reply>, BusError> {
        self.batches += 1;
        let link = &self.link;
        let id = format!("{}-{}", link.client.new_inbox().rsplit('.').next().unwrap_or("b"), self.batches);
        let count = jobs.len();
        for (index, (_, job)) in jobs.iter_mut().enumerate() {
            let (subject, mut headers, payload) = message(link, job).await?;
            headers.insert(BATCH_ID, id.as_str());
            headers.insert(BATCH_SEQUENCE, HeaderValue::from(index + 1));
            if index + 1 == count {
                headers.insert(BATCH_COMMIT, "1");
                return link.hand_over(link.replies.send(subject, headers, payload)).await.map(Some);
            }
            let sending = async {
                let sent = link.client.publish_with_headers(subject, headers, payload).await;
                sent.map_err(|error| crate::nats::failed("can't send", error))
            };
            link.hand_over(sending).await?;
        }
        Ok(None)
    }

    /// The first that was sent has its answer; `None` when the bus closed.
    async fn answered(&mut self, reply: Option<async_nats::Message>) {
        let Some(Sent { at, jobs, .. }) = self.sent.pop_front() else { return };
        let verdict = reply.as_ref().map_or_else(|| Err(Refusal::Lost(broken())), verdict);
        match (verdict, jobs) {
            (Ok(()), Jobs::One(key, job)) => {
                self.under_way -= 1;
                let _ = job.done.send(Ok(()));
                self.settle(&key, true);
            }
            (Ok(()), Jobs::Batch(jobs)) => {
                self.under_way -= jobs.len();
                for (key, job) in jobs {
                    let _ = job.done.send(Ok(()));
                    self.settle(&key, true);
                }
            }
            // One event that was stored before refuses its whole batch; alone it is recognised.
            (Err(Refusal::Server(reason)), Jobs::Batch(jobs)) => {
                tracing::debug!(reason, "a batch goes one by one");
                self.slow.push(one_by_one(Arc::clone(&self.link), jobs).boxed());
            }
            (Err(refusal), jobs) => {
                let made_since = matches!(refusal, Refusal::NoStream) && at < self.made_at;
                if matches!(refusal, Refusal::NoStream) && !made_since {
                    make_streams(&self.link).await;
                    self.made_at = self.link.clock.monotonic();
                }
                let detail = refusal.into_error().to_string();
                self.fail(jobs, || BusError::new(crate::BusErrorKind::Unavailable, detail.clone()));
            }
        }
    }

    fn fail(&mut self, jobs: Jobs, error: impl Fn() -> BusError) {
        self.under_way -= jobs.len();
        for (key, job) in jobs.into_vec() {
            let _ = job.done.send(Err(error()));
            self.settle(&key, false);
        }
    }

    /// The key may go on; after a failure nothing of it that waits may.
    fn settle(&mut self, key: &Arc<str>, is_stored: bool) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if !is_stored {
            for job in mem::take(&mut lane.waiting) {
                let _ = job.done.send(Err(behind()));
            }
        }
        if lane.waiting.is_empty() {
            self.lanes.remove(key);
        } else if mem::take(&mut lane.is_under_way) {
            self.ready.push_back(Arc::clone(key));
        }
    }
}

/// The answer to what was sent first.
async fn front(sent: &mut VecDeque<Sent>) -> Option<async_nats::Message> {
    match sent.front_mut() {
        Some(sent) => sent.reply.answer().await,
        None => std::future::pending().await,
    }
}

/// Each key is under way once; says of each event whether it is stored.
async fn one_by_one(link: Arc<Link>, jobs: Vec<(Arc<str>, Job)>) -> Settled {
    let mut settled = Vec::with_capacity(jobs.len());
    let mut lanes = Lanes::new();
    for (position, (key, job)) in jobs.into_iter().enumerate() {
        lanes.insert(&key, position as u128, (Arc::clone(&key), job));
    }
    let mut failed = HashSet::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        while let Some((name, position, (key, mut job))) = lanes.take(|_| true) {
            let link = Arc::clone(&link);
            under_way.push(async move {
                let result = async {
                    let (subject, headers, payload) = message(&link, &mut job).await?;
                    confirm::confirmed(&link, subject, headers, payload).await
                };
                (name, position, key, result.await, job)
            });
        }
        let Some((name, position, key, result, job)) = under_way.next().await else { break };
        if result.is_err() && failed.insert(Arc::clone(&key)) {
            for (key, waiting) in lanes.take_waiting(&name) {
                let _ = waiting.done.send(Err(behind()));
                settled.push(key);
            }
        }
        lanes.settle(&name, position);
        let _ = job.done.send(result);
        settled.push(key);
    }
    settled.into_iter().map(|key| (Arc::clone(&key), !failed.contains(&key))).collect()
}
