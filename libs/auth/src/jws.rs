//! A JWS in compact form (RFC 7515 §7.1): its parts, its header, its signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

/// Longest `kid` that is looked at, in bytes.
pub(crate) const MAX_KID_LEN: usize = 100;

/// Year 9999: later moments are nonsense and would overflow sums.
const MAX_TIME_S: u64 = 253_402_300_799;

/// The three parts, still encoded.
pub(crate) struct Parts<'a> {
    /// What was signed: header, dot, payload.
    message: &'a str,
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

/// The header fields that decide anything. Others (`jku`, `jwk`, `x5u`, …) are never used: keys come from us.
#[derive(Deserialize)]
pub(crate) struct Header {
    pub(crate) alg: String,
    pub(crate) kid: Option<String>,
    pub(crate) typ: Option<String>,
    crit: Option<Value>,
}

impl<'a> Parts<'a> {
    /// Splits at the dots; `None` unless there are exactly three parts.
    pub(crate) fn split(text: &'a str) -> Option<Self> {
        let (message, signature) = text.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        if payload.contains('.') {
            return None;
        }
        Some(Self { message, header, payload, signature })
    }

    /// The header; `None` when it can't be read, or asks for an extension (`crit`) that we don't have (RFC 7515 §4.1.11).
    pub(crate) fn header(&self) -> Option<Header> {
        let header: Header = decode(self.header)?;
        (header.crit.is_none() && header.kid.as_ref().is_none_or(|kid| kid.len() <= MAX_KID_LEN)).then_some(header)
    }

    /// The payload; `None` when it can't be read. Call it only after the signature was found good.
    pub(crate) fn claims<T: DeserializeOwned>(&self) -> Option<T> {
        decode(self.payload)
    }

    /// Whether the signature is by `key`, using the algorithm that belongs to the key.
    pub(crate) fn is_signed_by(&self, key: &DecodingKey, algorithm: Algorithm) -> bool {
        crypto::verify(self.signature, self.message.as_bytes(), key, algorithm).unwrap_or(false)
    }
}

/// The first two parts of a JWS: what is to be signed.
pub(crate) fn signing_input(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()))
}

/// base64url without padding (RFC 7515 §2).
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The reverse of [`encode`]; padding, other alphabets and non-canonical endings are refused.
pub(crate) fn decode_bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&decode_bytes(part)?).ok()
}

/// A NumericDate (RFC 7519 §2: seconds, fractions allowed) in milliseconds; `None` when it isn't a sensible number.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
pub(crate) fn numeric_date_ms(value: &Value) -> Option<u64> {
    let number: &Number = value.as_number()?;
    if let Some(seconds) = number.as_u64() {
        return (seconds <= MAX_TIME_S).then_some(seconds * 1000);
    }
    let seconds = number.as_f64()?;
    // In range, so the cast neither cuts off nor wraps.
    (0.0..=MAX_TIME_S as f64).contains(&seconds).then_some((seconds * 1000.0) as u64)
}
