//! The real service over HTTP: embedded bus, SQLite, manual clock.
#![allow(clippy::unwrap_used, missing_docs)]

mod bodies;
#[path = "../contract/mod.rs"]
mod contract;
mod durability;
mod emulator;
mod harness;
mod intake;
mod publishing;
mod settling;
