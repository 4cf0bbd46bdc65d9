use std::sync::Arc;

use contracts::{TenantId, UserId};
use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::jwks::JwkSet;
use crate::jws::{Header, Parts, numeric_date_ms};
use crate::keys::{KeyError, check_kid, check_secret};
use crate::token_error::TokenError;

/// Longest token that is looked at, in characters.
pub const MAX_TOKEN_LEN: usize = 10_000;

/// Most keys a verifier holds: enough for a rotation in every environment, few enough to read.
const MAX_KEYS: usize = 16;

/// Most secrets of one name: each costs an HMAC.
const MAX_SECRETS: usize = 4;

/// Longest `jti` that is kept, in bytes.
const MAX_TOKEN_ID_LEN: usize = 255;

/// A key that access tokens may be signed with. Its algorithm is part of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TokenKey {
    /// Shared secrets of at least 32 bytes, HMAC-SHA-256 (RFC 7518 §3.2).
    Hs256 {
        /// The key's name.
        kid: String,
        /// 1 to 4, any of which may have signed: while a secret is rolled, the old one and the new one. A secret's bytes
        /// are the text's bytes.
        secrets: Vec<SecretString>,
    },
    /// An Ed25519 public key (RFC 8037).
    EdDsa {
        /// The key's name.
        kid: String,
        /// Its 32 bytes.
        public_key: [u8; 32],
    },
}

impl TokenKey {
    /// An Ed25519 public key given as base64url without padding (the `x` of its JWK, RFC 8037 §2).
    ///
    /// # Errors
    /// [`RulesError::PublicKey`] when it is not 32 bytes in base64url.
    pub fn ed_dsa(kid: &str, public_key: &str) -> Result<Self, RulesError> {
        let bytes = crate::jws::decode_bytes(public_key).and_then(|bytes| bytes.try_into().ok());
        let public_key = bytes.ok_or(RulesError::PublicKey)?;
        Ok(Self::EdDsa { kid: kid.to_owned(), public_key })
    }
}

/// What a token must fulfil.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// The one accepted `iss`.
    pub issuer: String,
    /// Must be (among) `aud`.
    pub audience: String,
    /// At most 16 keys with different names. None where all of them are published: see [`TokenVerifier::verify_with`].
    pub keys: Vec<TokenKey>,
    /// How far clocks may differ, seconds, at most 30.
    pub leeway_s: u64,
}

/// Why rules can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// No issuer.
    #[error("issuer: is empty; name the one issuer whose tokens are accepted")]
    NoIssuer,
    /// No audience.
    #[error("audience: is empty; name this service as tokens do in 'aud'")]
    NoAudience,
    /// Too many keys.
    #[error("keys: there are {0}; give at most 16")]
    KeyCount(usize),
    /// Two keys of one name.
    #[error("keys: {0:?} is there twice; give every key its own kid")]
    DuplicateKid(String),
    /// No secret, or too many of one name.
    #[error("keys: {kid:?} has {count} secrets; give 1 to 4")]
    SecretCount {
        /// The key's name.
        kid: String,
        /// How many.
        count: usize,
    },
    /// Leeway above the limit.
    #[error("leeway_s: {0} is over 30; synchronise the clocks instead")]
    Leeway(u64),
    /// A public key is not one.
    #[error("keys: an Ed25519 public key is 32 bytes in base64url without padding (RFC 8037 `x`)")]
    PublicKey,
    /// A key can't be used.
    #[error("keys: {0}")]
    Key(#[from] KeyError),
}

/// What somebody may do inside a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
    /// Their own things.
    User,
    /// Look only. A token without a `role` gets this.
    ReadOnly,
}

/// Who a good token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The tenant they act in (`tenant`).
    pub tenant: TenantId,
    /// Who they are (`sub`).
    pub user: UserId,
    /// What they may do (`role`).
    pub role: Role,
    /// When the token ends, Unix milliseconds, without leeway.
    pub expires_at_ms: u64,
    /// The token's own id (`jti`), where it has one.
    pub token_id: Option<String>,
}

struct Key {
    kid: String,
    name: &'static str,
    algorithm: Algorithm,
    /// Any of them may have signed.
    keys: Vec<DecodingKey>,
}

/// Checks access tokens.
pub struct TokenVerifier {
    issuer: String,
    audience: String,
    keys: Vec<Key>,
    leeway_ms: u64,
}

/// Every claim as it came: an absent one and a wrong-typed one are different answers.
#[derive(Deserialize)]
struct Claims {
    #[serde(default, deserialize_with = "present")]
    iss: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    aud: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    sub: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    tenant: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    role: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    exp: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    iat: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    jti: Option<Value>,
}

/// Keeps a `null` apart from an absent claim.
fn present<'de, D: Deserializer<'de>>(claim: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(claim).map(Some)
}

impl TokenVerifier {
    /// A verifier for `rules`.
    ///
    /// # Errors
    /// The first rule of [`RulesError`] that is broken.
    pub fn try_new(rules: TokenRules) -> Result<Self, RulesError> {
        let TokenRules { issuer, audience, keys, leeway_s } = rules;
        if issuer.is_empty() {
            return Err(RulesError::NoIssuer);
        }
        if audience.is_empty() {
            return Err(RulesError::NoAudience);
        }
        if keys.len() > MAX_KEYS {
            return Err(RulesError::KeyCount(keys.len()));
        }
        if leeway_s > 30 {
            return Err(RulesError::Leeway(leeway_s));
        }
        let mut known: Vec<Key> = Vec::with_capacity(keys.len());
        for key in keys {
            let key = Key::try_from(key)?;
            if known.iter().any(|other| other.kid == key.kid) {
                return Err(RulesError::DuplicateKid(key.kid));
            }
            known.push(key);
        }
        Ok(Self { issuer, audience, keys: known, leeway_ms: leeway_s * 1000 })
    }

    /// Who `token` speaks for at `now_ms`. It is good while `nbf − leeway ≤ now < exp + leeway`.
    ///
    /// # Errors
    /// What is wrong with it: form first, then signature, then claims.
    pub fn verify(&self, token: &str, now_ms: u64) -> Result<Principal, TokenError> {
        self.verify_with(token, &[], now_ms)
    }

    /// The same, where a token may be signed with a published key, too. The keys of the rules go first: whoever writes a
    /// set can't take one of their names over.
    ///
    /// # Errors
    /// As [`TokenVerifier::verify`].
    pub fn verify_with(&self, token: &str, published: &[Arc<JwkSet>], now_ms: u64) -> Result<Principal, TokenError> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(TokenError::TooLong);
        }
        let parts = Parts::split(token).ok_or(TokenError::Malformed)?;
        let header = parts.header().ok_or(TokenError::Malformed)?;
        // RFC 8725 §3.11: a JWT made for something else must not pass as an access token.
        let fits = |typ: &String| ["jwt", "at+jwt"].contains(&typ.to_ascii_lowercase().as_str());
        if !header.typ.as_ref().is_none_or(fits) {
            return Err(TokenError::WrongType);
        }
        match self.key(header.kid.as_deref(), published)? {
            Some(key) => key.check(&parts, &header.alg)?,
            None => check_published(&parts, &header, published)?,
        }
        self.check(parts.claims().ok_or(TokenError::Malformed)?, now_ms)
    }

    /// The configured key of this name; `None` when it can only be a published one.
    fn key(&self, kid: Option<&str>, published: &[Arc<JwkSet>]) -> Result<Option<&Key>, TokenError> {
        match (kid, self.keys.as_slice()) {
            (Some(kid), keys) => Ok(keys.iter().find(|key| key.kid == kid)),
            (None, [only]) if published.is_empty() => Ok(Some(only)),
            (None, _) => Err(TokenError::MissingKeyId),
        }
    }

    fn check(&self, claims: Claims, now_ms: u64) -> Result<Principal, TokenError> {
        let issuer = text(claims.iss, "iss")?;
        let audience = required(claims.aud, "aud")?;
        let user = text(claims.sub, "sub")?;
        let tenant = text(claims.tenant, "tenant")?;
        let expires_at_ms = time(required(claims.exp, "exp")?, "exp")?;
        if issuer != self.issuer {
            return Err(TokenError::WrongIssuer);
        }
        if !self.is_for_us(&audience)? {
            return Err(TokenError::WrongAudience);
        }
        for (value, name) in [(claims.nbf, "nbf"), (claims.iat, "iat")] {
            if let Some(value) = value
                && time(value, name)? > now_ms.saturating_add(self.leeway_ms)
            {
                return Err(TokenError::NotYetValid);
            }
        }
        if now_ms >= expires_at_ms.saturating_add(self.leeway_ms) {
            return Err(TokenError::Expired);
        }
        Ok(Principal {
            tenant: tenant.try_into().map_err(|_| TokenError::InvalidClaim("tenant"))?,
            user: user.try_into().map_err(|_| TokenError::InvalidClaim("sub"))?,
            role: role(claims.role)?,
            expires_at_ms,
            token_id: token_id(claims.jti)?,
        })
    }

    /// `aud` is one text or a list of texts (RFC 7519 §4.1.3).
    fn is_for_us(&self, audience: &Value) -> Result<bool, TokenError> {
        match audience {
            Value::String(one) => Ok(*one == self.audience),
            Value::Array(many) if many.iter().all(Value::is_string) => {
                Ok(many.iter().any(|one| one.as_str() == Some(self.audience.as_str())))
            }
            _ => Err(TokenError::InvalidClaim("aud")),
        }
    }
}

impl Key {
    fn check(&self, parts: &Parts<'_>, alg: &str) -> Result<(), TokenError> {
        if alg != self.name {
            return Err(TokenError::AlgorithmMismatch);
        }
        let is_signed = self.keys.iter().any(|one| parts.is_signed_by(one, self.algorithm));
        if is_signed { Ok(()) } else { Err(TokenError::BadSignature) }
    }
}

/// Whether one of the published keys of the header's name made the signature, with an algorithm that is the key's own.
fn check_published(parts: &Parts<'_>, header: &Header, published: &[Arc<JwkSet>]) -> Result<(), TokenError> {
    let kid = header.kid.as_deref().unwrap_or_default();
    let mut verdict = Err(TokenError::UnknownKey);
    for key in published.iter().flat_map(|set| set.named(kid)) {
        match key.algorithm(&header.alg) {
            Some(algorithm) if parts.is_signed_by(&key.key, algorithm) => return Ok(()),
            Some(_) => verdict = Err(TokenError::BadSignature),
            None if verdict == Err(TokenError::UnknownKey) => verdict = Err(TokenError::AlgorithmMismatch),
            None => {}
        }
    }
    verdict
}

impl TryFrom<TokenKey> for Key {
    type Error = RulesError;

    fn try_from(key: TokenKey) -> Result<Self, RulesError> {
        let (kid, name, algorithm, keys) = match key {
            TokenKey::Hs256 { kid, secrets } => {
                if !(1..=MAX_SECRETS).contains(&secrets.len()) {
                    return Err(RulesError::SecretCount { kid, count: secrets.len() });
                }
                secrets.iter().try_for_each(check_secret)?;
                let keys = secrets.iter().map(|secret| DecodingKey::from_secret(secret.expose_secret().as_bytes()));
                (kid, "HS256", Algorithm::HS256, keys.collect())
            }
            TokenKey::EdDsa { kid, public_key } => {
                (kid, "EdDSA", Algorithm::EdDSA, vec![DecodingKey::from_ed_der(&public_key)])
            }
        };
        check_kid(&kid)?;
        Ok(Self { kid, name, algorithm, keys })
    }
}

fn required(value: Option<Value>, name: &'static str) -> Result<Value, TokenError> {
    value.filter(|value| !value.is_null()).ok_or(TokenError::MissingClaim(name))
}

fn text(value: Option<Value>, name: &'static str) -> Result<String, TokenError> {
    match required(value, name)? {
        Value::String(text) => Ok(text),
        _ => Err(TokenError::InvalidClaim(name)),
    }
}

#[allow(clippy::needless_pass_by_value)] // the claims are taken apart here; nothing needs them afterwards
fn time(value: Value, name: &'static str) -> Result<u64, TokenError> {
    numeric_date_ms(&value).ok_or(TokenError::InvalidClaim(name))
}

fn role(value: Option<Value>) -> Result<Role, TokenError> {
    let Some(value) = value else { return Ok(Role::ReadOnly) };
    serde_json::from_value(value).map_err(|_| TokenError::InvalidClaim("role"))
}

fn token_id(value: Option<Value>) -> Result<Option<String>, TokenError> {
    match value {
        None => Ok(None),
        Some(Value::String(id)) if id.len() <= MAX_TOKEN_ID_LEN => Ok(Some(id)),
        Some(_) => Err(TokenError::InvalidClaim("jti")),
    }
}
