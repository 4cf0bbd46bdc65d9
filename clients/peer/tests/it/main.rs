//! Two connections in one process over real UDP on loopback.
#![allow(clippy::unwrap_used, missing_docs)]

mod ending;
mod pair;
mod refusals;
mod transfer;
