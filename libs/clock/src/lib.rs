//! Time and randomness as handles, so that tests drive them and nothing reads them behind a caller's back.
//!
//! Pure code takes `now_ms` as an argument. Code that does I/O holds a [`Clock`] and an [`Entropy`]; production gets
//! the system's, tests a manual clock and a seed.

mod entropy;
mod time;

pub use entropy::Entropy;
pub use time::{Clock, ManualClock};
