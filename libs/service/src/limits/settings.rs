use serde::{Deserialize, Serialize};

use super::bucket::Policy;
use crate::config::{Checks, ConfigProblem};

/// How much one limit allows; a table of two numbers in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Most at once, and how many come back per window; 0 to 10,000,000. 0: this limit is off.
    pub quota: u64,
    /// How long an empty bucket takes to fill, seconds, 1 to 86,400.
    pub window_s: u64,
}

impl Quota {
    /// The policy of this name; `None` when it is off.
    pub fn policy(&self, name: &'static str) -> Option<Policy> {
        (self.quota > 0).then_some(Policy { name, quota: self.quota, window_ms: self.window_s * 1_000 })
    }

    /// What is wrong with it; `key` is where it stands.
    pub fn problems(&self, key: &str) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.range(&format!("{key}.quota"), self.quota, 0..=10_000_000);
        checks.range(&format!("{key}.window_s"), self.window_s, 1..=86_400);
        checks.finish()
    }
}

/// What happens to a call that can't be counted, because the store does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailMode {
    /// It passes, uncounted.
    Open,
    /// It is refused with 503.
    Closed,
}

/// How a [`super::Limiter`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimiterSettings {
    /// What happens without the store. Default open: an outage of the limits is not an outage of the service.
    pub when_unknown: FailMode,
    /// Keys remembered in this process; more cost a look into the store each. Default 100,000.
    pub max_keys: usize,
    /// How long leased tokens are good, milliseconds. Default 10,000.
    pub lease_ms: u64,
    /// How long a call waits for the store, milliseconds. Default 500.
    pub wait_ms: u64,
}

impl Default for LimiterSettings {
    fn default() -> Self {
        Self { when_unknown: FailMode::Open, max_keys: 100_000, lease_ms: 10_000, wait_ms: 500 }
    }
}
