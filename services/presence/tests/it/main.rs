#![allow(clippy::unwrap_used, missing_docs)]

mod callers;
mod connections;
mod harness;
mod leases;
mod listing;
mod places;
