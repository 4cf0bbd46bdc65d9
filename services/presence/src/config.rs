use serde::{Deserialize, Serialize};
use service::config::{Checks, ConfigProblem, Validate};

/// Presence's settings; `config.toml` explains each and holds the defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A peer that is not heard of for this long is offline, milliseconds.
    pub lease_ms: u64,
    /// How often expired leases are looked for, milliseconds.
    pub sweep_interval_ms: u64,
    /// Most expired leases ended in one sweep.
    pub sweep_batch: u32,
    /// How long a peer that left is remembered, days.
    pub memory_days: u64,
    /// Most requests handled at once per kind.
    pub max_requests: usize,
}

impl Validate for Config {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.range("lease_ms", self.lease_ms, 3_000..=600_000);
        checks.range("sweep_interval_ms", self.sweep_interval_ms, 50..=60_000);
        checks.range("sweep_batch", self.sweep_batch, 1..=1_000);
        checks.range("memory_days", self.memory_days, 1..=365);
        checks.range("max_requests", self.max_requests, 1..=10_000);
        checks.finish()
    }
}

impl Config {
    pub(crate) fn memory_ms(&self) -> u64 {
        self.memory_days * 24 * 60 * 60 * 1_000
    }
}
