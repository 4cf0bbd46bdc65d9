use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::{Checks, ConfigProblem, Secret, Validate};

/// Shortest secret for HS256: the length of its hash (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// Most secrets that are good at once: the one in use and those being rolled in or out. Each costs an HMAC per token.
const MAX_SECRETS: usize = 4;

/// Most addresses of key sets: each is asked when a token names an unknown key.
const MAX_URLS: usize = 4;

/// Which access tokens a service takes. Put it into the service's configuration with `#[serde(flatten)]`: the keys stay
/// flat (`token_secret`, …), and the service's `config.toml` explains each and holds the defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // config.toml is their documentation
pub struct TokenSettings {
    pub token_secret: Secret,
    pub token_public_key: String,
    pub token_secret_kid: String,
    pub token_public_kid: String,
    pub token_issuer: String,
    pub token_audience: String,
    pub token_jwks_url: String,
    pub token_jwks_max_age_ms: u64,
    pub token_jwks_stale_ms: u64,
    pub token_jwks_min_interval_ms: u64,
    pub token_jwks_timeout_ms: u64,
    pub token_jwks_max_bytes: usize,
}

impl TokenSettings {
    /// Whether anything is set that tokens could be verified with.
    pub fn has_key(&self) -> bool {
        self.token_secret.is_set() || !self.token_public_key.is_empty() || self.jwks_urls().next().is_some()
    }

    /// Where keys are published.
    pub(super) fn jwks_urls(&self) -> impl Iterator<Item = &str> {
        self.token_jwks_url.split([',', ' ', '\n']).map(str::trim).filter(|url| !url.is_empty())
    }

    /// The secrets that tokens may be signed with now, the newest first; none where none is set.
    pub fn secrets(&self) -> Vec<SecretString> {
        let text = self.token_secret.current();
        each(text.expose_secret()).map(SecretString::from).collect()
    }
}

/// The secrets in a text that has one a line.
fn each(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

impl Validate for TokenSettings {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        let secrets = self.secrets();
        let rule = format!("has {} secrets; at most {MAX_SECRETS}", secrets.len());
        checks.require(
            secrets.len() <= MAX_SECRETS,
            "token_secret",
            &rule,
            "remove those that no token is signed with",
        );
        let long_enough = secrets.iter().all(|secret| secret.expose_secret().len() >= MIN_SECRET_BYTES);
        let rule = "is shorter than 32 bytes (RFC 7518 §3.2)";
        checks.require(long_enough, "token_secret", rule, "make one with `openssl rand -base64 32`");
        let distinct = self.token_secret_kid != self.token_public_kid;
        checks.require(distinct, "token_public_kid", "equals token_secret_kid", "give each key its own name");
        let urls = self.jwks_urls().count();
        let rule = format!("names {urls} addresses; at most {MAX_URLS}");
        checks.require(urls <= MAX_URLS, "token_jwks_url", &rule, "name those that issue tokens");
        for url in self.jwks_urls() {
            let good = Url::parse(url).is_ok_and(|url| {
                ["http", "https"].contains(&url.scheme()) && url.has_host() && url.password().is_none()
            });
            let fix = "write it like https://login.example.com/.well-known/jwks.json";
            checks.require(good, "token_jwks_url", &format!("{url:?} is no address of a key set"), fix);
        }
        checks.range("token_jwks_max_age_ms", self.token_jwks_max_age_ms, 1_000..=86_400_000);
        checks.range("token_jwks_stale_ms", self.token_jwks_stale_ms, 0..=604_800_000);
        checks.range("token_jwks_min_interval_ms", self.token_jwks_min_interval_ms, 1_000..=3_600_000);
        checks.range("token_jwks_timeout_ms", self.token_jwks_timeout_ms, 100..=30_000);
        checks.range("token_jwks_max_bytes", self.token_jwks_max_bytes, 1_024..=4_194_304);
        checks.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(secret: &str) -> TokenSettings {
        TokenSettings {
            token_secret: Secret::new(secret),
            token_public_key: String::new(),
            token_secret_kid: "hs-1".into(),
            token_public_kid: "ed-1".into(),
            token_issuer: "synapse".into(),
            token_audience: "synapse-gateway".into(),
            token_jwks_url: String::new(),
            token_jwks_max_age_ms: 3_600_000,
            token_jwks_stale_ms: 86_400_000,
            token_jwks_min_interval_ms: 30_000,
            token_jwks_timeout_ms: 3_000,
            token_jwks_max_bytes: 262_144,
        }
    }

    #[test]
    fn secrets_are_one_a_line_long_enough_and_few() {
        let (one, two) = ("a secret of thirty-two bytes or so", "another one, thirty-two bytes or so");
        assert!(with("").problems().is_empty() && !with("").has_key());
        assert!(with(one).problems().is_empty() && with(one).has_key());
        let both = with(&format!("{one}\r\n\n{two}\n"));
        assert!(both.problems().is_empty());
        let secrets = both.secrets();
        assert_eq!(secrets.iter().map(ExposeSecret::expose_secret).collect::<Vec<_>>(), [one, two]);
        assert_eq!(with(&format!("{one}\nshort")).problems().len(), 1);
        assert_eq!(with(&[one; 5].join("\n")).problems().len(), 1);
        let published = |text: &str| TokenSettings { token_jwks_url: text.into(), ..with("") };
        assert!(published("https://a.example/jwks, https://b.example/jwks").problems().is_empty());
        assert!(published("https://a.example/jwks").has_key());
        for bad in ["a.example/jwks", "file:///etc/passwd", "https://u:p@a.example/jwks"] {
            assert_eq!(published(bad).problems().len(), 1, "{bad}");
        }
        assert_eq!(published(&["https://a.example/"; 5].join(",")).problems().len(), 1);
        assert_eq!(TokenSettings { token_public_kid: "hs-1".into(), ..with(one) }.problems().len(), 1);
    }
}
