//! Who calls: access tokens, verified with keys that may change while the service runs.

mod provider;
mod refusal;
mod settings;

pub use refusal::Unauthenticated;
pub use settings::TokenSettings;

use std::sync::Arc;

use arc_swap::ArcSwap;
use auth::{JwkSet, Principal, TokenError, TokenKey, TokenRules, TokenVerifier};
use clock::Clock;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use self::provider::Provider;
use crate::Platform;
use crate::config::Mode;

/// How far the clocks of token issuers may differ from ours, seconds.
const LEEWAY_S: u64 = 30;

/// The access tokens that a service takes. One per service; share it.
pub struct Tokens {
    clock: Clock,
    settings: TokenSettings,
    /// Made anew when the secret's file changes.
    verifier: ArcSwap<TokenVerifier>,
    providers: Vec<Arc<Provider>>,
}

impl Tokens {
    /// Reads and fetches the keys, and again while the process runs. An identity provider that does not answer keeps
    /// nobody from starting: it is asked again.
    ///
    /// # Errors
    /// When no key is configured, or one that can't be used.
    pub async fn start(platform: &Platform, settings: &TokenSettings) -> anyhow::Result<Arc<Self>> {
        let none = "token_secret, token_public_key: set one, or token_jwks_url, or nobody can authenticate";
        anyhow::ensure!(settings.has_key(), none);
        let providers = settings.jwks_urls().map(|url| {
            let is_safe = platform.mode == Mode::Development || url.starts_with("https://");
            anyhow::ensure!(is_safe, "token_jwks_url: {url} is not https; whoever is on the way could sign tokens");
            Provider::try_new(url, settings, platform)
        });
        let providers = providers.collect::<anyhow::Result<Vec<_>>>()?;
        let verifier = ArcSwap::from_pointee(verifier(settings)?);
        let tokens = Arc::new(Self { clock: platform.clock.clone(), settings: settings.clone(), verifier, providers });
        // Before the fetch: a secret that changes while it takes its time would not be noticed.
        let rotated = Arc::clone(&tokens);
        platform.rotate(vec![("token_secret", settings.token_secret.clone())], move || rotated.renew());
        tokens.refresh().await;
        for provider in &tokens.providers {
            platform.lifecycle.spawn("tokens.jwks", Arc::clone(provider).keep_fresh());
        }
        Ok(tokens)
    }

    /// Who the bearer token of these headers speaks for.
    ///
    /// # Errors
    /// Why nobody.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, Unauthenticated> {
        self.verify(bearer(headers).ok_or(Unauthenticated::Missing)?).await
    }

    /// Who a token speaks for. A key that nobody here knows is asked for once.
    ///
    /// # Errors
    /// Why nobody.
    pub async fn verify(&self, token: &str) -> Result<Principal, Unauthenticated> {
        let verdict = self.verify_now(token);
        if self.providers.is_empty() || verdict != Err(TokenError::UnknownKey) {
            return Ok(verdict?);
        }
        self.refresh().await;
        let verdict = self.verify_now(token);
        let is_failing = self.providers.iter().any(|provider| provider.is_failing());
        if verdict == Err(TokenError::UnknownKey) && is_failing {
            // It may well be good: nobody who has just signed in should be told to sign in again.
            let retry_after_s = self.settings.token_jwks_min_interval_ms.div_ceil(1_000);
            return Err(Unauthenticated::KeysUnavailable { retry_after_s });
        }
        Ok(verdict?)
    }

    fn verify_now(&self, token: &str) -> Result<Principal, TokenError> {
        let published: Vec<Arc<JwkSet>> = self.providers.iter().filter_map(|provider| provider.set()).collect();
        self.verifier.load().verify_with(token, &published, self.clock.now_ms())
    }

    async fn refresh(&self) {
        futures::future::join_all(self.providers.iter().map(|provider| provider.refresh())).await;
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
