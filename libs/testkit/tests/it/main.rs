//! The real servers and the proxy.
#![allow(clippy::unwrap_used, missing_docs)]

mod proxy;
mod servers;
