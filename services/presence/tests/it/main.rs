#![allow(clippy::unwrap_used, missing_docs)]

mod callers;
mod connections;
#[path = "../contract/mod.rs"]
mod contract;
mod counting;
mod discovery;
mod harness;
mod leases;
mod listing;
mod places;
