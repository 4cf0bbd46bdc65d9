use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};

use crate::{BusError, BusErrorKind, NatsOptions};

/// Which queues to use and how. [`SqsOptions::default`] is for AWS, [`SqsOptions::emulator`] for development.
#[derive(Clone, Debug)]
pub struct SqsOptions {
    /// Queues are named `<queue_prefix><service>.fifo`. Default `synapse-`.
    pub queue_prefix: String,
    /// The region. Default `None`: the one of the AWS configuration (environment, profile).
    pub region: Option<String>,
    /// Where the service is. Default `None`: where AWS has it for the region.
    pub endpoint: Option<String>,
    /// Fixed credentials for an emulator, which checks none, and one call of this process at a time: moto loses a
    /// message that is sent while another one is deleted. Default false: the SDK's chain, calls side by side.
    pub is_emulator: bool,
    /// Whether to make queues that are missing. In production they are infrastructure. Default false.
    pub create_queues: bool,
    /// Which services subscribe to a kind, instead of the generated topology; for tests. Default `None`: the topology.
    pub routes: Option<BTreeMap<String, Vec<String>>>,
    /// How long an empty receive waits for a message, up to 20 s. Default 10 s. Emulator: 0, since moto's waiting
    /// receives don't notice that a group is free again.
    pub long_poll: Duration,
    /// Pause after an empty receive. Default 0. Emulator: 50 ms.
    pub poll_pause: Duration,
    /// Receives under way at once for one subscription, 1 to 16. Default 2.
    pub pollers: usize,
    /// Most messages of one receive, 1 to 10. Default 10. Emulator: 1, since moto reverses a group whose messages
    /// come back together.
    pub receive_batch: usize,
    /// Larger payloads go by claim check through NATS. Default 200 KiB, which with attributes stays below SQS's
    /// 256 KiB.
    pub max_inline_bytes: usize,
    /// Most events that wait for one queue; beyond it publishing fails with `Full`. Default 8,192.
    pub publish_queue: usize,
    /// Batches under way at once for one queue. Default 8. Emulator: 1.
    pub publish_batches: usize,
    /// For one call with the SDK's own repetitions (at most 3). Default 5 s, besides the long poll.
    pub call_timeout: Duration,
    /// The NATS that carries requests, signals and large payloads.
    pub nats: NatsOptions,
}

impl Default for SqsOptions {
    fn default() -> Self {
        Self {
            queue_prefix: "synapse-".to_owned(),
            region: None,
            endpoint: None,
            is_emulator: false,
            create_queues: false,
            routes: None,
            long_poll: Duration::from_secs(10),
            poll_pause: Duration::ZERO,
            pollers: 2,
            receive_batch: 10,
            max_inline_bytes: 200 * 1024,
            publish_queue: 8_192,
            publish_batches: 8,
            call_timeout: Duration::from_secs(5),
            nats: NatsOptions::default(),
        }
    }
}

impl SqsOptions {
    /// The defaults for an emulator at `endpoint`; missing queues are made.
    pub fn emulator(endpoint: impl Into<String>) -> Self {
        Self {
            region: Some("us-east-1".to_owned()),
            endpoint: Some(endpoint.into()),
            is_emulator: true,
            create_queues: true,
            long_poll: Duration::ZERO,
            poll_pause: Duration::from_millis(50),
            pollers: 1,
            receive_batch: 1,
            // All else waits for its turn behind these, with leases running.
            publish_batches: 1,
            ..Self::default()
        }
    }

    pub(super) fn check(&self) -> Result<(), BusError> {
        let fits = self.queue_prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        let problem = if !fits || self.queue_prefix.len() > 40 {
            "queue_prefix: at most 40 letters, digits, '_' and '-'"
        } else if self.long_poll.as_secs() > 20 || (self.long_poll + self.poll_pause).is_zero() {
            "long_poll, poll_pause: at most 20 s, and not both 0"
        } else if !(1..=16).contains(&self.pollers) || self.publish_queue == 0 || self.publish_batches == 0 {
            "pollers, publish_queue, publish_batches: 1 to 16, at least 1, at least 1"
        } else if !(1..=10).contains(&self.receive_batch) {
            "receive_batch: use 1 to 10"
        } else if !(1024..=200 * 1024).contains(&self.max_inline_bytes) {
            "max_inline_bytes: use 1,024 to 204,800"
        } else {
            return Ok(());
        };
        Err(BusError::new(BusErrorKind::Invalid, problem))
    }

    /// The services that subscribe to a kind.
    pub(super) fn routes(&self, kind: &str) -> Vec<String> {
        match &self.routes {
            None => contracts::topology::subscribers(kind).to_vec(),
            Some(routes) => routes.get(kind).cloned().unwrap_or_default(),
        }
    }

    /// Every service that subscribes to anything.
    pub(super) fn services(&self) -> BTreeSet<String> {
        match &self.routes {
            Some(routes) => routes.values().flatten().cloned().collect(),
            None => contracts::catalogue().iter().flat_map(|entry| self.routes(entry.kind)).collect(),
        }
    }

    pub(super) async fn client(&self) -> aws_sdk_sqs::Client {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if self.is_emulator {
            loader = loader.credentials_provider(Credentials::new("emulator", "emulator", None, None, "fixed"));
        }
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(2))
            .operation_timeout(self.call_timeout + self.long_poll)
            .build();
        let retries = RetryConfig::standard().with_max_attempts(3);
        aws_sdk_sqs::Client::new(&loader.timeout_config(timeouts).retry_config(retries).load().await)
    }
}
