//! CloudEvents 1.0 ↔ [`Envelope`]: binary mode in NATS headers, structured mode as JSON text.
//!
//! Every attribute is checked in both directions; an error names the attribute, the rule and its source. The payload
//! is carried as it is: nobody parses it before its kind matched.

mod binary;
mod structured;
mod time;

use std::borrow::Cow;

use bytes::Bytes;
use contracts::{EventId, TenantId, split_kind};

pub(crate) use binary::{add_claim, decode};
pub use binary::{from_headers, to_headers};
pub(crate) use structured::{decode as decode_json, encode};
pub use structured::{from_json, to_json};

use crate::{BusError, BusErrorKind, Envelope, Incoming, Malformed, Trail};

/// The media type of structured mode (CloudEvents JSON format §3).
pub const STRUCTURED: &str = "application/cloudevents+json";
/// `type` on the wire is this prefix and the kind.
pub(crate) const TYPE_PREFIX: &str = "synapse.";
/// Most bytes of a malformed message that are kept to be looked at.
const MAX_RAW: usize = 64 * 1024;
/// Longest text attribute in bytes. CloudEvents wants at least 64 KiB for a whole event; ours stay far below, so that
/// all of them fit NATS's 4 KiB of headers with room to spare.
const MAX_TEXT: usize = 512;

/// A payload that lies in the claims store: the extension `dataref` points there, `datasha256` is its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) reference: String,
    pub(crate) sha256: String,
}

/// What a message holds: an envelope, or one whose payload is still to be fetched.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) envelope: Envelope,
    pub(crate) claim: Option<Claim>,
}

impl Decoded {
    /// The envelope, where no claim can be followed.
    fn inline(self, data: &Bytes) -> Incoming {
        match self.claim {
            None => Ok(self.envelope),
            Some(claim) => Err(malformed(
                format!("dataref: {} can't be followed here; send the payload inline", claim.reference),
                data,
            )),
        }
    }
}

pub(crate) fn malformed(reason: String, raw: &Bytes) -> Malformed {
    Malformed { reason, raw: raw.slice(..raw.len().min(MAX_RAW)) }
}

/// Checks everything that would make a message unreadable for its receivers.
///
/// # Errors
/// [`BusErrorKind::Invalid`], naming the attribute and the rule.
pub fn check(envelope: &Envelope) -> Result<(), BusError> {
    let result = (|| {
        text("source", &envelope.source)?;
        split_kind(&envelope.kind).map_err(|error| format!("type: {error}"))?;
        text("type", &envelope.kind)?;
        text("partitionkey", &envelope.key)?;
        if !envelope.trail.correlation_id.is_empty() {
            text("correlationid", &envelope.trail.correlation_id)?;
        }
        if let Some(cause) = &envelope.trail.causation_id {
            text("causationid", cause)?;
        }
        if envelope.time_ms > time::MAX_MS {
            return Err(format!("time: {} ms is after the year 9999 (RFC 3339 §1)", envelope.time_ms));
        }
        if envelope.expires_at_ms.is_some_and(|at| at > time::MAX_MS) {
            return Err("expirytime: it is after the year 9999 (RFC 3339 §1)".to_owned());
        }
        Ok(())
    })();
    result.map_err(|reason: String| BusError::new(BusErrorKind::Invalid, reason))
}

/// A CloudEvents string (§2.3): not empty, no control characters; and not longer than we allow.
fn text(attribute: &str, value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err(format!("{attribute}: it is empty; a set attribute has at least one character (CloudEvents §3.1)"));
    }
    if value.len() > MAX_TEXT {
        return Err(format!("{attribute}: {} bytes; at most {MAX_TEXT} are allowed", value.len()));
    }
    // ASCII without control characters, which nearly all values are, needs no look at single characters.
    if value.bytes().all(|byte| (0x20..0x7F).contains(&byte)) {
        return Ok(());
    }
    match value.chars().find(|c| c.is_control() || is_noncharacter(*c)) {
        Some(c) => Err(format!("{attribute}: the character U+{:04X} is not allowed (CloudEvents §2.3)", u32::from(c))),
        None => Ok(()),
    }
}

fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

/// `traceparent` of W3C Trace Context §3.2. Receivers must ignore a broken one and never fail because of it, and so
/// it is left out in both directions.
fn is_traceparent(value: &str) -> bool {
    let bytes = value.as_bytes();
    let hex = |range: std::ops::Range<usize>| bytes[range].iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    bytes.len() >= 55
        && (bytes.len() == 55 || (bytes[55] == b'-' && &bytes[..2] != b"00"))
        && (bytes[2], bytes[35], bytes[52]) == (b'-', b'-', b'-')
        && hex(0..2)
        && &bytes[..2] != b"ff"
        && hex(3..35)
        && hex(36..52)
        && hex(53..55)
        && bytes[3..35].iter().any(|b| *b != b'0')
        && bytes[36..52].iter().any(|b| *b != b'0')
        && bytes.len() <= MAX_TEXT
}

fn is_tracestate(value: &str) -> bool {
    !value.is_empty() && value.len() <= MAX_TEXT && value.bytes().all(|byte| (0x20..0x7F).contains(&byte))
}

/// The attributes of a message as they came, before any check.
#[derive(Default)]
struct Attributes<'a> {
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    specversion: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    datacontenttype: Option<Cow<'a, str>>,
    tenant: Option<Cow<'a, str>>,
    partitionkey: Option<Cow<'a, str>>,
    sequence: Option<Cow<'a, str>>,
    correlationid: Option<Cow<'a, str>>,
    causationid: Option<Cow<'a, str>>,
    expirytime: Option<Cow<'a, str>>,
    dataref: Option<Cow<'a, str>>,
    datasha256: Option<Cow<'a, str>>,
    traceparent: Option<Cow<'a, str>>,
    tracestate: Option<Cow<'a, str>>,
}

impl<'a> Attributes<'a> {
    /// Where the attribute of this name goes; `None` for those that nothing here reads (a tolerant reader).
    fn slot(&mut self, name: &str) -> Option<&mut Option<Cow<'a, str>>> {
        Some(match name {
            "id" => &mut self.id,
            "source" => &mut self.source,
            "specversion" => &mut self.specversion,
            "type" => &mut self.kind,
            "time" => &mut self.time,
            "datacontenttype" => &mut self.datacontenttype,
            "tenant" => &mut self.tenant,
            "partitionkey" => &mut self.partitionkey,
            "sequence" => &mut self.sequence,
            "correlationid" => &mut self.correlationid,
            "causationid" => &mut self.causationid,
            "expirytime" => &mut self.expirytime,
            "dataref" => &mut self.dataref,
            "datasha256" => &mut self.datasha256,
            "traceparent" => &mut self.traceparent,
            "tracestate" => &mut self.tracestate,
            _ => return None,
        })
    }

    /// Checks every attribute and puts them together.
    fn finish(self, data: Bytes) -> Result<Decoded, String> {
        let version = need("specversion", self.specversion)?;
        if version != "1.0" {
            return Err(format!("specversion: {:?}; only \"1.0\" is read (CloudEvents §3.1.3)", short(&version)));
        }
        let id = EventId::try_from(need("id", self.id)?.into_owned()).map_err(|error| format!("id: {error}"))?;
        let source = checked("source", need("source", self.source)?)?;
        let kind = need("type", self.kind)?;
        let Some(bare) = kind.strip_prefix(TYPE_PREFIX) else {
            return Err(format!("type: {:?} does not begin with {TYPE_PREFIX:?}", short(&kind)));
        };
        split_kind(bare).map_err(|error| format!("type: {error}"))?;
        let kind = checked("type", Cow::Borrowed(bare))?;
        if let Some(content_type) = &self.datacontenttype {
            json_content(content_type)?;
        }
        let tenant = TenantId::try_from(need("tenant", self.tenant)?.into_owned())
            .map_err(|error| format!("tenant: {error}"))?;
        let key = checked("partitionkey", need("partitionkey", self.partitionkey)?)?;
        let sequence = match self.sequence {
            None => 0,
            Some(text) => text.parse().map_err(|_| {
                format!("sequence: {:?} is not a whole number from 0 to 2⁶⁴-1 in decimal digits", short(&text))
            })?,
        };
        let time_ms = timestamp("time", &need("time", self.time)?)?;
        let expires_at_ms = self.expirytime.map(|text| timestamp("expirytime", &text)).transpose()?;
        let trail = Trail {
            correlation_id: optional("correlationid", self.correlationid)?.unwrap_or_default(),
            causation_id: optional("causationid", self.causationid)?,
            traceparent: self.traceparent.filter(|value| is_traceparent(value)).map(Cow::into_owned),
            tracestate: self.tracestate.filter(|value| is_tracestate(value)).map(Cow::into_owned),
        };
        let claim = claim(self.dataref, self.datasha256)?;
        let envelope = Envelope { id, source, kind, tenant, key, sequence, time_ms, trail, expires_at_ms, data };
        Ok(Decoded { envelope, claim })
    }
}

fn claim(dataref: Option<Cow<'_, str>>, sha256: Option<Cow<'_, str>>) -> Result<Option<Claim>, String> {
    let Some(reference) = optional("dataref", dataref)? else { return Ok(None) };
    let sha256 = need("datasha256", sha256)?.into_owned();
    if sha256.len() != 64 || !sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("datasha256: it is not 64 lower-case hexadecimal digits".to_owned());
    }
    Ok(Some(Claim { reference, sha256 }))
}

fn need<'a>(attribute: &str, value: Option<Cow<'a, str>>) -> Result<Cow<'a, str>, String> {
    value.ok_or_else(|| format!("{attribute}: it is missing, and every message has one"))
}

fn checked(attribute: &str, value: Cow<'_, str>) -> Result<String, String> {
    text(attribute, &value)?;
    Ok(value.into_owned())
}

fn optional(attribute: &str, value: Option<Cow<'_, str>>) -> Result<Option<String>, String> {
    value.map(|value| checked(attribute, value)).transpose()
}

fn timestamp(attribute: &str, value: &str) -> Result<u64, String> {
    time::parse(value).ok_or_else(|| {
        format!("{attribute}: {:?} is not an RFC 3339 time from 1970 to 9999 (2026-01-31T12:00:00Z)", short(value))
    })
}

fn json_content(value: &str) -> Result<(), String> {
    let media = value.split(';').next().unwrap_or_default().trim();
    let is_json = media.eq_ignore_ascii_case("application/json")
        || media.len() > 5
            && media.is_char_boundary(media.len() - 5)
            && media[media.len() - 5..].eq_ignore_ascii_case("+json");
    if is_json {
        Ok(())
    } else {
        Err(format!("datacontenttype: {:?}; payloads are JSON (application/json)", short(value)))
    }
}

/// As much of a bad value as an error message should carry.
fn short(value: &str) -> String {
    value.chars().take(100).collect()
}

#[cfg(test)]
mod tests;
