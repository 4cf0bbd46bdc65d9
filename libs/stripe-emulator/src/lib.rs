//! A real HTTP server that behaves like Stripe's API, for the demo and the tests.
//!
//! [`StripeEmulator::start`] binds a loopback address and serves `/v1/…` as Stripe does: form-encoded requests, JSON
//! answers, API versions, `expand[]`, idempotency keys, the error envelope, and signed webhooks with retries. What
//! Stripe does only on a bad day (doubled, reordered, late or lost webhooks; timeouts, resets, 5xx, HTML) happens here
//! when asked for, through `/_emulator/…`. The README lists both.
//!
//! It refuses to start in production mode and on any address but loopback, and delivers webhooks to loopback only.
//!
//! Objects are kept as JSON with the fields of every API version; rendering takes away what the caller's version does
//! not have. A new endpoint is a line in `routes` and a function in `resources`; a new field of a version is a line in
//! `version`.

// Stripe's objects are written out whole; serde_json's `json!` recurses once per token.
#![recursion_limit = "256"]

mod announce;
mod api;
mod app;
mod call;
mod control;
mod delivery;
mod error;
mod faults;
mod idempotency;
mod ids;
mod journal;
mod kind;
mod listing;
mod metadata;
mod options;
mod pages;
mod params;
mod render;
mod resources;
mod routes;
mod schedule;
mod server;
mod socket;
mod spoiled;
mod time;
mod version;
mod world;

pub use delivery::{DeliveryPlan, Order, RetryPolicy};
pub use options::{AfterRetries, Dunning, Limits, Mode, Options, SeedPrice, SeedWebhook};
pub use server::StripeEmulator;
