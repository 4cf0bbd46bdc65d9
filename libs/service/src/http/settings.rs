use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{HttpLimits, ServeOptions};
use crate::config::{Checks, ConfigProblem, Validate};

/// Defaults of [`HttpSettings`]: a layer of defaults for services that serve HTTP.
pub const HTTP_DEFAULTS: &str = include_str!("http.toml");

/// How a service serves HTTP to others; `[http]` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpSettings {
    /// Where it listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Most connections at once, 1 to 1,000,000.
    pub max_connections: usize,
    /// How long a client may take to send a request's headers, milliseconds, 100 to 120,000.
    pub header_read_timeout_ms: u64,
    /// Requests that take longer are logged as warnings, milliseconds.
    pub slow_ms: u64,
    /// What a request may be like.
    pub limits: HttpLimits,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            max_connections: 10_000,
            header_read_timeout_ms: 10_000,
            slow_ms: 1_000,
            limits: HttpLimits::default(),
        }
    }
}

impl HttpSettings {
    /// What [`super::serve`] needs of it.
    pub fn serve_options(&self, drain_ms: u64) -> ServeOptions {
        ServeOptions {
            drain_ms,
            header_read_timeout_ms: self.header_read_timeout_ms,
            max_connections: self.max_connections,
        }
    }
}

impl Validate for HttpSettings {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.range("http.max_connections", self.max_connections, 1..=1_000_000);
        checks.range("http.header_read_timeout_ms", self.header_read_timeout_ms, 100..=120_000);
        checks.range("http.slow_ms", self.slow_ms, 1..=3_600_000);
        checks.extend(self.limits.problems());
        checks.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_and_the_code_have_the_same_defaults() {
        #[derive(Deserialize)]
        struct Whole {
            http: HttpSettings,
        }
        let whole: Whole = toml::from_str(HTTP_DEFAULTS).expect("TOML");
        assert_eq!(whole.http, HttpSettings::default());
        assert!(whole.http.problems().is_empty());
    }
}
