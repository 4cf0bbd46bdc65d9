//! The real service on an embedded bus and a temporary SQLite file, against the Stripe emulator.
#![allow(clippy::unwrap_used, missing_docs)]

mod changes;
#[path = "../contract/mod.rs"]
mod contract;
mod create;
mod harness;
mod offers;
mod orders;
mod proof_keys;
mod proofs;
mod reconcile;
mod snapshot;
mod stripe_failures;
mod usage;
mod webhooks;
