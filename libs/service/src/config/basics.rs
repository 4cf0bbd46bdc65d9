use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Checks, ConfigProblem, Validate};
use crate::telemetry::TelemetrySettings;

/// Defaults of [`Common`]; the first of a service's layers of defaults.
pub const COMMON_DEFAULTS: &str = include_str!("basics.toml");

/// What kind of installation this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Somebody's machine: errors show their details, development-only parts may start.
    Development,
    /// Everything else.
    Production,
}

/// Settings that every service has. Put it into a service's configuration with `#[serde(flatten)]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Common {
    /// Development or production.
    pub mode: Mode,
    /// How long a stopping service waits for what is under way, milliseconds, 100 to 600,000.
    pub drain_ms: u64,
    /// Health and metrics.
    pub admin: AdminSettings,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
}

/// Where health and metrics are served.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdminSettings {
    /// Address to listen at; port 0 picks a free one.
    pub listen: SocketAddr,
}

impl Validate for Common {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.range("drain_ms", self.drain_ms, 100..=600_000);
        checks.extend(self.telemetry.problems());
        checks.finish()
    }
}
