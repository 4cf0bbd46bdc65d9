//! Configuration, HTTP shell and telemetry from outside, over real sockets.
#![allow(clippy::unwrap_used, missing_docs)]

mod client;
mod config;
mod dead_letters;
mod guard;
mod http;
mod limits;
mod serve;
mod tls;
mod tokens;
mod traces;
