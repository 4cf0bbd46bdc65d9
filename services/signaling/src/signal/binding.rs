//! Whether a certificate is shown by whom it belongs to: its fingerprint signed with the peer's identity key (Ed25519).
//! A proof bound to a key (`cnf.jkt`, RFC 7800), and a key that the peer has published in presence, make the signature
//! compulsory: who stole the proof alone can't answer for its peer. Without such a key it is checked where it is given.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::signals::signaling::Binding;
use contracts::{PeerId, SessionId};

/// How far the clocks of a peer and of this process may differ, and how old a signature may be, seconds.
const MAX_AGE_S: u64 = 300;

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) session_id: &'a SessionId,
    pub(crate) from: &'a PeerId,
    pub(crate) to: &'a PeerId,
    pub(crate) fingerprint: &'a str,
}

/// What is known of a peer's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownKeys {
    /// Thumbprint of the key that its proof is bound to (RFC 7638).
    pub(crate) thumbprint: Option<String>,
    /// The Ed25519 keys that it has published, as [`Binding::public_key`] writes them.
    pub(crate) published: Vec<String>,
}

/// Checks the signature over a certificate.
///
/// # Errors
/// Which rule is broken, and what to do.
pub(crate) fn check_binding(
    binding: Option<&Binding>,
    signed: Signed<'_>,
    known: &KnownKeys,
    now_ms: u64,
) -> Result<(), String> {
    let Some(binding) = binding else {
        let why = match (&known.thumbprint, known.published.is_empty()) {
            (None, true) => return Ok(()),
            (Some(_), _) => "the proof is bound to a key",
            (None, false) => "the peer has published a key",
        };
        return Err(format!("binding: is missing; {why}: sign the SDP's fingerprint with it"));
    };
    let Some(key) = decode(&binding.public_key).filter(|key| key.len() == 32) else {
        return Err("binding.public_key: is no Ed25519 key: 32 bytes as base64url without padding".into());
    };
    if known.thumbprint.as_ref().is_some_and(|wanted| *wanted != jwk_thumbprint(&binding.public_key)) {
        return Err("binding.public_key: is not the key that the proof is bound to".into());
    }
    if !known.published.is_empty() && !known.published.contains(&binding.public_key) {
        return Err("binding.public_key: is none of the keys that the peer has published".into());
    }
    if (now_ms / 1_000).abs_diff(binding.issued_at_s) > MAX_AGE_S {
        return Err(format!("binding.issued_at_s: is more than {MAX_AGE_S} s from now; sign each description anew"));
    }
    let text = Binding::text(signed.session_id, signed.from, signed.to, signed.fingerprint, binding.issued_at_s);
    let good = decode(&binding.signature)
        .is_some_and(|signature| UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &signature).is_ok());
    if good { Ok(()) } else { Err("binding.signature: does not fit session, peers and fingerprint of this SDP".into()) }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The thumbprint of an Ed25519 key (RFC 7638 §3, RFC 8037 §2).
fn jwk_thumbprint(public_key: &str) -> String {
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{public_key}"}}"#);
    URL_SAFE_NO_PAD.encode(digest(&SHA256, jwk.as_bytes()))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    const NOW_MS: u64 = 1_790_000_000_000;
    const PRINT: &str = "sha-256 AA:BB";

    fn of(session: &SessionId, from: &PeerId, to: &PeerId, fingerprint: &str) -> Binding {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        let issued_at_s = NOW_MS / 1_000;
        let text = Binding::text(session, from, to, fingerprint, issued_at_s);
        Binding {
            public_key: URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
            issued_at_s,
            signature: URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes()).as_ref()),
        }
    }

    #[test]
    fn the_thumbprint_is_that_of_the_rfc() {
        // RFC 8037, appendix A.3.
        let thumbprint = jwk_thumbprint("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(thumbprint, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn only_the_signature_of_this_very_description_is_good() {
        let (session, alice, bob): (SessionId, PeerId, PeerId) =
            ("s1".parse().unwrap(), "alice".parse().unwrap(), "bob".parse().unwrap());
        let signed = Signed { session_id: &session, from: &alice, to: &bob, fingerprint: PRINT };
        let good = of(&session, &alice, &bob, PRINT);
        let thumbprint = jwk_thumbprint(&good.public_key);
        let check = |binding: Option<&Binding>, thumbprint: Option<&str>, now_ms: u64| {
            let known = KnownKeys { thumbprint: thumbprint.map(str::to_owned), published: Vec::new() };
            check_binding(binding, signed, &known, now_ms).err().unwrap_or_default()
        };
        let published = |binding: Option<&Binding>, key: &str| {
            let known = KnownKeys { thumbprint: None, published: vec!["other".into(), key.to_owned()] };
            check_binding(binding, signed, &known, NOW_MS).err().unwrap_or_default()
        };
        assert_eq!(published(Some(&good), &good.public_key), "");
        assert!(published(Some(&good), "another").starts_with("binding.public_key: is none"));
        assert!(published(None, "another").starts_with("binding: is missing; the peer"));
        for key in [None, Some(thumbprint.as_str())] {
            assert_eq!(check(Some(&good), key, NOW_MS), "");
        }
        assert_eq!(check(None, None, NOW_MS), "");
        assert!(check(None, Some(&thumbprint), NOW_MS).starts_with("binding: is missing"));
        assert!(check(Some(&good), Some("other"), NOW_MS).starts_with("binding.public_key: is not"));
        assert!(check(Some(&good), None, NOW_MS + 301_000).starts_with("binding.issued_at_s"));
        assert!(check(Some(&good), None, NOW_MS - 301_000).starts_with("binding.issued_at_s"));
        let keyless = Binding { public_key: "AAAA".into(), ..good.clone() };
        assert!(check(Some(&keyless), None, NOW_MS).starts_with("binding.public_key: is no"));
        for other in [of(&session, &bob, &alice, PRINT), of(&session, &alice, &bob, "sha-256 AA:BC")] {
            assert!(check(Some(&other), None, NOW_MS).starts_with("binding.signature"));
        }
        let unread = Binding { signature: "?".into(), ..good };
        assert!(check(Some(&unread), None, NOW_MS).starts_with("binding.signature"));
    }
}
