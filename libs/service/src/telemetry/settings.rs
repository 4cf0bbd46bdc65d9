use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::config::{Checks, ConfigProblem, Validate};

/// Logs and traces of a process; `[telemetry]` in the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TelemetrySettings {
    /// How a log line looks.
    pub log_format: LogFormat,
    /// Which lines are written: `EnvFilter` directives.
    pub log_filter: String,
    /// Base URL of an OTLP/HTTP collector; empty turns traces off.
    pub otlp_endpoint: String,
    /// Part of the traces that begin here and are recorded, 0 to 1; a caller's decision goes first.
    pub sample_ratio: f64,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people's eyes.
    Human,
}

impl Default for TelemetrySettings {
    /// Human lines from `info` up, no traces.
    fn default() -> Self {
        Self {
            log_format: LogFormat::Human,
            log_filter: "info".into(),
            otlp_endpoint: String::new(),
            sample_ratio: 0.1,
        }
    }
}

impl Validate for TelemetrySettings {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        let filter = EnvFilter::try_new(&self.log_filter).is_ok();
        let fix = "write directives like \"info,hyper=warn\"";
        checks.require(filter, "telemetry.log_filter", "is not a list of directives", fix);
        let url = url::Url::parse(&self.otlp_endpoint);
        let http = url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let endpoint = self.otlp_endpoint.is_empty() || http;
        let fix = "give a URL like \"http://127.0.0.1:4318\", or nothing";
        checks.require(endpoint, "telemetry.otlp_endpoint", "is not an http(s) URL", fix);
        checks.range("telemetry.sample_ratio", self.sample_ratio, 0.0..=1.0);
        checks.finish()
    }
}
