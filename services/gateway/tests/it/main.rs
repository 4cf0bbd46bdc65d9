#![allow(clippy::unwrap_used, missing_docs)]

mod client;
mod closing;
mod doubles;
mod fan_out;
mod frames;
mod handshake;
mod harness;
mod limits;
mod papers;
mod proof_keys;
mod refusals;
mod routes;
