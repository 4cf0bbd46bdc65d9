//! Everything in one process, from outside: the demo, restarts, bad configurations, traces, rotated secrets,
//! metering, what
//! operators type.
#![allow(clippy::unwrap_used, missing_docs)]

mod child;
mod configuration;
mod conformance;
mod contracts;
mod defects;
mod demo;
mod faults;
mod guide;
mod killed;
mod metering;
mod operators;
mod rotation;
mod running;
mod sdk;
mod serve;
mod traces;
