#![allow(clippy::unwrap_used, missing_docs)]

mod binary;
mod client;
mod closing;
#[path = "../contract/mod.rs"]
mod contract;
mod doubles;
mod edge;
mod fan_out;
mod frames;
mod handshake;
mod harness;
mod limits;
mod messages;
mod nats;
mod openapi;
mod papers;
mod presence;
mod proof_keys;
mod refusals;
mod resume;
mod routes;
mod streams;
mod tickets;
