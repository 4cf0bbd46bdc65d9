//! Tokens and proofs, with every way to be refused.
#![allow(clippy::unwrap_used, missing_docs)]

mod api_keys;
mod jwks;
mod keys;
mod proof_attacks;
mod proofs;
mod proofs_over_time;
mod tokens;
