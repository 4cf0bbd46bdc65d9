use std::fmt;

use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use clock::Entropy;
use secrecy::{ExposeSecret, SecretBox, SecretString};

use crate::jws;

/// Why a signing key was refused. Never shows the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key's name can't be used.
    #[error("kid: {0:?} is not valid; use 1 to 100 characters of A-Z, a-z, 0-9, '_', '-' and '.'")]
    Kid(String),
    /// The private key can't be read.
    #[error(
        "private key: not a PKCS#8 document of an Ed25519 key (RFC 8410); generate one with this software or openssl"
    )]
    Pkcs8,
    /// The stored secret can't be read.
    #[error(
        "private key: not a 32-byte seed in base64url without padding (43 characters); restore it or generate a new one"
    )]
    Seed,
    /// A shared secret is too short to resist guessing (RFC 7518 §3.2).
    #[error("secret: shorter than 32 bytes, which HS256 needs at least; use 32 random bytes or more")]
    ShortSecret,
}

/// An Ed25519 key pair (RFC 8032) with the name (`kid`) that its signatures carry.
pub struct SigningKey {
    kid: String,
    seed: SecretBox<[u8; 32]>,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// A new key from `entropy`.
    ///
    /// # Errors
    /// [`KeyError::Kid`].
    pub fn generate(kid: &str, entropy: &Entropy) -> Result<Self, KeyError> {
        let mut seed = SecretBox::new(Box::new([0; 32]));
        entropy.fill(secrecy::ExposeSecretMut::expose_secret_mut(&mut seed));
        Self::from_seed(kid, seed.expose_secret())
    }

    /// The key that a 32-byte seed determines (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// [`KeyError::Kid`].
    pub fn from_seed(kid: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        check_kid(kid)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Seed)?;
        Ok(Self { kid: kid.to_owned(), seed: SecretBox::new(Box::new(*seed)), pair })
    }

    /// Reads a PKCS#8 document (DER).
    ///
    /// # Errors
    /// [`KeyError::Kid`], [`KeyError::Pkcs8`].
    pub fn from_pkcs8(kid: &str, der: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| KeyError::Pkcs8)?;
        let seed = pair.seed().and_then(|seed| seed.as_be_bytes()).map_err(|_| KeyError::Pkcs8)?;
        let seed: &[u8; 32] = seed.as_ref().try_into().map_err(|_| KeyError::Pkcs8)?;
        Self::from_seed(kid, seed)
    }

    /// Reads what [`SigningKey::to_secret`] wrote.
    ///
    /// # Errors
    /// [`KeyError::Kid`], [`KeyError::Seed`].
    pub fn from_secret(kid: &str, secret: &SecretString) -> Result<Self, KeyError> {
        let bytes = jws::decode_bytes(secret.expose_secret().trim()).ok_or(KeyError::Seed)?;
        let seed: [u8; 32] = bytes.try_into().map_err(|_| KeyError::Seed)?;
        Self::from_seed(kid, &seed)
    }

    /// The private key as text to store in a secret place: the seed, base64url without padding, 43 characters.
    pub fn to_secret(&self) -> SecretString {
        jws::encode(self.seed.expose_secret()).into()
    }

    /// The key's name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half, 32 bytes.
    pub fn public_key(&self) -> [u8; 32] {
        self.pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes")
    }

    /// The public half as keys are published: base64url without padding (RFC 8037 `x`).
    pub fn public_text(&self) -> String {
        jws::encode(&self.public_key())
    }

    /// Completes a JWS: signs `input` and appends the signature.
    pub(crate) fn sign(&self, input: String) -> String {
        let signature = jws::encode(self.pair.sign(input.as_bytes()).as_ref());
        format!("{input}.{signature}")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).field("private", &"[redacted]").finish()
    }
}

pub(crate) fn check_kid(kid: &str) -> Result<(), KeyError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if (1..=jws::MAX_KID_LEN).contains(&kid.len()) && kid.bytes().all(good) {
        return Ok(());
    }
    Err(KeyError::Kid(kid.chars().take(jws::MAX_KID_LEN).collect()))
}

pub(crate) fn check_secret(secret: &SecretString) -> Result<(), KeyError> {
    if secret.expose_secret().len() < 32 { Err(KeyError::ShortSecret) } else { Ok(()) }
}
