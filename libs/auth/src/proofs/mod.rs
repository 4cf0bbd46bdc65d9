//! Subscription proofs: a JWS (Ed25519, `typ: sub-proof+jwt`) that says a peer may connect under a subscription.
//! Short-lived, so that a lost revocation does no lasting harm; checked locally, so that nobody has to be asked.

mod cache;
mod error;
mod signer;
mod verifier;

use std::collections::BTreeMap;

use contracts::{PeerId, SubscriptionId, TenantId};
use serde::{Deserialize, Serialize};

pub use error::{ProofError, ProofKeyError};
pub use signer::{Entitlement, IssueError, ProofSigner, SignerRules};
pub use verifier::{Expected, ProofRules, ProofVerifier};

/// How long a proof lives unless configured otherwise: 5 minutes.
pub const DEFAULT_TTL_MS: u64 = 300_000;

/// A holder asks for the next proof after this part of the life of its last.
pub const REFRESH_PERCENT: u64 = 60;

/// How far the clocks of signer and verifier may differ.
pub const SKEW_MS: u64 = 30_000;

/// The header's `typ`.
const TYPE: &str = "sub-proof+jwt";

/// What a good proof says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The key it was signed with.
    pub kid: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The peer that may connect (`sub`).
    pub peer: PeerId,
    /// Under which subscription (`sid`).
    pub subscription: SubscriptionId,
    /// The subscription's state epoch when it was issued (`ver`); a revocation names the smallest that is still good.
    pub ver: u64,
    /// The plan's name.
    pub plan: String,
    /// The plan's limits, by name.
    pub limits: BTreeMap<String, u64>,
    /// Names of what the plan or Stripe's entitlements include.
    pub features: Vec<String>,
    /// When it was issued, Unix milliseconds.
    pub issued_at_ms: u64,
    /// From when it is good, Unix milliseconds, without skew.
    pub not_before_ms: u64,
    /// When it ends, Unix milliseconds, without skew.
    pub expires_at_ms: u64,
    /// When to ask for the next, Unix milliseconds.
    pub refresh_at_ms: u64,
    /// Its own id (`jti`).
    pub proof_id: String,
    /// Thumbprint of the peer's key it is bound to (`cnf.jkt`, RFC 7800), where it is.
    pub peer_key: Option<String>,
}

/// The claims as they travel. Times in whole seconds.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: PeerId,
    tenant: TenantId,
    sid: SubscriptionId,
    ver: u64,
    plan: String,
    limits: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    features: Vec<String>,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
}

#[derive(Serialize, Deserialize)]
struct Confirmation {
    jkt: String,
}

/// The moment after [`REFRESH_PERCENT`] of the life between two moments.
fn refresh_at_ms(issued_at_ms: u64, expires_at_ms: u64) -> u64 {
    let life_ms = expires_at_ms.saturating_sub(issued_at_ms);
    issued_at_ms.saturating_add(life_ms / 100 * REFRESH_PERCENT + life_ms % 100 * REFRESH_PERCENT / 100)
}
