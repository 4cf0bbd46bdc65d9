#![allow(clippy::unwrap_used, missing_docs)]

mod binary;
mod client;
mod closing;
mod doubles;
mod fan_out;
mod frames;
mod handshake;
mod harness;
mod limits;
mod messages;
mod papers;
mod refusals;
mod resume;
mod routes;
mod streams;
mod tickets;
