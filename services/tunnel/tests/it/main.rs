#![allow(clippy::unwrap_used, missing_docs)]

mod access;
mod breaks;
#[path = "../contract/mod.rs"]
mod contract;
mod harness;
mod http2;
mod inspect;
mod names;
mod origin;
mod origins;
mod passing;
mod quotas;
mod subscriptions;
mod switching;
mod usage;
