//! The keys that an identity provider publishes: a JWK set (RFC 7517) of which only what can verify is kept.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::jws::{MAX_KID_LEN, decode_bytes};

/// Most keys of one set.
const MAX_KEYS: usize = 64;

/// RSA keys: below, they can be factored some day soon (NIST SP 800-131A); above, verifying costs too much.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Longest RSA exponent, bytes; everybody uses 3.
const MAX_EXPONENT_BYTES: usize = 8;

/// The published keys that tokens may be signed with. Each brings its algorithms: RS256 and PS256 for RSA of 2,048 to
/// 8,192 bits (or the one that its `alg` names), ES256 for P-256, ES384 for P-384, EdDSA for Ed25519.
#[derive(Clone, Default)]
pub struct JwkSet {
    keys: Vec<PublishedKey>,
    skipped: Vec<SkippedKey>,
}

#[derive(Clone)]
pub(crate) struct PublishedKey {
    kid: String,
    algorithms: Vec<(&'static str, Algorithm)>,
    pub(crate) key: DecodingKey,
}

/// A key of the set that is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kid:?} is not used: {reason}")]
pub struct SkippedKey {
    /// Its name, or its place in the set.
    pub kid: String,
    /// Why.
    pub reason: SkipReason,
}

/// Why a key of a set is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// No token could name it.
    #[error("it has no kid of 1 to 100 bytes")]
    NoKid,
    /// A shared secret that is published is none: whoever reads the set could sign.
    #[error("it is symmetric; a published secret lets everybody sign")]
    Symmetric,
    /// The private half is in the set.
    #[error("its private half is published with it; everybody can sign with it")]
    Private,
    /// It is for encryption, or for signing only.
    #[error("its use or key_ops does not include verifying")]
    NotForVerifying,
    /// Neither of the key types above.
    #[error("its kty or crv is not one of RSA, P-256, P-384, Ed25519")]
    UnknownType,
    /// An algorithm that is not of its type, or that is not taken.
    #[error("its alg does not fit its type, or is not one of RS256, PS256, ES256, ES384, EdDSA")]
    WrongAlgorithm,
    /// The modulus is too short or too long.
    #[error("it is RSA of {0} bits; 2048 to 8192 are taken")]
    RsaBits(usize),
    /// A part that it needs is missing or no base64url of the right length.
    #[error("its {0} is missing or malformed")]
    Malformed(&'static str),
}

/// Why a document is no key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not JSON with a list `keys`.
    #[error("it is not a JWK set (RFC 7517 §5): a JSON object with a list 'keys'")]
    Malformed,
    /// More keys than anybody needs.
    #[error("it has {0} keys; at most 64 are taken")]
    TooMany(usize),
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// What of a JWK (RFC 7517, RFC 7518 §6, RFC 8037) decides anything.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<Value>,
}

impl JwkSet {
    /// Reads a set. Keys that can't be used are left out and told by [`JwkSet::skipped`]: one odd key must not take the
    /// others away.
    ///
    /// # Errors
    /// When the document as a whole is none.
    pub fn parse(document: &[u8]) -> Result<Self, JwksError> {
        let Document { keys } = serde_json::from_slice(document).map_err(|_| JwksError::Malformed)?;
        if keys.len() > MAX_KEYS {
            return Err(JwksError::TooMany(keys.len()));
        }
        let mut set = Self::default();
        for (place, key) in keys.into_iter().enumerate() {
            let name = key["kid"].as_str().map_or_else(|| format!("#{place}"), str::to_owned);
            let jwk = serde_json::from_value::<Jwk>(key).map_err(|_| SkipReason::Malformed("form"));
            match jwk.and_then(PublishedKey::try_from) {
                Ok(key) => set.keys.push(key),
                Err(reason) => set.skipped.push(SkippedKey { kid: name.chars().take(MAX_KID_LEN).collect(), reason }),
            }
        }
        Ok(set)
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether none can.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that are not used, and why.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// The keys of this name: RFC 7517 §4.5 allows several.
    pub(crate) fn named<'a>(&'a self, kid: &'a str) -> impl Iterator<Item = &'a PublishedKey> {
        self.keys.iter().filter(move |key| key.kid == kid)
    }
}

impl PublishedKey {
    /// The algorithm of this name, if signatures by this key may be made with it.
    pub(crate) fn algorithm(&self, name: &str) -> Option<Algorithm> {
        self.algorithms.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }
}

impl TryFrom<Jwk> for PublishedKey {
    type Error = SkipReason;

    fn try_from(jwk: Jwk) -> Result<Self, SkipReason> {
        if jwk.kty == "oct" {
            return Err(SkipReason::Symmetric);
        }
        if jwk.d.is_some() {
            return Err(SkipReason::Private);
        }
        let is_for_signatures = jwk.usage.as_deref().is_none_or(|usage| usage == "sig");
        let may_verify = jwk.key_ops.as_ref().is_none_or(|known| known.iter().any(|operation| operation == "verify"));
        if !is_for_signatures || !may_verify {
            return Err(SkipReason::NotForVerifying);
        }
        let (mut algorithms, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => (vec![("RS256", Algorithm::RS256), ("PS256", Algorithm::PS256)], rsa(&jwk)?),
            ("EC", Some("P-256")) => (vec![("ES256", Algorithm::ES256)], ec(&jwk, 32)?),
            ("EC", Some("P-384")) => (vec![("ES384", Algorithm::ES384)], ec(&jwk, 48)?),
            ("OKP", Some("Ed25519")) => {
                let x = part(jwk.x.as_deref(), "x", 32..=32)?;
                (vec![("EdDSA", Algorithm::EdDSA)], DecodingKey::from_ed_der(&x))
            }
            _ => return Err(SkipReason::UnknownType),
        };
        if let Some(alg) = &jwk.alg {
            algorithms.retain(|(name, _)| name == alg);
            if algorithms.is_empty() {
                return Err(SkipReason::WrongAlgorithm);
            }
        }
        let kid = jwk.kid.filter(|kid| (1..=MAX_KID_LEN).contains(&kid.len())).ok_or(SkipReason::NoKid)?;
        Ok(Self { kid, algorithms, key })
    }
}

fn rsa(jwk: &Jwk) -> Result<DecodingKey, SkipReason> {
    let modulus = part(jwk.n.as_deref(), "n", 1..=RSA_BITS.end() / 8 + 1)?;
    let exponent = part(jwk.e.as_deref(), "e", 1..=MAX_EXPONENT_BYTES)?;
    // Leading zeros don't make a key longer.
    let modulus = &modulus[modulus.iter().take_while(|byte| **byte == 0).count()..];
    let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err(SkipReason::RsaBits(bits));
    }
    Ok(DecodingKey::from_rsa_raw_components(modulus, &exponent))
}

/// An uncompressed point (SEC 1 §2.3.3). Whether it lies on its curve is checked with each signature.
fn ec(jwk: &Jwk, bytes: usize) -> Result<DecodingKey, SkipReason> {
    let x = part(jwk.x.as_deref(), "x", bytes..=bytes)?;
    let y = part(jwk.y.as_deref(), "y", bytes..=bytes)?;
    let point: Vec<u8> = [&[4], &x[..], &y[..]].concat();
    Ok(DecodingKey::from_ec_der(&point))
}

fn part(text: Option<&str>, name: &'static str, bytes: std::ops::RangeInclusive<usize>) -> Result<Vec<u8>, SkipReason> {
    let decoded = text.and_then(decode_bytes).filter(|decoded| bytes.contains(&decoded.len()));
    decoded.ok_or(SkipReason::Malformed(name))
}
