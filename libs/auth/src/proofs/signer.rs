use std::collections::BTreeMap;

use contracts::events::subscription::ProofKey;
use contracts::requests::subscription::ProofIssued;
use contracts::{PeerId, SubscriptionId, TenantId};
use serde_json::json;

use super::{Claims, Confirmation, DEFAULT_TTL_MS, TYPE, refresh_at_ms};
use crate::jws;
use crate::keys::SigningKey;

/// What every proof of a signer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerRules {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// Longest life of a proof, milliseconds. Default [`DEFAULT_TTL_MS`].
    pub ttl_ms: u64,
}

impl SignerRules {
    /// Rules with the default life.
    pub fn new(issuer: &str, audience: &str) -> Self {
        Self { issuer: issuer.to_owned(), audience: audience.to_owned(), ttl_ms: DEFAULT_TTL_MS }
    }
}

/// What one proof says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entitlement {
    /// The tenant.
    pub tenant: TenantId,
    /// The peer that may connect.
    pub peer: PeerId,
    /// Under which subscription.
    pub subscription: SubscriptionId,
    /// The subscription's state epoch.
    pub ver: u64,
    /// The plan's name.
    pub plan: String,
    /// The plan's limits.
    pub limits: BTreeMap<String, u64>,
    /// Names of what it includes.
    pub features: Vec<String>,
    /// End of the paid period or of the grace, Unix milliseconds: the proof never lives longer.
    pub entitled_until_ms: u64,
    /// The proof's own id.
    pub proof_id: String,
    /// Thumbprint of the peer's key, where the proof is bound to one.
    pub peer_key: Option<String>,
}

/// Why no proof was issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The entitlement ends now or has ended.
    #[error("entitled_until_ms: the entitlement has ended; renew the subscription")]
    NotEntitled,
    /// The signing key is past its time.
    #[error("the signing key {kid:?} is retired; publish and install its successor")]
    KeyRetired {
        /// The key's name.
        kid: String,
    },
}

/// Issues proofs with one key.
#[derive(Debug)]
pub struct ProofSigner {
    key: SigningKey,
    not_after_ms: u64,
    rules: SignerRules,
}

impl ProofSigner {
    /// A signer whose key may be trusted until `not_after_ms` (Unix milliseconds).
    pub fn new(key: SigningKey, not_after_ms: u64, rules: SignerRules) -> Self {
        Self { key, not_after_ms, rules }
    }

    /// The public half, to be published before the first proof is signed.
    pub fn public(&self) -> ProofKey {
        ProofKey {
            kid: self.key.kid().to_owned(),
            public_key: jws::encode(&self.key.public_key()),
            not_after_ms: self.not_after_ms,
        }
    }

    /// A proof that lives for the rules' TTL, but never beyond the entitlement or the key. Ends are rounded down to
    /// whole seconds.
    ///
    /// # Errors
    /// [`IssueError`] when nothing of that life is left.
    pub fn issue(&self, entitlement: Entitlement, now_ms: u64) -> Result<ProofIssued, IssueError> {
        if entitlement.entitled_until_ms <= now_ms {
            return Err(IssueError::NotEntitled);
        }
        let wanted_ms = now_ms.saturating_add(self.rules.ttl_ms).min(entitlement.entitled_until_ms);
        let exp = wanted_ms.min(self.not_after_ms) / 1000;
        let expires_at_ms = exp * 1000;
        if expires_at_ms <= now_ms {
            return Err(if self.not_after_ms <= wanted_ms {
                IssueError::KeyRetired { kid: self.key.kid().to_owned() }
            } else {
                IssueError::NotEntitled
            });
        }
        let iat = now_ms / 1000;
        let claims = Claims {
            iss: self.rules.issuer.clone(),
            aud: self.rules.audience.clone(),
            sub: entitlement.peer,
            tenant: entitlement.tenant,
            sid: entitlement.subscription,
            ver: entitlement.ver,
            plan: entitlement.plan,
            limits: entitlement.limits,
            features: entitlement.features,
            iat,
            nbf: iat,
            exp,
            jti: entitlement.proof_id,
            cnf: entitlement.peer_key.map(|jkt| Confirmation { jkt }),
        };
        let header = json!({"alg": "EdDSA", "kid": self.key.kid(), "typ": TYPE});
        let claims = serde_json::to_value(&claims).expect("texts and numbers are JSON");
        Ok(ProofIssued {
            proof: self.key.sign(jws::signing_input(&header, &claims)),
            expires_at_ms,
            refresh_at_ms: refresh_at_ms(iat * 1000, expires_at_ms),
        })
    }
}
