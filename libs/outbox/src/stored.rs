use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bus::{Envelope, Trail};
use bytes::Bytes;
use contracts::{EventId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{StoreError, StoreErrorKind};

/// An envelope as it lies in an outbox row or a dead letter.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredEnvelope {
    id: EventId,
    source: String,
    kind: String,
    tenant: TenantId,
    key: String,
    sequence: u64,
    time_ms: u64,
    correlation_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    causation_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
    /// The payload, byte for byte, where it is JSON without space around it; absent also for the payload `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    /// Any other payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl From<&Envelope> for StoredEnvelope {
    fn from(envelope: &Envelope) -> Self {
        let json = std::str::from_utf8(&envelope.data)
            .ok()
            .filter(|text| text.trim().len() == text.len())
            .and_then(|text| RawValue::from_string(text.to_owned()).ok());
        let data_base64 = json.is_none().then(|| STANDARD.encode(&envelope.data));
        let trail = envelope.trail.clone();
        Self {
            id: envelope.id.clone(),
            source: envelope.source.clone(),
            kind: envelope.kind.clone(),
            tenant: envelope.tenant.clone(),
            key: envelope.key.clone(),
            sequence: envelope.sequence,
            time_ms: envelope.time_ms,
            correlation_id: trail.correlation_id,
            causation_id: trail.causation_id,
            traceparent: trail.traceparent,
            tracestate: trail.tracestate,
            expires_at_ms: envelope.expires_at_ms,
            data: json,
            data_base64,
        }
    }
}

impl StoredEnvelope {
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an envelope is plain data")
    }

    pub(crate) fn into_envelope(self) -> Result<Envelope, StoreError> {
        let data = match (self.data, self.data_base64) {
            (Some(json), _) => Bytes::from(Box::<str>::from(json).into_string()),
            (None, None) => Bytes::from_static(b"null"),
            (None, Some(text)) => Bytes::from(STANDARD.decode(text).map_err(|error| corrupt(&error))?),
        };
        Ok(Envelope {
            id: self.id,
            source: self.source,
            kind: self.kind,
            tenant: self.tenant,
            key: self.key,
            sequence: self.sequence,
            time_ms: self.time_ms,
            trail: Trail {
                correlation_id: self.correlation_id,
                causation_id: self.causation_id,
                traceparent: self.traceparent,
                tracestate: self.tracestate,
            },
            expires_at_ms: self.expires_at_ms,
            data,
        })
    }
}

/// Reads what this crate wrote.
pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|error| corrupt(&error))
}

fn corrupt(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, format!("an item of the outbox can't be read: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_payload_comes_back_byte_for_byte() {
        for data in ["{\"b\" : 1,\"a\":1.0}", "null", " null", "", "not json", "\"é\"", "{} "] {
            let envelope = envelope(Bytes::from(data));
            let body = StoredEnvelope::from(&envelope).to_json();
            assert_eq!(read::<StoredEnvelope>(&body).unwrap().into_envelope().unwrap(), envelope, "{data:?}");
        }
        let binary = envelope(Bytes::from_static(&[0xff, 0, 1]));
        let body = StoredEnvelope::from(&binary).to_json();
        assert_eq!(read::<StoredEnvelope>(&body).unwrap().into_envelope().unwrap(), binary);
    }

    fn envelope(data: Bytes) -> Envelope {
        Envelope {
            id: "e-1".parse().unwrap(),
            source: "/synapse/presence".to_owned(),
            kind: "presence.peer_went_online.v1".to_owned(),
            tenant: "acme".parse().unwrap(),
            key: "acme/peer/alice".to_owned(),
            sequence: 3,
            time_ms: 5,
            trail: Trail::new("c-1"),
            expires_at_ms: None,
            data,
        }
    }
}
