use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use service::config::{Checks, ConfigProblem, Secret, Validate};

/// Most secrets that are good at once: one in use, one being rolled in, for two endpoints. Each costs an HMAC per body.
pub(crate) const MAX_SECRETS: usize = 4;

/// The secrets in a text that lists them.
pub(crate) fn each_secret(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|secret| !secret.is_empty())
}

/// The webhook service's settings; `config.toml` explains each and holds the defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Signing secrets of the Stripe endpoint, whole (`whsec_…`), 1 to 4, with commas or white space between them.
    pub secrets: Secret,
    /// Where Stripe posts to.
    pub path: String,
    /// How far a signature's time may lie from ours, before and after, seconds.
    pub tolerance_s: u64,
    /// The API version that events should have; empty for any.
    pub expected_api_version: String,
    /// Largest body, bytes.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive, milliseconds.
    pub body_timeout_ms: u64,
    /// How long an event may take to become durable, milliseconds.
    pub store_timeout_ms: u64,
    /// Most requests at once.
    pub max_in_flight: usize,
    /// How long events are kept and recognised, days.
    pub memory_days: u64,
}

impl Validate for Config {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.range("tolerance_s", self.tolerance_s, 1..=3_600);
        checks.range("max_body_bytes", self.max_body_bytes, 1_024..=2_097_152);
        checks.range("body_timeout_ms", self.body_timeout_ms, 100..=60_000);
        checks.range("store_timeout_ms", self.store_timeout_ms, 50..=30_000);
        checks.range("max_in_flight", self.max_in_flight, 1..=10_000);
        checks.range("memory_days", self.memory_days, 4..=365);
        let secrets = self.secrets.current();
        let count = each_secret(secrets.expose_secret()).count();
        let rule = format!("{count} secrets; at most {MAX_SECRETS}");
        checks.require(count <= MAX_SECRETS, "secrets", &rule, "remove those that Stripe no longer signs with");
        for (number, secret) in each_secret(secrets.expose_secret()).enumerate() {
            let good = secret.bytes().all(|byte| byte.is_ascii_graphic());
            let rule = format!("number {} has odd characters in it", number + 1);
            checks.require(good, "secrets", &rule, "copy the endpoint's signing secret from Stripe, whole: whsec_…");
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
        let good = self.path.starts_with('/') && self.path.len() <= 200 && self.path.bytes().all(plain);
        checks.require(good, "path", "is no plain path", "write it like /stripe/webhook: A-Z a-z 0-9 / - _ . ~");
        let version = &self.expected_api_version;
        let good = version.is_empty() || version.starts_with(|c: char| c.is_ascii_digit()) && version.len() <= 64;
        checks.require(good, "expected_api_version", "is no API version", "write it as Stripe does: 2025-03-31.basil");
        checks.finish()
    }
}

impl Config {
    pub(crate) fn memory_ms(&self) -> u64 {
        self.memory_days * 24 * 60 * 60 * 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = defaults();
        change(&mut config);
        config.problems().iter().map(ToString::to_string).collect()
    }

    fn defaults() -> Config {
        let sources = service::config::Sources {
            service: crate::NAME,
            defaults: &[crate::DEFAULTS],
            file: None,
            env: std::iter::empty(),
        };
        service::config::load(sources).expect("the compiled defaults are good")
    }

    #[test]
    fn secrets_are_never_empty_never_many_and_never_shown() {
        for good in ["whsec_a", "whsec_a,whsec_b", "whsec_a\nwhsec_b\r\n", " a, b ,c d "] {
            assert!(with(|config| config.secrets = Secret::new(good)).is_empty(), "{good:?}");
        }
        for bad in ["whsec_\0", "whsec_\u{e9}", "a,b,c,d,e"] {
            assert_eq!(with(|config| config.secrets = Secret::new(bad)).len(), 1, "{bad:?}");
        }
        let config = Config { secrets: Secret::new("whsec_hush"), ..defaults() };
        assert!(!service::config::dump(&config).contains("hush") && !format!("{config:?}").contains("hush"));
    }

    #[test]
    fn every_number_has_its_range_and_a_path_is_plain() {
        assert_eq!(with(|config| config.tolerance_s = 0).len(), 1);
        assert_eq!(with(|config| config.max_body_bytes = 4 << 20).len(), 1);
        assert_eq!(with(|config| config.memory_days = 3).len(), 1);
        for path in ["stripe", "", "/{id}", "/a b", "/*rest"] {
            assert_eq!(with(|config| config.path = path.into()).len(), 1, "{path}");
        }
    }

    #[test]
    fn secrets_come_from_one_variable() {
        let env = [("SYNAPSE_WEBHOOK__SECRETS".to_owned(), "whsec_new, whsec_old".to_owned())];
        let sources = service::config::Sources {
            service: crate::NAME,
            defaults: &[crate::DEFAULTS],
            file: None,
            env: env.into_iter(),
        };
        let config: Config = service::config::load(sources).expect("good");
        let text = config.secrets.current();
        assert_eq!(each_secret(text.expose_secret()).collect::<Vec<_>>(), ["whsec_new", "whsec_old"]);
    }
}
