//! Published keys: which are taken, and that no token gets past its key's own algorithm.

use std::sync::Arc;

use auth::{JwkSet, JwksError, SkipReason, TokenError, TokenKey, TokenRules, TokenVerifier};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW_MS: u64 = 1_790_000_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An identity provider with a key of every type.
struct Issuer {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl Issuer {
    fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            ed25519: Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap(),
        }
    }

    fn rsa_jwk(&self) -> Value {
        let key = self.rsa.public_key();
        let (n, e) = (key.modulus(), key.exponent());
        json!({"kty": "RSA", "kid": "rsa", "use": "sig", "n": encode(n.big_endian_without_leading_zero()),
            "e": encode(e.big_endian_without_leading_zero())})
    }

    fn ec_jwk(key: &EcdsaKeyPair, kid: &str, crv: &str) -> Value {
        let point = &key.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        json!({"kty": "EC", "kid": kid, "crv": crv, "x": encode(x), "y": encode(y)})
    }

    fn ed25519_jwk(&self) -> Value {
        json!({"kty": "OKP", "kid": "ed", "crv": "Ed25519", "alg": "EdDSA", "x": encode(self.ed25519.public_key().as_ref())})
    }

    fn jwks(&self) -> Vec<Value> {
        let p256 = Self::ec_jwk(&self.p256, "p256", "P-256");
        vec![self.rsa_jwk(), p256, Self::ec_jwk(&self.p384, "p384", "P-384"), self.ed25519_jwk()]
    }

    fn sign_rsa(&self, encoding: &'static dyn RsaEncoding, alg: &str) -> String {
        signed(alg, "rsa", |message| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        })
    }

    fn sign_ec(key: &EcdsaKeyPair, alg: &str, kid: &str) -> String {
        signed(alg, kid, |message| key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec())
    }

    fn tokens(&self) -> [String; 5] {
        [
            self.sign_rsa(&RSA_PKCS1_SHA256, "RS256"),
            self.sign_rsa(&RSA_PSS_SHA256, "PS256"),
            Self::sign_ec(&self.p256, "ES256", "p256"),
            Self::sign_ec(&self.p384, "ES384", "p384"),
            signed("EdDSA", "ed", |message| self.ed25519.sign(message).as_ref().to_vec()),
        ]
    }
}

fn signed(alg: &str, kid: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let claims = json!({"iss": "synapse", "aud": "api", "sub": "ada", "tenant": "acme", "exp": NOW_MS / 1000 + 600});
    let header = json!({"alg": alg, "kid": kid, "typ": "JWT"});
    let message = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = encode(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// An HMAC over the token, with a key that everybody can have.
fn hmac_signed(alg: &str, kid: &str, key: &[u8]) -> String {
    signed(alg, kid, |message| {
        let text = crypto::sign(message, &EncodingKey::from_secret(key), Algorithm::HS256).unwrap();
        URL_SAFE_NO_PAD.decode(text).unwrap()
    })
}

fn set(keys: &[Value]) -> JwkSet {
    JwkSet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn verifier() -> TokenVerifier {
    let keys = vec![TokenKey::Hs256 { kid: "h1".into(), secrets: vec![SECRET.into()] }];
    let rules = TokenRules { issuer: "synapse".into(), audience: "api".into(), keys, leeway_s: 30 };
    TokenVerifier::try_new(rules).unwrap_or_else(|error| panic!("{error}"))
}

fn verify(token: &str, keys: &[Value]) -> Result<(), TokenError> {
    verifier()
        .verify_with(token, &[Arc::new(set(keys))], NOW_MS)
        .map(|principal| assert_eq!(principal.user.as_str(), "ada"))
}

fn reason(key: Value) -> SkipReason {
    let set = set(&[key]);
    assert!(set.is_empty());
    set.skipped()[0].reason.clone()
}

#[test]
fn tokens_by_keys_of_every_type_are_good() {
    let issuer = Issuer::new();
    assert_eq!((set(&issuer.jwks()).len(), set(&issuer.jwks()).skipped().len()), (4, 0));
    for token in issuer.tokens() {
        verify(&token, &issuer.jwks()).unwrap();
        assert_eq!(verify(&token, &[]), Err(TokenError::UnknownKey));
    }
}

#[test]
fn a_key_of_another_issuer_with_the_same_name_signs_nothing() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    assert_eq!(verify(&issuer.sign_rsa(&RSA_PKCS1_SHA256, "RS256"), &other.jwks()), Err(TokenError::BadSignature));
    // Two sets may have a key of one name; each is tried.
    let sets = [Arc::new(set(&other.jwks())), Arc::new(set(&issuer.jwks()))];
    assert!(verifier().verify_with(&issuer.sign_rsa(&RSA_PKCS1_SHA256, "RS256"), &sets, NOW_MS).is_ok());
}

#[test]
fn hs256_with_the_public_rsa_key_is_refused() {
    let issuer = Issuer::new();
    let jwk = issuer.rsa_jwk();
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    for key in [modulus.as_slice(), jwk["n"].as_str().unwrap().as_bytes(), jwk.to_string().as_bytes()] {
        assert_eq!(verify(&hmac_signed("HS256", "rsa", key), &issuer.jwks()), Err(TokenError::AlgorithmMismatch));
        // The header lying about it does not help.
        assert_eq!(verify(&hmac_signed("RS256", "rsa", key), &issuer.jwks()), Err(TokenError::BadSignature));
    }
}

#[test]
fn hs256_with_the_public_ec_or_ed_key_is_refused() {
    let issuer = Issuer::new();
    for (kid, key) in [("p256", issuer.p256.public_key().as_ref()), ("ed", issuer.ed25519.public_key().as_ref())] {
        assert_eq!(verify(&hmac_signed("HS256", kid, key), &issuer.jwks()), Err(TokenError::AlgorithmMismatch));
    }
}

#[test]
fn none_is_refused_for_every_key() {
    let issuer = Issuer::new();
    for kid in ["rsa", "p256", "p384", "ed", "h1"] {
        for alg in ["none", "None", "NONE", ""] {
            let unsigned = signed(alg, kid, |_| Vec::new());
            assert_eq!(verify(&unsigned, &issuer.jwks()), Err(TokenError::AlgorithmMismatch), "{alg} {kid}");
        }
    }
}

#[test]
fn an_algorithm_of_another_type_or_size_is_refused() {
    let issuer = Issuer::new();
    for (kid, alg) in [
        ("rsa", "ES256"),
        ("rsa", "EdDSA"),
        ("rsa", "RS384"),
        ("rsa", "RS512"),
        ("rsa", "PS512"),
        ("rsa", "rs256"),
        ("p256", "ES384"),
        ("p256", "RS256"),
        ("p384", "ES256"),
        ("ed", "ES256"),
        ("ed", "RS256"),
        ("ed", "HS256"),
    ] {
        let token = signed(alg, kid, |_| vec![1; 64]);
        assert_eq!(verify(&token, &issuer.jwks()), Err(TokenError::AlgorithmMismatch), "{alg} {kid}");
    }
}

#[test]
fn a_key_that_names_its_algorithm_is_good_for_that_one_alone() {
    let issuer = Issuer::new();
    let mut jwk = issuer.rsa_jwk();
    jwk["alg"] = json!("PS256");
    verify(&issuer.sign_rsa(&RSA_PSS_SHA256, "PS256"), &[jwk.clone()]).unwrap();
    let other = issuer.sign_rsa(&RSA_PKCS1_SHA256, "RS256");
    assert_eq!(verify(&other, &[jwk.clone()]), Err(TokenError::AlgorithmMismatch));
    for alg in ["HS256", "RS384", "ES256", "none"] {
        jwk["alg"] = json!(alg);
        assert_eq!(reason(jwk.clone()), SkipReason::WrongAlgorithm, "{alg}");
    }
}

#[test]
fn a_published_key_takes_no_configured_name_over() {
    let issuer = Issuer::new();
    let mut jwk = issuer.ed25519_jwk();
    jwk["kid"] = json!("h1");
    let token = signed("EdDSA", "h1", |message| issuer.ed25519.sign(message).as_ref().to_vec());
    assert_eq!(verify(&token, &[jwk]), Err(TokenError::AlgorithmMismatch));
}

#[test]
fn a_token_without_a_key_id_is_refused_where_keys_are_published() {
    let token = jsonwebtoken::encode(
        &jsonwebtoken::Header::default(),
        &json!({}),
        &EncodingKey::from_secret(SECRET.as_bytes()),
    );
    assert_eq!(verify(&token.unwrap(), &Issuer::new().jwks()), Err(TokenError::MissingKeyId));
}

#[test]
fn shared_secrets_and_private_halves_in_a_set_are_refused() {
    let issuer = Issuer::new();
    assert_eq!(
        reason(json!({"kty": "oct", "kid": "o", "k": encode(SECRET.as_bytes()), "alg": "HS256"})),
        SkipReason::Symmetric
    );
    let mut private = issuer.ed25519_jwk();
    private["d"] = json!(encode(&[7; 32]));
    assert_eq!(reason(private), SkipReason::Private);
}

#[test]
fn keys_that_are_not_for_verifying_or_not_known_are_left_out() {
    let with = |mut jwk: Value, name: &str, value: Value| {
        jwk[name] = value;
        reason(jwk)
    };
    let issuer = Issuer::new();
    let ec = || Issuer::ec_jwk(&issuer.p256, "p256", "P-256");
    assert_eq!(with(ec(), "use", json!("enc")), SkipReason::NotForVerifying);
    assert_eq!(with(ec(), "key_ops", json!(["sign"])), SkipReason::NotForVerifying);
    assert_eq!(with(ec(), "crv", json!("secp256k1")), SkipReason::UnknownType);
    assert_eq!(with(ec(), "kty", json!("DSA")), SkipReason::UnknownType);
    assert_eq!(with(ec(), "crv", json!("P-384")), SkipReason::Malformed("x"));
    assert_eq!(with(ec(), "y", json!("AA==")), SkipReason::Malformed("y"));
    assert_eq!(with(ec(), "kid", json!("k".repeat(101))), SkipReason::NoKid);
    assert_eq!(with(ec(), "kid", json!(7)), SkipReason::Malformed("form"));
    // The others of the set are there all the same.
    let mixed = set(&[ec(), json!({"kty": "oct", "kid": "o", "k": "AA"}), json!("nonsense"), issuer.ed25519_jwk()]);
    assert_eq!((mixed.len(), mixed.skipped().len()), (2, 2));
}

#[test]
fn rsa_keys_are_long_enough_whatever_zeros_lead_them() {
    let of = |modulus: Vec<u8>| json!({"kty": "RSA", "kid": "r", "n": encode(&modulus), "e": "AQAB"});
    assert_eq!(reason(of(vec![0xff; 128])), SkipReason::RsaBits(1_024));
    assert_eq!(reason(of([vec![0; 128], vec![0xff; 128]].concat())), SkipReason::RsaBits(1_024));
    assert_eq!(reason(of([vec![0x7f], vec![0xff; 255]].concat())), SkipReason::RsaBits(2_047));
    assert_eq!(set(&[of(vec![0xff; 256])]).len(), 1);
    assert_eq!(reason(of(vec![0xff; 1_025])), SkipReason::RsaBits(8_200));
    assert_eq!(reason(json!({"kty": "RSA", "kid": "r", "n": encode(&[0xff; 256])})), SkipReason::Malformed("e"));
}

#[test]
fn what_is_no_set_is_refused_as_a_whole() {
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
        assert_eq!(JwkSet::parse(bad.as_bytes()).err(), Some(JwksError::Malformed), "{bad}");
    }
    let many = json!({"keys": vec![json!({}); 65]}).to_string();
    assert_eq!(JwkSet::parse(many.as_bytes()).err(), Some(JwksError::TooMany(65)));
}

proptest! {
    #[test]
    fn no_document_panics(bytes: Vec<u8>, kty in "(RSA|EC|OKP|oct)?", text in "[A-Za-z0-9_-]{0,90}") {
        let _ = JwkSet::parse(&bytes);
        let key = json!({"kty": kty, "kid": "k", "crv": "P-256", "n": text, "e": text, "x": text, "y": text});
        let set = JwkSet::parse(json!({"keys": [key]}).to_string().as_bytes());
        prop_assert!(set.is_ok());
    }
}
