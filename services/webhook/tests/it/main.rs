//! The real service over HTTP: embedded bus, SQLite, manual clock.
#![allow(clippy::unwrap_used, missing_docs)]

mod attacks;
mod bodies;
#[path = "../contract/mod.rs"]
mod contract;
mod crash;
mod differential;
mod durability;
mod emulator;
mod endpoints;
mod fuzz;
mod harness;
mod intake;
mod operators;
mod owners;
mod permutations;
mod publishing;
mod settling;
