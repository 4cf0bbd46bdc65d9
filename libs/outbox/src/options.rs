use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bus::{Envelope, Trail};

use crate::layout::SHARDS_MAX;

/// How an [`crate::Outbox`] relays. `Options::default()` fits a service of a few thousand events a second.
#[derive(Clone)]
pub struct Options {
    /// Partitions of a new table's outbox, 1 to 64; each is relayed on its own. A table keeps the number of its first
    /// use: another one is ignored and logged. Default: 1 on SQLite, whose file belongs to one process, else 4.
    pub shards: Option<u32>,
    /// Rows read at once, 1 to 1,000. Default 512.
    pub page: u32,
    /// Rows of a shard that are published and not yet settled, at most. Default 2,048.
    pub in_flight: usize,
    /// Rows of one key in that window, at most, so that a slow key leaves room for the others; a quarter of the window
    /// where the broker takes batches whole and so no key is slower than another. Default 64.
    pub in_flight_per_key: usize,
    /// How long a shard's lease lasts; another process takes over a dead one's shard after it. Default 5 s.
    pub lease: Duration,
    /// How often a shard is looked through without being woken: finds what other processes committed and what a crash
    /// left. Default 500 ms.
    pub sweep_interval: Duration,
    /// First and longest wait after a failed publish, with full jitter between. Default 100 ms and 5 s.
    pub retry: (Duration, Duration),
    /// How long a stopped relay waits for what is in flight. What does not settle is published again later. Default 2 s.
    pub drain: Duration,
    /// Names this process in leases. A restarted process of the same name takes over its own leases at once; two
    /// running ones of one name would take them from each other (safe but slow). Default: `local` on SQLite, whose file
    /// belongs to one process, else a random name.
    pub owner: Option<String>,
    /// Makes the span of a publish that holds facts of sampled traces; it lasts until the broker has answered for all of
    /// them. Default `None`: no span.
    pub make_publish_span: Option<fn(&Publishing<'_>) -> tracing::Span>,
    /// Called at each [`Step`], for crash tests that must stop a process there. `None` in production.
    pub on_step: Option<Arc<dyn Fn(Step) + Send + Sync>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shards: None,
            page: 512,
            in_flight: 2_048,
            in_flight_per_key: 64,
            lease: Duration::from_secs(5),
            sweep_interval: Duration::from_millis(500),
            retry: (Duration::from_millis(100), Duration::from_secs(5)),
            drain: Duration::from_secs(2),
            owner: None,
            make_publish_span: None,
            on_step: None,
        }
    }
}

impl Options {
    /// The same with every number inside its limits.
    pub(crate) fn bounded(mut self) -> Self {
        self.shards = self.shards.map(|shards| shards.clamp(1, SHARDS_MAX));
        self.page = self.page.clamp(1, 1_000);
        self.in_flight = self.in_flight.clamp(1, 100_000);
        self.in_flight_per_key = self.in_flight_per_key.clamp(1, self.in_flight);
        self.lease = self.lease.max(Duration::from_millis(100));
        self.sweep_interval = self.sweep_interval.max(Duration::from_millis(1));
        self.retry.0 = self.retry.0.max(Duration::from_millis(1));
        self.retry.1 = self.retry.1.max(self.retry.0);
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("shards", &self.shards).field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// Facts that go to the broker together.
#[derive(Clone, Copy, Debug)]
pub struct Publishing<'a> {
    /// The bus: `nats`, `sqs` or `embedded`.
    pub bus: &'static str,
    /// How many there are.
    pub facts: usize,
    /// Where the sampled ones among them come from: each trace's place once, at least one and at most 128.
    pub traces: &'a [&'a Trail],
}

/// A point where a process may die; crash tests kill it there and then look whether every effect happened once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A unit is about to be committed.
    BeforeCommit,
    /// A unit is committed, its relay not yet woken.
    AfterCommit,
    /// Rows were handed to the broker, none is known to be safe there.
    MidPublish,
    /// Rows are safe with the broker and still in the outbox.
    AfterPublishBeforeDelete,
    /// An event's effects are committed, the broker does not know it.
    AfterEffectBeforeAck,
    /// An event that was delivered before is being handled again.
    DuringRedelivery,
}

/// How events are consumed.
#[derive(Clone, Debug)]
pub struct ConsumeOptions {
    /// Unsettled deliveries at once, keys in parallel. Default 256.
    pub max_in_flight: usize,
    /// How long a delivery may stay unsettled; extended each third of it while an event is being handled, waits for its
    /// next try or for its turn behind its key. Default 30 s.
    pub lease: Duration,
    /// How long an inbox record is kept: at least the longest time after which a duplicate can still come (the broker's
    /// retention). Default 14 days.
    pub inbox_retention: Duration,
    /// Times a handler is run anew on fresh state because its own writes conflicted, before that counts as a transient
    /// failure. Default 10.
    pub reruns: u32,
    /// Bounds what a struggling service spends on retries.
    pub retry_budget: RetryBudget,
    /// Longest wait that [`crate::Failure::Throttled`] may ask for. Default 15 min.
    pub throttle_max: Duration,
    /// How often to look for keys to redrive that another process marked. Default 5 s.
    pub redrive_interval: Duration,
    /// Makes the span in which an event is handled, e.g. one with the publisher's span as its parent. Default: a span
    /// `consume` with the fields `kind`, `event.id`, `correlation_id`, `causation_id` and `traceparent`.
    pub make_span: Option<fn(&Envelope) -> tracing::Span>,
}

impl Default for ConsumeOptions {
    fn default() -> Self {
        Self {
            max_in_flight: 256,
            lease: Duration::from_secs(30),
            inbox_retention: Duration::from_secs(14 * 24 * 60 * 60),
            reruns: 10,
            retry_budget: RetryBudget::default(),
            throttle_max: Duration::from_secs(15 * 60),
            redrive_interval: Duration::from_secs(5),
            make_span: None,
        }
    }
}

impl ConsumeOptions {
    pub(crate) fn bounded(mut self) -> Self {
        self.max_in_flight = self.max_in_flight.clamp(1, 100_000);
        self.lease = self.lease.max(Duration::from_millis(100));
        self.redrive_interval = self.redrive_interval.max(Duration::from_millis(10));
        self
    }
}

/// The share of tries that may be retries. Each first try earns `ratio` of a retry, up to `burst` of them; a retry
/// without one waits as long as its policy allows, so that a dependency in trouble is not buried under retries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Retries earned by a first try. Default 0.2.
    pub ratio: f64,
    /// Most retries saved up; also what a fresh process starts with. Default 100.
    pub burst: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { ratio: 0.2, burst: 100 }
    }
}
