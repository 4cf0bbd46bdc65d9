//! Who calls: access tokens, verified with keys that may change while the service runs.

mod refusal;
mod settings;

pub use refusal::Unauthenticated;
pub use settings::TokenSettings;

use std::sync::Arc;

use arc_swap::ArcSwap;
use auth::{Principal, TokenKey, TokenRules, TokenVerifier};
use clock::Clock;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::Platform;

/// How far the clocks of token issuers may differ from ours, seconds.
const LEEWAY_S: u64 = 30;

/// The access tokens that a service takes. One per service; share it.
pub struct Tokens {
    clock: Clock,
    settings: TokenSettings,
    /// Made anew when the secret's file changes.
    verifier: ArcSwap<TokenVerifier>,
}

impl Tokens {
    /// Reads the keys, and again whenever the secret's file changes, until the process stops.
    ///
    /// # Errors
    /// When no key is configured, or one that can't be used.
    pub fn start(platform: &Platform, settings: &TokenSettings) -> anyhow::Result<Arc<Self>> {
        anyhow::ensure!(settings.has_key(), "token_secret, token_public_key: set one, or nobody can authenticate");
        let verifier = ArcSwap::from_pointee(verifier(settings)?);
        let tokens = Arc::new(Self { clock: platform.clock.clone(), settings: settings.clone(), verifier });
        let rotated = Arc::clone(&tokens);
        platform.rotate(vec![("token_secret", settings.token_secret.clone())], move || rotated.renew());
        Ok(tokens)
    }

    /// Who the bearer token of these headers speaks for.
    ///
    /// # Errors
    /// Why nobody.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, Unauthenticated> {
        self.verify(bearer(headers).ok_or(Unauthenticated::Missing)?).await
    }

    /// Who a token speaks for.
    ///
    /// # Errors
    /// Why nobody.
    pub async fn verify(&self, token: &str) -> Result<Principal, Unauthenticated> {
        Ok(self.verifier.load().verify(token, self.clock.now_ms())?)
    }

    /// Uses the secrets as they are now. Ones that can't be used are logged, and the last good ones stay.
    fn renew(&self) {
        match verifier(&self.settings) {
            Ok(verifier) => self.verifier.store(Arc::new(verifier)),
            Err(error) => {
                tracing::error!(%error, "the rotated token_secret can't be used; the one before stays in use");
            }
        }
    }
}

fn verifier(settings: &TokenSettings) -> anyhow::Result<TokenVerifier> {
    let mut keys = Vec::new();
    let secrets = settings.secrets();
    if !secrets.is_empty() {
        keys.push(TokenKey::Hs256 { kid: settings.token_secret_kid.clone(), secrets });
    }
    if !settings.token_public_key.is_empty() {
        keys.push(TokenKey::ed_dsa(&settings.token_public_kid, &settings.token_public_key)?);
    }
    let (issuer, audience) = (settings.token_issuer.clone(), settings.token_audience.clone());
    Ok(TokenVerifier::try_new(TokenRules { issuer, audience, keys, leeway_s: LEEWAY_S })?)
}

/// The bearer token of the Authorization header (RFC 6750 §2.1). Of two such headers neither is one: what stands in
/// front of this service may have looked at the other.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_stands_in_one_authorization_header() {
        let with = |values: &[&'static str]| {
            let pairs = values.iter().map(|text| (AUTHORIZATION, text.parse().expect("a header's value")));
            bearer(&pairs.collect::<HeaderMap>()).map(str::to_owned)
        };
        assert_eq!(with(&["Bearer a.b.c"]).as_deref(), Some("a.b.c"));
        assert_eq!(with(&["bearer  a.b.c "]).as_deref(), Some("a.b.c"));
        for none in [&[][..], &["Basic abc"], &["Bearer"], &["Bearer a.b.c", "Bearer d.e.f"]] {
            assert_eq!(with(none), None, "{none:?}");
        }
    }
}
