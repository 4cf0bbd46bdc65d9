//! Facts, past tense, one file per owner.

pub mod billing;
pub mod gateway;
pub mod presence;
pub mod signaling;
pub mod subscription;
pub mod tunnel;
pub mod usage;
pub mod webhook;
