#![allow(clippy::unwrap_used, missing_docs)]

mod ending;
mod harness;
mod opening;
mod proofs;
mod sending;
