use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::config::{Checks, ConfigProblem, Secret, Validate};

/// Shortest secret for HS256: the length of its hash (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// Most secrets that are good at once: the one in use and those being rolled in or out. Each costs an HMAC per token.
const MAX_SECRETS: usize = 4;

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
}

impl TokenSettings {
    /// Whether anything is set that tokens could be verified with.
    pub fn has_key(&self) -> bool {
        self.token_secret.is_set() || !self.token_public_key.is_empty()
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
        assert_eq!(TokenSettings { token_public_kid: "hs-1".into(), ..with(one) }.problems().len(), 1);
    }
}
