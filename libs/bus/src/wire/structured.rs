//! Structured mode: the whole event as one JSON object (CloudEvents JSON format 1.0).

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Attributes, Claim, Decoded, TYPE_PREFIX, check, is_traceparent, is_tracestate, malformed, time};
use crate::{BusError, BusErrorKind, Envelope, Incoming, Malformed};

#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: String,
    time: String,
    datacontenttype: &'static str,
    tenant: &'a str,
    partitionkey: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    correlationid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expirytime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataref: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datasha256: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

/// An envelope as one JSON object. A payload that is no JSON text goes as `data_base64` (§3.1.1).
///
/// # Errors
/// [`BusErrorKind::Invalid`], naming the attribute and the rule.
pub fn to_json(envelope: &Envelope) -> Result<Bytes, BusError> {
    encode(envelope, None)
}

/// The same; with a claim, the payload's place and hash stand instead of it.
pub(crate) fn encode(envelope: &Envelope, claim: Option<&Claim>) -> Result<Bytes, BusError> {
    check(envelope)?;
    let trail = &envelope.trail;
    let raw: Option<&RawValue> = match claim {
        // Only what is JSON from its first byte to its last comes back byte for byte.
        None => serde_json::from_slice::<&RawValue>(&envelope.data)
            .ok()
            .filter(|raw| raw.get().len() == envelope.data.len()),
        Some(_) => None,
    };
    let traceparent = trail.traceparent.as_deref().filter(|value| is_traceparent(value));
    let event = Event {
        specversion: "1.0",
        id: envelope.id.as_str(),
        source: &envelope.source,
        kind: [TYPE_PREFIX, &envelope.kind].concat(),
        time: time::format(envelope.time_ms),
        datacontenttype: "application/json",
        tenant: envelope.tenant.as_str(),
        partitionkey: &envelope.key,
        sequence: (envelope.sequence > 0).then(|| envelope.sequence.to_string()),
        correlationid: &trail.correlation_id,
        causationid: trail.causation_id.as_deref(),
        expirytime: envelope.expires_at_ms.map(time::format),
        traceparent,
        tracestate: trail.tracestate.as_deref().filter(|value| traceparent.is_some() && is_tracestate(value)),
        dataref: claim.map(|claim| claim.reference.as_str()),
        datasha256: claim.map(|claim| claim.sha256.as_str()),
        data_base64: (raw.is_none() && claim.is_none()).then(|| STANDARD.encode(&envelope.data)),
        data: raw,
    };
    let text = serde_json::to_vec(&event).map_err(|error| {
        BusError::new(BusErrorKind::Invalid, "the event can't be written as JSON").with_source(error)
    })?;
    Ok(text.into())
}

/// Reads one JSON object.
///
/// # Errors
/// [`Malformed`], naming the attribute and the rule; also for a payload that lies in a claims store.
pub fn from_json(text: Bytes) -> Incoming {
    decode(text.clone())?.inline(&text)
}

pub(crate) fn decode(text: Bytes) -> Result<Decoded, Malformed> {
    read(&text).map_err(|reason| malformed(reason, &text))
}

fn read(text: &Bytes) -> Result<Decoded, String> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(text)
        .map_err(|error| format!("the body is not a JSON object (CloudEvents JSON format §3): {error}"))?;
    let mut attributes = Attributes::default();
    let mut data = None;
    for (name, value) in members {
        match name.as_ref() {
            // A slice of what came: nothing is copied.
            "data" => data = Some(text.slice_ref(value.get().as_bytes())),
            "data_base64" => data = Some(base64(value)?),
            name => {
                if let Some(slot) = attributes.slot(name) {
                    *slot = string(name, value)?;
                }
            }
        }
    }
    attributes.finish(data.unwrap_or_default())
}

/// A string attribute; `null` means unset (§2.2), and a number is read as its digits (`sequence` of other writers).
fn string<'a>(name: &str, value: &'a RawValue) -> Result<Option<Cow<'a, str>>, String> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => match serde_json::from_str::<&str>(text) {
            Ok(plain) => Ok(Some(Cow::Borrowed(plain))),
            // Escapes can't be borrowed.
            Err(_) => serde_json::from_str::<String>(text)
                .map(|owned| Some(Cow::Owned(owned)))
                .map_err(|error| format!("{name}: {error}")),
        },
        Some(b'n') => Ok(None),
        Some(b'0'..=b'9' | b'-') => Ok(Some(Cow::Borrowed(text))),
        _ => Err(format!("{name}: it is not a JSON string (CloudEvents JSON format §2.2)")),
    }
}

fn base64(value: &RawValue) -> Result<Bytes, String> {
    let text = string("data_base64", value)?.unwrap_or_default();
    let data = STANDARD.decode(text.as_bytes()).map_err(|error| format!("data_base64: {error} (RFC 4648 §4)"))?;
    Ok(data.into())
}
