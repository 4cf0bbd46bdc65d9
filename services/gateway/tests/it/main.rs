#![allow(clippy::unwrap_used, missing_docs)]

mod client;
mod closing;
#[path = "../contract/mod.rs"]
mod contract;
mod doubles;
mod fan_out;
mod frames;
mod handshake;
mod harness;
mod limits;
mod papers;
mod refusals;
mod routes;
