//! Configuration, HTTP shell and telemetry from outside, over real sockets.
#![allow(clippy::unwrap_used, missing_docs)]

mod client;
mod config;
mod dead_letters;
mod http;
mod serve;
mod tokens;
mod traces;
