#![allow(clippy::unwrap_used, missing_docs)]
//! The conformance suite: every case on every backend, against real servers. What a backend declares not to do is
//! shown to be lacking.

mod cases;
mod dropped;
mod harness;
mod lacks;
mod outage;
mod unfit;
