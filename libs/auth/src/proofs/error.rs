/// Why a proof was refused. The message says what to do and never repeats the proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Longer than 8 KiB.
    #[error("the proof is longer than 8192 characters; send it as it was issued")]
    TooLong,
    /// Not three base64url parts with a JSON header.
    #[error("the proof is not a signed token (three base64url parts with dots between); send it as it was issued")]
    Malformed,
    /// Another kind of token.
    #[error("this token is not a subscription proof; ask the subscription's verify endpoint for one")]
    WrongType,
    /// Its `alg` is not EdDSA.
    #[error("the proof's algorithm is not EdDSA; ask the subscription's verify endpoint for a proof")]
    AlgorithmMismatch,
    /// Signed with a key that is not known (yet). The verifier's owner may fetch the keys once and try again.
    #[error("the proof is signed with an unknown key; ask for a new proof")]
    UnknownKey {
        /// The key it names.
        kid: String,
    },
    /// Signed with a key whose time is over.
    #[error("the proof is signed with a retired key; ask for a new proof")]
    KeyRetired,
    /// The signature is not by that key.
    #[error("the proof's signature does not fit its content; send it as it was issued")]
    BadSignature,
    /// Signed, but not with the claims a proof has.
    #[error("the proof's claims are incomplete or of the wrong type; ask for a new proof")]
    InvalidClaims,
    /// From another issuer.
    #[error("the proof is from another issuer; ask the subscription service of this installation")]
    WrongIssuer,
    /// For another audience.
    #[error("the proof is for another audience; ask the subscription service of this installation")]
    WrongAudience,
    /// For another tenant.
    #[error("the proof belongs to another tenant; ask for one with the token you connect with")]
    WrongTenant,
    /// For another peer.
    #[error("the proof is for another peer; ask for one for the peer that connects")]
    WrongPeer,
    /// Bound to another key than the peer's.
    #[error("the proof is bound to another key (cnf); ask for one with the key that the peer connects with")]
    WrongPeerKey,
    /// Past its `exp`.
    #[error("the proof has expired; ask for a new one (at 60 % of its life, to be in time)")]
    Expired,
    /// Before its `nbf`.
    #[error("the proof is not valid yet; check the clocks")]
    NotYetValid,
    /// Its version was revoked.
    #[error("the proof was revoked because its subscription changed; check the subscription, then ask for a new proof")]
    Revoked,
}

impl ProofError {
    /// Stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "proof_too_long",
            Self::Malformed => "proof_malformed",
            Self::WrongType => "proof_wrong_type",
            Self::AlgorithmMismatch => "proof_algorithm_mismatch",
            Self::UnknownKey { .. } => "proof_unknown_key",
            Self::KeyRetired => "proof_key_retired",
            Self::BadSignature => "proof_bad_signature",
            Self::InvalidClaims => "proof_invalid_claims",
            Self::WrongIssuer => "proof_wrong_issuer",
            Self::WrongAudience => "proof_wrong_audience",
            Self::WrongTenant => "proof_wrong_tenant",
            Self::WrongPeer => "proof_wrong_peer",
            Self::WrongPeerKey => "proof_wrong_peer_key",
            Self::Expired => "proof_expired",
            Self::NotYetValid => "proof_not_yet_valid",
            Self::Revoked => "proof_revoked",
        }
    }
}

/// Why a public key was not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofKeyError {
    /// Its name can't be used.
    #[error("key: {0}")]
    Kid(#[from] crate::KeyError),
    /// Not 32 bytes in base64url.
    #[error("key {kid:?}: public_key is not 32 bytes in base64url without padding (RFC 8037 'x')")]
    PublicKey {
        /// The key's name.
        kid: String,
    },
    /// The name is taken by another key.
    #[error("key {kid:?}: another key has this kid; a name is never used twice")]
    KidReused {
        /// The key's name.
        kid: String,
    },
    /// It was withdrawn.
    #[error("key {kid:?}: it was withdrawn; a withdrawn key never comes back")]
    Withdrawn {
        /// The key's name.
        kid: String,
    },
    /// No room.
    #[error("key {kid:?}: {limit} keys are in use already; let old ones retire (not_after_ms) or raise max_keys")]
    TooMany {
        /// The key's name.
        kid: String,
        /// The limit.
        limit: usize,
    },
}
