//! The real service on an embedded bus and a temporary SQLite file, against the Stripe emulator.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../contract/mod.rs"]
mod contract;
mod create;
mod harness;
mod proofs;
mod stripe_failures;
mod webhooks;
