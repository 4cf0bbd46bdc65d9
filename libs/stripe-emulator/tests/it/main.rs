//! The emulator from outside: over HTTP, with a receiver for its webhooks.
#![allow(clippy::unwrap_used, missing_docs)]

mod api;
mod checkout;
mod connect;
mod entitlements;
mod faults;
mod idempotency;
mod lifecycle;
mod lists;
mod portal;
mod prorations;
mod safety;
mod support;
mod time;
mod versions;
mod webhooks;
