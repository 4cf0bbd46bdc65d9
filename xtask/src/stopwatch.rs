//! How long a step took, for people to read.

use std::fmt;
use std::time::{Duration, Instant};

/// Started once, read any time; prints as seconds.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[allow(clippy::disallowed_methods)] // a developer's tool measures real time
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

impl fmt::Display for Stopwatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.1} s", self.elapsed().as_secs_f64())
    }
}
