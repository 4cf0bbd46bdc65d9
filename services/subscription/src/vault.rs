//! Seals the private halves of proof keys before they are stored: AES-256-GCM (NIST SP 800-38D) under a key that HKDF
//! (RFC 5869) makes from a secret which is not in the table. Whoever reads the table alone can sign nothing.
//!
//! The setting holds one secret or several: the first seals, every one opens. So a secret is rotated by putting a new
//! one in front; what the older one sealed is sealed anew at the next look at the keys, and then the older one may go.

use auth::SigningKey;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{self, HKDF_SHA256, Salt};
use clock::Entropy;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use service::config::Secret;

use crate::stripe::hex;

/// Shortest secret, characters: `openssl rand -base64 32` gives 44.
pub(crate) const MIN_SECRET_CHARS: usize = 32;
/// Most secrets at once: the new one, the old one, and room for a mistake.
pub(crate) const MAX_SECRETS: usize = 4;

/// Separates these keys from any other use of the same secret.
const SALT: &[u8] = b"synapse subscription proof keys, version 1";

/// A sealed private key, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    /// Names the secret it was sealed with, without telling anything of it.
    by: String,
    nonce: String,
    /// Ciphertext and tag, hexadecimal.
    text: String,
}

/// Why a private key was not opened. Never shows it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    #[error(
        "proofs.sealing_secret holds no secret that this key was sealed with; put the older secret behind the new one"
    )]
    UnknownSecret,
    #[error("the sealed key was changed, or is another key's; restore it or withdraw the key")]
    Broken,
}

/// Seals and opens with the secrets as they are now.
pub(crate) struct Vault {
    secrets: Secret,
    entropy: Entropy,
}

struct SealingKey {
    name: String,
    key: LessSafeKey,
}

impl Vault {
    pub(crate) fn new(secrets: Secret, entropy: Entropy) -> Self {
        Self { secrets, entropy }
    }

    /// Seals the private half of `key`; it opens under the same `kid` only.
    pub(crate) fn seal(&self, key: &SigningKey) -> Result<Sealed, VaultError> {
        let current = self.keys().into_iter().next().ok_or(VaultError::UnknownSecret)?;
        let mut nonce = [0; NONCE_LEN];
        self.entropy.fill(&mut nonce);
        let mut text = key.to_secret().expose_secret().as_bytes().to_vec();
        let sealed =
            current.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(key.kid()), &mut text);
        sealed.map_err(|_| VaultError::Broken)?;
        Ok(Sealed { by: current.name, nonce: hex(&nonce), text: hex(&text) })
    }

    /// The private key that was sealed.
    pub(crate) fn open(&self, kid: &str, sealed: &Sealed) -> Result<SigningKey, VaultError> {
        let key = self.keys().into_iter().find(|key| key.name == sealed.by).ok_or(VaultError::UnknownSecret)?;
        let nonce = unhex(&sealed.nonce).and_then(|bytes| bytes.try_into().ok()).ok_or(VaultError::Broken)?;
        let mut text = unhex(&sealed.text).ok_or(VaultError::Broken)?;
        let opened = key.key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(kid), &mut text);
        let seed = opened.ok().and_then(|seed| std::str::from_utf8(seed).ok()).ok_or(VaultError::Broken)?;
        SigningKey::from_secret(kid, &SecretString::from(seed)).map_err(|_| VaultError::Broken)
    }

    /// Whether it was sealed with the secret that seals now.
    pub(crate) fn is_current(&self, sealed: &Sealed) -> bool {
        self.keys().first().is_some_and(|key| key.name == sealed.by)
    }

    fn keys(&self) -> Vec<SealingKey> {
        let text = self.secrets.current();
        secrets(text.expose_secret()).map(SealingKey::derive).collect()
    }
}

impl SealingKey {
    fn derive(secret: &str) -> Self {
        let (mut key, mut name) = ([0; 32], [0; 8]);
        let pseudorandom = Salt::new(HKDF_SHA256, SALT).extract(secret.as_bytes());
        for (purpose, out) in [("seal", &mut key[..]), ("name", &mut name[..])] {
            let length = Length(out.len());
            pseudorandom
                .expand(&[purpose.as_bytes()], length)
                .and_then(|made| made.fill(out))
                .expect("HKDF gives up to 8,160 bytes");
        }
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("AES-256 takes 32 bytes");
        Self { name: hex(&name), key: LessSafeKey::new(key) }
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// The secrets in a setting: separated by white space or commas.
pub(crate) fn secrets(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', '\r', '\n', ',']).filter(|secret| !secret.is_empty())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn vault(text: &str) -> Vault {
        Vault::new(Secret::new(text), Entropy::system())
    }

    fn secret(name: &str) -> String {
        format!("{name}-{}", "x".repeat(40))
    }

    fn key() -> SigningKey {
        SigningKey::from_seed("k-1", &[7; 32]).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_again_and_shows_nothing_of_the_key() {
        let vault = vault(&secret("a"));
        let sealed = vault.seal(&key()).unwrap();
        assert_eq!(vault.open("k-1", &sealed).unwrap().public_key(), key().public_key());
        let stored = serde_json::to_string(&sealed).unwrap();
        assert!(!stored.contains(key().to_secret().expose_secret()));
        assert_ne!(vault.seal(&key()).unwrap(), sealed, "each time with a nonce of its own");
    }

    #[test]
    fn a_new_secret_in_front_seals_and_the_older_one_still_opens() {
        let sealed = vault(&secret("old")).seal(&key()).unwrap();
        let both = vault(&format!("{}\n{}\n", secret("new"), secret("old")));
        assert!(!both.is_current(&sealed) && both.open("k-1", &sealed).is_ok());
        let again = both.seal(&both.open("k-1", &sealed).unwrap()).unwrap();
        assert!(both.is_current(&again));
        let new = vault(&secret("new"));
        assert!(new.open("k-1", &again).is_ok());
        assert!(matches!(new.open("k-1", &sealed), Err(VaultError::UnknownSecret)));
    }

    #[test]
    fn a_sealed_key_that_was_changed_or_moved_does_not_open() {
        let vault = vault(&secret("a"));
        let sealed = vault.seal(&key()).unwrap();
        assert!(matches!(vault.open("k-2", &sealed), Err(VaultError::Broken)), "another key's name");
        for broken in [
            Sealed { text: format!("00{}", &sealed.text[2..]), ..sealed.clone() },
            Sealed { text: sealed.text[..8].into(), ..sealed.clone() },
            Sealed { text: "é".into(), ..sealed.clone() },
            Sealed { nonce: "00".into(), ..sealed.clone() },
        ] {
            assert!(matches!(vault.open("k-1", &broken), Err(VaultError::Broken)));
        }
    }
}
