use std::time::Duration;

use crate::{BusError, BusErrorKind};

/// How to reach NATS and how much to keep there.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// Where the servers are: one or more URLs separated by commas, `nats://user:password@host:4222`. Default
    /// `nats://127.0.0.1:4222`.
    pub url: String,
    /// The name of this connection in the server's lists. Default `synapse`.
    pub client_name: String,
    /// The stream of events. Default `SYNAPSE_EVENTS`.
    pub stream: String,
    /// The stream of payloads too large to go inline. Default `SYNAPSE_CLAIMS`.
    pub claims_stream: String,
    /// Copies of each stream in a cluster, 1 to 5. Used when a stream is made. Default 1.
    pub replicas: usize,
    /// How long events and claims are kept. Used when a stream is made. Default 7 days.
    pub max_age: Duration,
    /// Most bytes of each stream; when it is full, publishing fails and the outbox holds the events. Used when a
    /// stream is made. Default 1 GiB.
    pub max_stream_bytes: u64,
    /// How long the server knows the ids of events. Used when the stream is made. Default 2 min.
    pub duplicate_window: Duration,
    /// Make streams that are missing, and bring old ones up to date. A guest on somebody else's installation does
    /// neither. Default true.
    pub create_streams: bool,
    /// How many partitions keys are spread over. The same in all processes for ever: changing it breaks the order of
    /// keys while both numbers are in use. Default 16, at most 100.
    pub partitions: u32,
    /// Larger payloads of events go by claim check; of requests and signals they are refused. Never more than the
    /// server's `max_payload` less 16 KiB for headers. Default 512 KiB.
    pub max_inline_bytes: usize,
    /// Largest payload of an event at all. Default 8 MiB.
    pub max_payload_bytes: usize,
    /// Most events that wait to be published; beyond it publishing fails with `Full`. Default 8,192.
    pub publish_queue: usize,
    /// Most events sent and not yet confirmed, 1 to 1,000; an atomic batch (servers allow 1,000) takes half of them.
    /// Default 1,000.
    pub publish_window: usize,
    /// How long a publish waits for the server's confirmation. Default 5 s.
    pub publish_timeout: Duration,
    /// How long the first connection, and any call to the JetStream API, may take. Default 5 s.
    pub connect_timeout: Duration,
    /// Longest pause between two attempts to reconnect; pauses double from 50 ms and are jittered. Default 5 s.
    pub reconnect_max: Duration,
    /// Server ≥ 2.11: how long a silent process keeps a partition before another one gets it; pulls expire after half
    /// of it. Default 6 s, at least 1 s.
    pub takeover: Duration,
    /// Server ≥ 2.11: most unsettled events of one partition, for all processes together. Default 64.
    pub partition_window: usize,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            client_name: "synapse".to_owned(),
            stream: "SYNAPSE_EVENTS".to_owned(),
            claims_stream: "SYNAPSE_CLAIMS".to_owned(),
            replicas: 1,
            max_age: Duration::from_secs(7 * 24 * 3600),
            max_stream_bytes: 1 << 30,
            duplicate_window: Duration::from_secs(120),
            create_streams: true,
            partitions: 16,
            max_inline_bytes: 512 * 1024,
            max_payload_bytes: 8 * 1024 * 1024,
            publish_queue: 8_192,
            publish_window: 1_000,
            publish_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            reconnect_max: Duration::from_secs(5),
            takeover: Duration::from_secs(6),
            partition_window: 64,
        }
    }
}

impl NatsOptions {
    pub(super) fn check(&self) -> Result<(), BusError> {
        let name =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        let problem = if self.url.is_empty() {
            "url: it is empty; use nats://host:4222"
        } else if !name(&self.stream) || !name(&self.claims_stream) {
            "stream, claims_stream: use letters, digits, '_' and '-'"
        } else if !(1..=5).contains(&self.replicas) {
            "replicas: use 1 to 5"
        } else if !(1..=100).contains(&self.partitions) {
            "partitions: use 1 to 100"
        } else if self.publish_queue == 0 || !(1..=1_000).contains(&self.publish_window) {
            "publish_queue, publish_window: at least 1, and the window at most 1,000"
        } else if self.partition_window == 0 || self.takeover < Duration::from_secs(1) {
            "partition_window, takeover: at least 1 and at least 1 s"
        } else if self.max_inline_bytes < 1024 || self.max_payload_bytes < self.max_inline_bytes {
            "max_inline_bytes, max_payload_bytes: at least 1,024, and the payload's limit not below the inline one"
        } else {
            return Ok(());
        };
        Err(BusError::new(BusErrorKind::Invalid, problem))
    }

    /// Which partition a key falls into: FNV-1a, 64 bits, modulo the number of partitions. Stable for ever.
    pub(super) fn partition(&self, key: &str) -> u32 {
        let hash = key
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        (hash % u64::from(self.partitions)) as u32
    }
}
