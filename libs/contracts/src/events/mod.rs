//! Facts, past tense, one file per owner.

pub mod presence;
pub mod signaling;
pub mod subscription;
pub mod webhook;
