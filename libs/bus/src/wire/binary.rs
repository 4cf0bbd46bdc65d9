//! Binary mode in NATS headers (CloudEvents NATS binding 1.0 §3.1): each attribute is a header `ce-<name>`, its value
//! percent-encoded by §3.1.3.2.

use std::borrow::Cow;

use async_nats::header::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::{
    Attributes, Claim, Decoded, STRUCTURED, TYPE_PREFIX, check, is_traceparent, is_tracestate, malformed, structured,
    time,
};
use crate::{BusError, Envelope, Incoming, Malformed};

/// §3.1.3.2: space, `"`, `%` and everything outside U+0021…U+007E. (Non-ASCII is always encoded.)
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

const ID: HeaderName = HeaderName::from_static("ce-id");
const SOURCE: HeaderName = HeaderName::from_static("ce-source");
const SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");
const TYPE: HeaderName = HeaderName::from_static("ce-type");
const TIME: HeaderName = HeaderName::from_static("ce-time");
const CONTENT_TYPE: HeaderName = HeaderName::from_static("ce-datacontenttype");
const TENANT: HeaderName = HeaderName::from_static("ce-tenant");
const PARTITION_KEY: HeaderName = HeaderName::from_static("ce-partitionkey");
const SEQUENCE: HeaderName = HeaderName::from_static("ce-sequence");
const CORRELATION_ID: HeaderName = HeaderName::from_static("ce-correlationid");
const CAUSATION_ID: HeaderName = HeaderName::from_static("ce-causationid");
const EXPIRY_TIME: HeaderName = HeaderName::from_static("ce-expirytime");
const DATA_REF: HeaderName = HeaderName::from_static("ce-dataref");
const DATA_SHA256: HeaderName = HeaderName::from_static("ce-datasha256");
// Under these names only: a plain `traceparent` with its flag "sampled" makes nats-server (2.11 and later) copy all
// headers of every message into a map, whether or not anybody traces it there.
const TRACEPARENT: HeaderName = HeaderName::from_static("ce-traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("ce-tracestate");

/// The headers of an envelope in binary mode; its data is the message's body.
///
/// # Errors
/// [`crate::BusErrorKind::Invalid`], naming the attribute and the rule.
pub fn to_headers(envelope: &Envelope) -> Result<HeaderMap, BusError> {
    check(envelope)?;
    let mut headers = HeaderMap::new();
    // Ids are of an alphabet that needs no encoding.
    put(&mut headers, ID, envelope.id.as_str());
    put_encoded(&mut headers, SOURCE, &envelope.source);
    put(&mut headers, SPECVERSION, "1.0");
    put(&mut headers, TYPE, [TYPE_PREFIX, &envelope.kind].concat());
    put(&mut headers, TIME, time::format(envelope.time_ms));
    put(&mut headers, CONTENT_TYPE, "application/json");
    put(&mut headers, TENANT, envelope.tenant.as_str());
    put_encoded(&mut headers, PARTITION_KEY, &envelope.key);
    if envelope.sequence > 0 {
        headers.insert(SEQUENCE, HeaderValue::from(envelope.sequence));
    }
    let trail = &envelope.trail;
    if !trail.correlation_id.is_empty() {
        put_encoded(&mut headers, CORRELATION_ID, &trail.correlation_id);
    }
    if let Some(cause) = &trail.causation_id {
        put_encoded(&mut headers, CAUSATION_ID, cause);
    }
    if let Some(at) = envelope.expires_at_ms {
        put(&mut headers, EXPIRY_TIME, time::format(at));
    }
    if let Some(parent) = trail.traceparent.as_deref().filter(|value| is_traceparent(value)) {
        put(&mut headers, TRACEPARENT, parent);
        if let Some(state) = trail.tracestate.as_deref().filter(|value| is_tracestate(value)) {
            put_encoded(&mut headers, TRACESTATE, state);
        }
    }
    Ok(headers)
}

/// Adds the place and the hash of a payload that is stored elsewhere.
pub(crate) fn add_claim(headers: &mut HeaderMap, claim: &Claim) {
    put_encoded(headers, DATA_REF, &claim.reference);
    put(headers, DATA_SHA256, claim.sha256.as_str());
}

// A value that the checks let pass has no line breaks, and neither has anything percent-encoded: `HeaderValue` would
// panic on them.
fn put(headers: &mut HeaderMap, name: HeaderName, value: impl Into<HeaderValue>) {
    headers.insert(name, value.into());
}

fn put_encoded(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let value = HeaderValue::from(Cow::from(utf8_percent_encode(value, ENCODED)).into_owned());
    headers.insert(name, value);
}

/// Reads a message of either mode: structured when its content type says so, else binary.
///
/// # Errors
/// [`Malformed`], naming the attribute and the rule; also for a payload that lies in a claims store.
pub fn from_headers(headers: &HeaderMap, data: Bytes) -> Incoming {
    decode(Some(headers), data.clone())?.inline(&data)
}

pub(crate) fn decode(headers: Option<&HeaderMap>, data: Bytes) -> Result<Decoded, Malformed> {
    let mut attributes = Attributes::default();
    let mut plain = [None, None];
    for (name, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        let (name, Some(value)) = (AsRef::<str>::as_ref(name), values.last().map(HeaderValue::as_str)) else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-type") {
            // §3.2: only the media type decides; its parameters (charset) follow after a semicolon.
            let media = value.split(';').next().unwrap_or_default().trim();
            if media.eq_ignore_ascii_case(STRUCTURED) {
                return structured::decode(data);
            }
        } else if name.eq_ignore_ascii_case("traceparent") {
            plain[0] = Some(Cow::Borrowed(value));
        } else if name.eq_ignore_ascii_case("tracestate") {
            plain[1] = Some(Cow::Borrowed(value));
        } else if let Some(slot) = ce_name(name, &mut attributes) {
            match percent_decode_str(value).decode_utf8() {
                Ok(value) => *slot = Some(value),
                Err(_) => return Err(malformed(format!("{name}: percent-decoded it is not UTF-8"), &data)),
            }
        }
    }
    let [parent, state] = plain;
    attributes.traceparent = attributes.traceparent.or(parent);
    attributes.tracestate = attributes.tracestate.or(state);
    attributes.finish(data.clone()).map_err(|reason| malformed(reason, &data))
}

/// The slot of a header `ce-…`. NATS passes names on as they are, but clients that treat them as HTTP's write `Ce-Id`.
fn ce_name<'s, 'a>(name: &str, attributes: &'s mut Attributes<'a>) -> Option<&'s mut Option<Cow<'a, str>>> {
    let (prefix, rest) = name.split_at_checked(3)?;
    if !prefix.eq_ignore_ascii_case("ce-") {
        return None;
    }
    if rest.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return attributes.slot(&rest.to_ascii_lowercase());
    }
    attributes.slot(rest)
}
