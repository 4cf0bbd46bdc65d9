//! The outbox on the embedded bus and SQLite.
#![allow(clippy::unwrap_used, missing_docs)]

mod dead;
mod dynamo;
mod fixture;
mod inbox;
mod overlap;
mod relay;
mod retry;
mod wire;
