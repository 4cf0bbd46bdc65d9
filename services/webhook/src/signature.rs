//! Stripe's webhook signatures: `Stripe-Signature: t=<Unix seconds>,v1=<hex>[,v1=<hex>…]`, where each `v1` is the
//! HMAC-SHA256 of `"<t>." + raw body` under the endpoint's whole secret (Stripe's documentation, "Verify webhook
//! signatures manually"). Other schemes are ignored. Stricter than Stripe's libraries in that a time in the future is
//! refused too, and a header with two times is not good.

use aws_lc_rs::{constant_time, hmac};
use secrecy::ExposeSecret;
use service::config::Secret;

use crate::config::{MAX_SECRETS, each};

/// Most `v1` signatures in one header; Stripe sends one per secret that is being rolled.
const MAX_SIGNATURES: usize = 8;

/// Bytes of an HMAC-SHA256.
const TAG_BYTES: usize = 32;

/// Why a request is not Stripe's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No header.
    #[error("the Stripe-Signature header is missing")]
    Missing,
    /// Two headers.
    #[error("there is more than one Stripe-Signature header")]
    Several,
    /// No time, several, or one that is no number.
    #[error("the Stripe-Signature header has no single time `t=<Unix seconds>`")]
    NoTime,
    /// No signature of the scheme.
    #[error("the Stripe-Signature header has no `v1=<64 hexadecimal digits>`")]
    NoSignature,
    /// More signatures than anybody needs.
    #[error("the Stripe-Signature header has more than 8 `v1` signatures")]
    TooMany,
    /// Signed too long ago: a replay.
    #[error("the signature's time lies too far back; check that the clocks are right")]
    TooOld,
    /// Signed too far ahead.
    #[error("the signature's time lies in the future; check that the clocks are right")]
    TooNew,
    /// No signature fits.
    #[error("no signature fits the body: it was changed on its way, or signed with another secret")]
    Mismatch,
}

impl Refused {
    /// A short stable word for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Several => "several",
            Self::NoTime => "no_time",
            Self::NoSignature => "no_signature",
            Self::TooMany => "too_many",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::Mismatch => "mismatch",
        }
    }
}

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    time_s: u64,
    tags: Vec<[u8; TAG_BYTES]>,
}

/// Checks signatures against the endpoint's secrets.
pub struct Verifier {
    secrets: Secret,
    tolerance_ms: u64,
}

impl Verifier {
    /// A verifier for these secrets (1 to 4, with commas or white space between) that takes times up to `tolerance_s`
    /// seconds off, before and after.
    ///
    /// # Errors
    /// When there is no secret: nothing could ever be good.
    pub fn try_new(secrets: Secret, tolerance_s: u64) -> anyhow::Result<Self> {
        let is_set = each(secrets.current().expose_secret()).next().is_some();
        anyhow::ensure!(is_set, "secrets: none is set; set the signing secret of the Stripe endpoint (whsec_…)");
        Ok(Self { secrets, tolerance_ms: tolerance_s.saturating_mul(1_000) })
    }

    /// Whether `body` is signed by one of the secrets, about now (Unix milliseconds). Every comparison takes the same time.
    ///
    /// # Errors
    /// Why it is not Stripe's.
    pub fn verify(&self, header: &[u8], body: &[u8], now_ms: u64) -> Result<(), Refused> {
        let header = parse(header)?;
        let signed_ms = header.time_s.saturating_mul(1_000);
        if signed_ms.saturating_add(self.tolerance_ms) < now_ms {
            return Err(Refused::TooOld);
        }
        if signed_ms > now_ms.saturating_add(self.tolerance_ms) {
            return Err(Refused::TooNew);
        }
        let mut good = false;
        // Asked for each time, so that a rotated file is in use at once. An empty secret, which anybody could sign
        // with, is never among them.
        for secret in each(self.secrets.current().expose_secret()).take(MAX_SECRETS) {
            let tag = sign(secret.as_bytes(), header.time_s, body);
            for given in &header.tags {
                good |= constant_time::verify_slices_are_equal(tag.as_ref(), given).is_ok();
            }
        }
        if good { Ok(()) } else { Err(Refused::Mismatch) }
    }
}

fn sign(secret: &[u8], time_s: u64, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(time_s.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    context.sign()
}

fn parse(header: &[u8]) -> Result<Header, Refused> {
    let (mut time, mut tags) = (None, Vec::new());
    for part in header.split(|byte| *byte == b',') {
        if let Some(digits) = part.strip_prefix(b"t=") {
            let parsed = seconds(digits).ok_or(Refused::NoTime)?;
            if time.replace(parsed).is_some() {
                return Err(Refused::NoTime);
            }
        } else if let Some(tag) = part.strip_prefix(b"v1=").and_then(tag) {
            if tags.len() == MAX_SIGNATURES {
                return Err(Refused::TooMany);
            }
            tags.push(tag);
        }
    }
    let time_s = time.ok_or(Refused::NoTime)?;
    if tags.is_empty() { Err(Refused::NoSignature) } else { Ok(Header { time_s, tags }) }
}

/// Decimal digits without sign or leading zeros: the signed text has the number as Stripe's libraries print it.
fn seconds(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && (digits[0] != b'0' || digits.len() == 1);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// 64 lower-case hexadecimal digits, as Stripe writes them.
fn tag(hex: &[u8]) -> Option<[u8; TAG_BYTES]> {
    if hex.len() != 2 * TAG_BYTES {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut tag = [0; TAG_BYTES];
    for (byte, pair) in tag.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(tag)
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
