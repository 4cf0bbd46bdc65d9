use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use clock::Entropy;
use secrecy::{ExposeSecret, SecretString};

const LIVE: &str = "syn_live_";
const TEST: &str = "syn_test_";

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// 256 random bits in base 62: 62^43 > 2^256.
const SECRET_DIGITS: usize = 43;
/// A CRC-32 in base 62: 62^6 > 2^32.
const CHECK_DIGITS: usize = 6;
/// Characters of a key that are shown so that people can tell keys apart: 24 of its 256 random bits at most.
const HINT_DIGITS: usize = 4;

/// Which kind of installation a key is for, so that a live key in a test system (or the other way round) is told at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Production.
    Live,
    /// Everything else.
    Test,
}

impl KeyKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Live => LIVE,
            Self::Test => TEST,
        }
    }
}

/// Why a text is no API key. Told without a look at any store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    /// Not a prefix and 49 digits.
    #[error("this is not an API key: syn_live_ or syn_test_ and 49 letters and digits; copy the whole key")]
    Malformed,
    /// The last six characters don't fit the others.
    #[error("this API key has a typing error: its check digits don't fit; copy it again")]
    Checksum,
}

/// What is kept of an API key.
///
/// SHA-256 without salt and without stretching is right here, and would be wrong for a password: the secret is 256
/// random bits, so there is nothing to guess and nothing that two keys could share; whoever reads the store can't turn
/// a hash back, and a lookup by hash tells nothing by the time it takes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ApiKeyHash([u8; 32]);

impl ApiKeyHash {
    /// As text: 64 characters of hexadecimal.
    pub fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyHash([redacted])")
    }
}

/// An API key: `syn_live_` or `syn_test_`, 43 digits of secret, 6 of checksum (CRC-32 of all before it, so that scanners
/// and typing errors are told without a lookup). Never shows itself.
#[derive(Clone, Debug)]
pub struct ApiKey {
    kind: KeyKind,
    text: SecretString,
}

impl ApiKey {
    /// A new key.
    pub fn generate(kind: KeyKind, entropy: &Entropy) -> Self {
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        let text = format!("{}{}", kind.prefix(), digits(bytes));
        let check = checksum(&text);
        Self { kind, text: format!("{text}{check}").into() }
    }

    /// Whether a text is meant to be an API key rather than a JWT.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("syn_")
    }

    /// Reads a key.
    ///
    /// # Errors
    /// Its form or its checksum is wrong.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        let kinds = [KeyKind::Live, KeyKind::Test];
        let kind = kinds.into_iter().find(|kind| text.starts_with(kind.prefix())).ok_or(ApiKeyError::Malformed)?;
        let rest = &text[kind.prefix().len()..];
        if rest.len() != SECRET_DIGITS + CHECK_DIGITS || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(ApiKeyError::Malformed);
        }
        let (signed, check) = text.split_at(text.len() - CHECK_DIGITS);
        if checksum(signed) != check {
            return Err(ApiKeyError::Checksum);
        }
        Ok(Self { kind, text: text.to_owned().into() })
    }

    /// What it is for.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key itself: for its owner, once.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// What is kept of it.
    pub fn hash(&self) -> ApiKeyHash {
        let hash = digest(&SHA256, self.expose().as_bytes());
        ApiKeyHash(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// The beginning, by which people tell keys apart: `syn_live_4fQz`.
    pub fn hint(&self) -> String {
        self.expose()[..self.kind.prefix().len() + HINT_DIGITS].to_owned()
    }
}

/// 256 bits in base 62, most significant digit first.
fn digits(mut number: [u8; 32]) -> String {
    let mut text = [b'0'; SECRET_DIGITS];
    for digit in text.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            rest = rest << 8 | u32::from(*byte);
            *byte = u8::try_from(rest / 62).expect("the rest is below 62, so the quotient is below 256");
            rest %= 62;
        }
        *digit = DIGITS[rest as usize];
    }
    text.iter().map(|digit| char::from(*digit)).collect()
}

/// The CRC-32 (IEEE 802.3) of `text` in base 62, six digits.
fn checksum(text: &str) -> String {
    let mut crc = u32::MAX;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    let mut rest = !crc;
    let mut text = [b'0'; CHECK_DIGITS];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    text.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_known_crc() {
        // The check value of CRC-32/ISO-HDLC: 0xCBF43926 = 3421780262.
        let value = checksum("123456789").bytes().fold(0_u64, |value, digit| {
            value * 62 + DIGITS.iter().position(|known| *known == digit).expect("a digit") as u64
        });
        assert_eq!(value, 0xCBF4_3926);
    }

    #[test]
    fn all_bits_of_the_secret_reach_its_digits() {
        assert_eq!(digits([0; 32]), "0".repeat(43));
        let mut one = [0; 32];
        one[31] = 61;
        assert!(digits(one).ends_with("0z"));
        let distinct: std::collections::BTreeSet<String> = (0..256)
            .map(|bit: usize| {
                let mut bytes = [0; 32];
                bytes[bit / 8] = 1 << (bit % 8);
                digits(bytes)
            })
            .collect();
        assert_eq!(distinct.len(), 256);
    }
}
