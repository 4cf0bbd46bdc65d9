#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../contract/mod.rs"]
mod contract;
mod ending;
mod fuzz;
mod gateways;
mod harness;
mod mailbox;
mod opening;
mod places;
mod proofs;
mod sending;
mod several;
mod turn;
