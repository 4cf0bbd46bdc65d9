use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::TenantId;

/// A message type: its kind, its schema (from its Rust type) and samples that show it.
pub trait Contract: Serialize + DeserializeOwned + JsonSchema + Clone + fmt::Debug + Send + Sync + 'static {
    /// `owner.name.version`, e.g. `presence.peer_went_offline.v1`.
    const KIND: &'static str;
    /// Set once a newer version stands beside this one.
    const DEPRECATION: Option<Deprecation> = None;
    /// At least one; every optional field is set in one of them. They become golden samples.
    fn samples() -> Vec<Self>;
}

/// A fact, past tense. Durable, at least once, in order per key, effects once.
pub trait Event: Contract {
    /// The aggregate it is about, inside its tenant: `peer/alice`. Events of one key keep their order.
    fn aggregate(&self) -> String;

    /// The ordering key on the wire: tenant and aggregate.
    fn key(&self, tenant: &TenantId) -> String {
        format!("{tenant}/{}", self.aggregate())
    }
}

/// An event of some owner, ready to be published: what an outbox needs to know of it.
pub trait Fact {
    /// The event's kind.
    fn kind(&self) -> &'static str;

    /// The aggregate it is about, inside its tenant.
    fn aggregate(&self) -> String;

    /// The payload as JSON text.
    ///
    /// # Errors
    /// None for the types here; serde's signature has one.
    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error>;
}

/// Asks one owner and gets a reply. At most once per try; retried only with an idempotency key.
pub trait Request: Contract {
    /// What a good answer says.
    type Reply: Serialize + DeserializeOwned + JsonSchema + Clone + fmt::Debug + Send + Sync + 'static;
    /// The owner's or a rule's "no".
    type Refusal: Serialize + DeserializeOwned + JsonSchema + Clone + fmt::Debug + Send + Sync + 'static;
    /// Samples of the reply.
    fn replies() -> Vec<Self::Reply>;
    /// Every refusal there is.
    fn refusals() -> Vec<Self::Refusal>;
}

/// Ephemeral and addressed: best effort on the fastest path.
pub trait Signal: Contract {}

/// When a version ends and what replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deprecation {
    /// RFC 3339 date of the announcement.
    pub since: &'static str,
    /// RFC 3339 date from which on it may be removed; at least 90 days after `since`.
    pub sunset: &'static str,
    /// The kind to use instead.
    pub successor: &'static str,
}

/// Why a string is not a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindError(String);

impl fmt::Display for KindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kind: {:?} is not `owner.name.vN` (lower-case letters, digits and '_')", self.0)
    }
}

impl std::error::Error for KindError {}

/// Splits a kind into owner, name and major version.
///
/// # Errors
/// [`KindError`] when it is not `owner.name.vN`.
pub fn split_kind(kind: &str) -> Result<(&str, &str, u32), KindError> {
    let refuse = || KindError(kind.chars().take(200).collect());
    let mut parts = kind.split('.');
    let (Some(owner), Some(name), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(refuse());
    };
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let major = version.strip_prefix('v').and_then(|digits| digits.parse::<u32>().ok());
    match major {
        Some(major) if major > 0 && word(owner) && word(name) => Ok((owner, name, major)),
        _ => Err(refuse()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_owner_name_version() {
        assert_eq!(split_kind("presence.peer_went_offline.v2"), Ok(("presence", "peer_went_offline", 2)));
        for bad in ["presence.v1", "a.b.c.v1", "a.b.1", "a.b.v0", "A.b.v1", "a..v1", ""] {
            assert!(split_kind(bad).is_err(), "{bad}");
        }
    }
}
