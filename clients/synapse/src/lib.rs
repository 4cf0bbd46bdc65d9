//! The command line, and the demo that `synapsed demo` and `cargo xtask fleet` run: everything through the public
//! interfaces, as a customer would.

mod admin;
mod agent_id;
mod api;
pub mod billing;
pub mod conformance;
pub mod contract;
pub mod dead_letters;
pub mod demo;
mod junit;
pub mod limits;
pub mod tunnel;
pub mod webhooks;

pub use admin::Told;
pub use api::{Api, ApiError};
