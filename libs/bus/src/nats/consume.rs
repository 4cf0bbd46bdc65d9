use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{self, Config};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, PriorityPolicy};
use async_nats::jetstream::stream::Stream;
use tokio::sync::{Semaphore, mpsc};

use super::stream::{self, EVENTS};
use super::{Link, failed, partition};
use crate::backend::{Deliveries, Delivery, Subscribe};
use crate::meter::Consumed;
use crate::{BusError, BusErrorKind};

/// The one priority group of each consumer.
pub(super) const GROUP: &str = "owner";

/// One subscription: what its partitions share.
pub(super) struct Reader {
    pub(super) link: Arc<Link>,
    pub(super) service: String,
    pub(super) kinds: HashSet<String>,
    pub(super) lease: Duration,
    pub(super) permits: Arc<Semaphore>,
    pub(super) sender: mpsc::Sender<Delivery>,
    pub(super) consumed: Arc<Consumed>,
    /// How many partitions are pinned to this process.
    pub(super) pins: AtomicU64,
}

pub(super) async fn subscribe(link: &Arc<Link>, subscribe: Subscribe) -> Result<Deliveries, BusError> {
    link.check_open()?;
    let is_name = |text: &str| {
        !text.is_empty() && text.len() <= 100 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    if !is_name(&subscribe.service) || subscribe.kinds.is_empty() {
        let detail = "subscribe: a service (letters, digits, '_', '-') and at least one kind are needed";
        return Err(BusError::new(BusErrorKind::Invalid, detail));
    }
    for kind in &subscribe.kinds {
        contracts::split_kind(kind).map_err(|error| BusError::new(BusErrorKind::Invalid, error.to_string()))?;
    }
    let (sender, receiver) = mpsc::channel(1);
    let reader = Arc::new(Reader {
        consumed: Arc::new(Consumed::new("nats", &subscribe.service)),
        permits: Arc::new(Semaphore::new(subscribe.max_in_flight.clamp(1, Semaphore::MAX_PERMITS))),
        kinds: subscribe.kinds.into_iter().collect(),
        lease: subscribe.lease.max(Duration::from_millis(100)),
        service: subscribe.service,
        link: Arc::clone(link),
        pins: AtomicU64::new(0),
        sender,
    });
    let stream = stream::events(link).await?;
    let made = (0..link.options.partitions).map(|number| reader.consumer(&stream, number));
    for (number, consumer) in futures::future::try_join_all(made).await?.into_iter().enumerate() {
        link.busy.spawn(partition::work(Arc::clone(&reader), number as u32, consumer));
    }
    Ok(Deliveries { receiver })
}

impl Reader {
    /// Makes or updates the durable consumer of one partition.
    pub(super) async fn consumer(&self, stream: &Stream, number: u32) -> Result<Consumer<Config>, BusError> {
        let features = self.link.features;
        let mut config = Config {
            durable_name: Some(format!("{}-p{number:02}", self.service)),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.lease,
            // How often is the outbox's retry policy, not the broker's.
            max_deliver: -1,
            max_ack_pending: 1,
            ..pull::Config::default()
        };
        if features.multi_filter {
            let mut kinds: Vec<_> = self.kinds.iter().collect();
            kinds.sort();
            config.filter_subjects = kinds.into_iter().map(|kind| format!("{EVENTS}.{kind}.{number:02}")).collect();
        } else {
            config.filter_subject = format!("{EVENTS}.*.*.*.{number:02}");
        }
        if features.pinned {
            config.max_ack_pending = i64::try_from(self.link.options.partition_window).unwrap_or(i64::MAX);
            config.priority_policy = PriorityPolicy::PinnedClient;
            config.priority_groups = vec![GROUP.to_owned()];
            config.priority_timeout = self.link.options.takeover;
        }
        let name = config.durable_name.clone().unwrap_or_default();
        stream.create_consumer(config).await.map_err(|error| failed(&format!("can't make consumer {name}"), error))
    }

    /// Gives up one pin if this process holds more than its share among `processes`.
    pub(super) fn give_up_pin(&self, processes: u64) -> bool {
        let share = u64::from(self.link.options.partitions).div_ceil(processes.max(1));
        let less = |pins: u64| (pins > share).then(|| pins - 1);
        self.pins.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}
