#![allow(clippy::unwrap_used, missing_docs)]

mod access;
mod breaks;
mod harness;
mod names;
mod origin;
mod passing;
mod switching;
