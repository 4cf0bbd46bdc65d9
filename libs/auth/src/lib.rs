//! Tokens, keys and subscription proofs: mint and verify.
//!
//! - [`TokenVerifier`] turns an access token (JWT, RFC 7519) into a [`Principal`]; [`TokenMinter`] makes such tokens for
//!   development and tests.
//! - [`ProofSigner`] issues subscription proofs, [`ProofVerifier`] checks them locally, without asking anybody.
//! - [`JwkSet`] holds the keys that an identity provider publishes, [`ApiKey`] is a secret of our own that stands for a
//!   caller.
//! - [`SigningKey`] is the Ed25519 key behind both.
//!
//! Everything here is pure: no I/O, no waiting, the time is an argument (`now_ms`). The algorithm of a signature is
//! fixed by the key it is checked with, never by what a token says about itself (RFC 8725 §3.1).

mod api_keys;
mod jwks;
mod jws;
mod keys;
mod minter;
mod proofs;
mod token_error;
mod tokens;

pub use api_keys::{ApiKey, ApiKeyError, ApiKeyHash, KeyKind};
pub use jwks::{JwkSet, JwksError, SkipReason, SkippedKey};
pub use keys::{KeyError, SigningKey};
pub use minter::{Grant, TokenMinter};
pub use proofs::{
    DEFAULT_TTL_MS, Entitlement, Expected, IssueError, Proof, ProofError, ProofKeyError, ProofRules, ProofSigner,
    ProofVerifier, REFRESH_PERCENT, SKEW_MS, SignerRules,
};
pub use token_error::TokenError;
pub use tokens::{MAX_TOKEN_LEN, Principal, Role, RulesError, TokenKey, TokenRules, TokenVerifier};
