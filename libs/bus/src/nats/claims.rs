//! Claim check: a payload too large for one message is stored in pieces, named by its hash; the message carries the
//! place and the hash.

use async_nats::header::HeaderMap;
use async_nats::jetstream::stream::DirectGetErrorKind;
use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::stream::CLAIMS;
use super::{Link, publish};
use crate::BusError;
use crate::wire::Claim;

/// `dataref` reads `synapse-claim:<sha256>/<pieces>`.
const SCHEME: &str = "synapse-claim:";

pub(crate) enum FetchError {
    /// It can never be read; the reason names the attribute.
    Malformed(String),
    /// Not now.
    Unavailable(BusError),
}

/// Stores a payload for as long as events are kept.
pub(crate) async fn store(link: &Link, data: &Bytes) -> Result<Claim, BusError> {
    let sha256 = hash(data);
    let piece = link.options.max_inline_bytes;
    let pieces = data.len().div_ceil(piece);
    for index in 0..pieces {
        let bytes = data.slice(index * piece..data.len().min((index + 1) * piece));
        publish::confirmed(link, subject(&sha256, index), HeaderMap::new(), bytes).await?;
    }
    Ok(Claim { reference: format!("{SCHEME}{sha256}/{pieces}"), sha256 })
}

/// Reads a payload back and checks its hash.
pub(crate) async fn fetch(link: &Link, claim: &Claim) -> Result<Bytes, FetchError> {
    let malformed = |reason: String| FetchError::Malformed(format!("dataref: {reason}"));
    let most = link.options.max_payload_bytes.div_ceil(1024);
    let (id, pieces) = claim
        .reference
        .strip_prefix(SCHEME)
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(id, pieces)| Some((id, pieces.parse::<usize>().ok()?)))
        .filter(|(id, pieces)| id.bytes().all(|b| b.is_ascii_alphanumeric()) && id.len() == 64 && *pieces <= most)
        .ok_or_else(|| malformed(format!("{:?} is not {SCHEME}<sha256>/<pieces>", claim.reference)))?;
    let stream = link
        .jetstream
        .get_stream_no_info(&link.options.claims_stream)
        .await
        .map_err(|error| FetchError::Unavailable(super::failed("can't look up the claims", error)))?;
    let mut data = BytesMut::new();
    for index in 0..pieces {
        let message = match stream.direct_get_last_for_subject(subject(id, index)).await {
            Ok(message) => message,
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => {
                return Err(malformed(format!("piece {index} of {pieces} is missing; it may have expired")));
            }
            Err(error) => return Err(FetchError::Unavailable(super::failed("can't read a claim", error))),
        };
        if data.len() + message.payload.len() > link.options.max_payload_bytes {
            return Err(malformed(format!("it holds more than {} bytes", link.options.max_payload_bytes)));
        }
        data.extend_from_slice(&message.payload);
    }
    if hash(&data) != claim.sha256 {
        return Err(FetchError::Malformed("datasha256: the stored payload has another hash".to_owned()));
    }
    Ok(data.freeze())
}

fn subject(id: &str, index: usize) -> String {
    format!("{CLAIMS}.{id}.{index}")
}

fn hash(data: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(data).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
