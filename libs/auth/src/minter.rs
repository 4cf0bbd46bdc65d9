use contracts::{TenantId, UserId};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::jws;
use crate::keys::{KeyError, SigningKey, check_kid, check_secret};
use crate::tokens::{Role, TokenKey};

/// Makes access tokens for development and tests. In production an identity provider does this.
#[derive(Debug)]
pub struct TokenMinter {
    issuer: String,
    audience: String,
    key: Key,
}

#[derive(Debug)]
enum Key {
    Hs256 { kid: String, secret: SecretString },
    EdDsa(SigningKey),
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The tenant to act in.
    pub tenant: TenantId,
    /// Who.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
    /// How long, milliseconds; rounded down to whole seconds.
    pub ttl_ms: u64,
    /// The token's own id (`jti`).
    pub token_id: String,
}

impl TokenMinter {
    /// Signs with a shared secret.
    ///
    /// # Errors
    /// [`KeyError::Kid`], [`KeyError::ShortSecret`].
    pub fn hs256(issuer: &str, audience: &str, kid: &str, secret: SecretString) -> Result<Self, KeyError> {
        check_kid(kid)?;
        check_secret(&secret)?;
        let key = Key::Hs256 { kid: kid.to_owned(), secret };
        Ok(Self { issuer: issuer.to_owned(), audience: audience.to_owned(), key })
    }

    /// Signs with an Ed25519 key.
    pub fn eddsa(issuer: &str, audience: &str, key: SigningKey) -> Self {
        Self { issuer: issuer.to_owned(), audience: audience.to_owned(), key: Key::EdDsa(key) }
    }

    /// What a verifier needs to accept these tokens.
    pub fn token_key(&self) -> TokenKey {
        match &self.key {
            Key::Hs256 { kid, secret } => TokenKey::Hs256 { kid: kid.clone(), secrets: vec![secret.clone()] },
            Key::EdDsa(key) => TokenKey::EdDsa { kid: key.kid().to_owned(), public_key: key.public_key() },
        }
    }

    /// A token for `grant`, valid from `now_ms`.
    pub fn mint(&self, grant: &Grant, now_ms: u64) -> String {
        let (alg, kid) = match &self.key {
            Key::Hs256 { kid, .. } => ("HS256", kid.as_str()),
            Key::EdDsa(key) => ("EdDSA", key.kid()),
        };
        let header = json!({"alg": alg, "kid": kid, "typ": "JWT"});
        let claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "sub": grant.user,
            "tenant": grant.tenant,
            "role": grant.role,
            "iat": now_ms / 1000,
            "nbf": now_ms / 1000,
            "exp": now_ms.saturating_add(grant.ttl_ms) / 1000,
            "jti": grant.token_id,
        });
        let input = jws::signing_input(&header, &claims);
        match &self.key {
            Key::EdDsa(key) => key.sign(input),
            Key::Hs256 { secret, .. } => {
                let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
                let signature =
                    crypto::sign(input.as_bytes(), &key, Algorithm::HS256).expect("an HMAC key signs any message");
                format!("{input}.{signature}")
            }
        }
    }
}
