use bytes::Bytes;
use clock::{Clock, Entropy};
use contracts::{EventId, TenantId};

/// One message: CloudEvents attributes and the payload. `type` on the wire is `synapse.` + `kind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Event id, message id and idempotency key in one (UUID version 7).
    pub id: EventId,
    /// Which service wrote it: `/synapse/presence`. Ids are unique per source.
    pub source: String,
    /// `owner.name.version`.
    pub kind: String,
    /// Whose it is (extension `tenant`).
    pub tenant: TenantId,
    /// Ordering key, tenant included (extension `partitionkey`); requests and signals carry their tenant there.
    pub key: String,
    /// Counts the events of the aggregate (extension `sequence`); 0 where there is no order.
    pub sequence: u64,
    /// When it happened, Unix milliseconds (RFC 3339 on the wire).
    pub time_ms: u64,
    /// What it belongs to and what caused it.
    pub trail: Trail,
    /// When it stops being of use, Unix milliseconds (extension `expirytime`).
    pub expires_at_ms: Option<u64>,
    /// The payload: JSON text.
    pub data: Bytes,
}

/// What ties together everything that one call caused: travels with every message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// The same for everything that one outside call caused (extension `correlationid`).
    pub correlation_id: String,
    /// The id of the message that caused this one (extension `causationid`).
    pub causation_id: Option<String>,
    /// W3C Trace Context.
    pub traceparent: Option<String>,
    /// W3C Trace Context, the vendors' part.
    pub tracestate: Option<String>,
}

impl Trail {
    /// The beginning of a trail with this correlation id.
    pub fn new(correlation_id: impl Into<String>) -> Self {
        Self { correlation_id: correlation_id.into(), ..Self::default() }
    }

    /// A new trail with a fresh correlation id.
    pub fn fresh(clock: &Clock, entropy: &Entropy) -> Self {
        Self::new(entropy.uuid_v7(clock.now_ms()).to_string())
    }
}

impl Envelope {
    /// The trail of whatever this message causes.
    pub fn follow(&self) -> Trail {
        Trail { causation_id: Some(self.id.as_str().to_owned()), ..self.trail.clone() }
    }

    /// Its source and id: unique in the whole system (CloudEvents 1.0 §3.1.1).
    pub fn unique_id(&self) -> String {
        format!("{}:{}", self.source, self.id)
    }

    /// The service that wrote it (`presence` of `/synapse/presence`).
    pub fn producer(&self) -> &str {
        self.source.strip_prefix("/synapse/").unwrap_or(&self.source)
    }
}
