#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../contract/mod.rs"]
mod contract;
mod ending;
mod harness;
mod opening;
mod places;
mod proofs;
mod sending;
