use auth::{Grant, Role, RulesError, SigningKey, TokenError, TokenKey, TokenMinter, TokenRules, TokenVerifier};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW_MS: u64 = 1_790_000_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn hs256() -> TokenMinter {
    TokenMinter::hs256("synapse", "api", "h1", SECRET.into()).unwrap()
}

fn eddsa() -> TokenMinter {
    TokenMinter::eddsa("synapse", "api", SigningKey::from_seed("e1", &[7; 32]).unwrap())
}

fn verifier(keys: Vec<TokenKey>) -> TokenVerifier {
    TokenVerifier::try_new(rules(keys)).unwrap_or_else(|error| panic!("{error}"))
}

fn rules(keys: Vec<TokenKey>) -> TokenRules {
    TokenRules { issuer: "synapse".into(), audience: "api".into(), keys, leeway_s: 30 }
}

fn grant() -> Grant {
    let (tenant, user) = ("acme".parse().unwrap(), "ada".parse().unwrap());
    Grant { tenant, user, role: Role::User, ttl_ms: 600_000, token_id: "t-1".into() }
}

fn claims() -> Value {
    json!({"iss": "synapse", "aud": "api", "sub": "ada", "tenant": "acme", "exp": NOW_MS / 1000 + 600})
}

/// A token as another library signs it.
fn signed(claims: &Value) -> String {
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("h1".into());
    encode(&header, claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn verify(token: &str) -> Result<auth::Principal, TokenError> {
    verifier(vec![hs256().token_key(), eddsa().token_key()]).verify(token, NOW_MS)
}

fn with(name: &str, value: Value) -> String {
    let mut claims = claims();
    claims[name] = value;
    signed(&claims)
}

#[test]
fn a_minted_token_names_its_principal_with_either_algorithm() {
    for minter in [hs256(), eddsa()] {
        let principal = verify(&minter.mint(&grant(), NOW_MS)).unwrap();
        assert_eq!((principal.tenant.as_str(), principal.user.as_str()), ("acme", "ada"));
        assert_eq!((principal.role, principal.expires_at_ms), (Role::User, NOW_MS + 600_000));
        assert_eq!(principal.token_id.as_deref(), Some("t-1"));
    }
}

#[test]
fn a_token_without_role_may_only_look() {
    assert_eq!(verify(&signed(&claims())).unwrap().role, Role::ReadOnly);
    assert_eq!(verify(&with("role", json!("admin"))).unwrap().role, Role::Admin);
    for bad in [json!("root"), json!(1), json!(null)] {
        assert_eq!(verify(&with("role", bad)).unwrap_err(), TokenError::InvalidClaim("role"));
    }
}

#[test]
fn every_required_claim_is_required() {
    for name in ["iss", "aud", "sub", "tenant", "exp"] {
        let mut without = claims();
        without.as_object_mut().unwrap().remove(name);
        assert_eq!(verify(&signed(&without)).unwrap_err(), TokenError::MissingClaim(name));
        assert_eq!(verify(&with(name, json!(null))).unwrap_err(), TokenError::MissingClaim(name));
    }
}

#[test]
fn wrong_typed_claims_are_refused_by_name() {
    let cases = [
        ("iss", json!(["synapse"])),
        ("aud", json!({"api": true})),
        ("aud", json!(["api", 1])),
        ("sub", json!(7)),
        ("sub", json!("a b")),
        ("tenant", json!("../x")),
        ("exp", json!("1790000600")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("nbf", json!("0")),
        ("nbf", json!(null)),
        ("iat", json!(true)),
        ("jti", json!(5)),
        ("jti", json!("x".repeat(256))),
    ];
    for (name, value) in cases {
        assert_eq!(verify(&with(name, value.clone())).unwrap_err(), TokenError::InvalidClaim(name), "{name}={value}");
    }
}

#[test]
fn issuer_and_audience_must_be_ours() {
    assert_eq!(verify(&with("iss", json!("evil"))).unwrap_err(), TokenError::WrongIssuer);
    assert_eq!(verify(&with("aud", json!("other"))).unwrap_err(), TokenError::WrongAudience);
    assert_eq!(verify(&with("aud", json!([]))).unwrap_err(), TokenError::WrongAudience);
    assert!(verify(&with("aud", json!(["other", "api"]))).is_ok());
}

#[test]
fn the_edges_of_time_are_exact() {
    let verifier = verifier(vec![hs256().token_key()]);
    let token = with("nbf", json!(NOW_MS / 1000));
    let (starts, ends) = (NOW_MS - 30_000, NOW_MS + 600_000 + 30_000);
    assert_eq!(verifier.verify(&token, starts - 1).unwrap_err(), TokenError::NotYetValid);
    assert!(verifier.verify(&token, starts).is_ok());
    assert!(verifier.verify(&token, ends - 1).is_ok());
    assert_eq!(verifier.verify(&token, ends).unwrap_err(), TokenError::Expired);
    let issued_later = with("iat", json!(NOW_MS / 1000 + 31));
    assert_eq!(verifier.verify(&issued_later, NOW_MS).unwrap_err(), TokenError::NotYetValid);
    // NumericDate may have a fraction (RFC 7519 §2).
    let halfway = with("exp", json!(1_790_000_000.5));
    assert_eq!(verifier.verify(&halfway, NOW_MS).unwrap().expires_at_ms, NOW_MS + 500);
}

#[test]
fn the_algorithm_comes_from_the_key_alone() {
    // The classic confusion: an HMAC over the public key's bytes, which everybody knows.
    let public = SigningKey::from_seed("e1", &[7; 32]).unwrap().public_key();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("e1".into());
    let forged = encode(&header, &claims(), &EncodingKey::from_secret(&public)).unwrap();
    assert_eq!(verify(&forged).unwrap_err(), TokenError::AlgorithmMismatch);
    // The same with the header lying about the algorithm it was made with.
    let relabelled = reheaded(&forged, &json!({"alg": "EdDSA", "kid": "e1"}));
    assert_eq!(verify(&relabelled).unwrap_err(), TokenError::BadSignature);
    for alg in ["none", "None", "HS384", "RS256", "EdDSA", "hs256", ""] {
        let token = reheaded(&signed(&claims()), &json!({"alg": alg, "kid": "h1"}));
        assert_eq!(verify(&token).unwrap_err(), TokenError::AlgorithmMismatch, "{alg}");
    }
    let unsigned = format!("{}.", reheaded(&signed(&claims()), &json!({"alg": "none"})).rsplit_once('.').unwrap().0);
    let only = verifier(vec![hs256().token_key()]);
    assert_eq!(only.verify(&unsigned, NOW_MS).unwrap_err(), TokenError::AlgorithmMismatch);
}

#[test]
fn keys_are_found_by_name() {
    let token = reheaded(&signed(&claims()), &json!({"alg": "HS256", "kid": "other"}));
    assert_eq!(verify(&token).unwrap_err(), TokenError::UnknownKey);
    let token = encode(&Header::default(), &claims(), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    assert_eq!(verify(&token).unwrap_err(), TokenError::MissingKeyId);
    assert!(verifier(vec![hs256().token_key()]).verify(&token, NOW_MS).is_ok());
}

#[test]
fn while_a_secret_is_rolled_tokens_of_both_are_good() {
    let new = "fedcba9876543210fedcba9876543210";
    let newly_signed = TokenMinter::hs256("synapse", "api", "h1", new.into()).unwrap().mint(&grant(), NOW_MS);
    let signed_before = hs256().mint(&grant(), NOW_MS);
    let good = |secrets: &[&str], token: &str| {
        let secrets = secrets.iter().map(|secret| (*secret).into()).collect();
        verifier(vec![TokenKey::Hs256 { kid: "h1".into(), secrets }]).verify(token, NOW_MS)
    };
    for token in [&newly_signed, &signed_before] {
        assert!(good(&[new, SECRET], token).is_ok());
    }
    assert!(good(&[new], &newly_signed).is_ok());
    assert_eq!(good(&[new], &signed_before).unwrap_err(), TokenError::BadSignature);
    for count in [0, 5] {
        let key = TokenKey::Hs256 { kid: "h1".into(), secrets: vec![SECRET.into(); count] };
        let refused = TokenVerifier::try_new(rules(vec![key])).err().unwrap();
        assert_eq!(refused, RulesError::SecretCount { kid: "h1".into(), count });
    }
}

#[test]
fn what_is_no_access_token_is_refused() {
    for bad in ["", ".", "..", "a.b", "a.b.c.d", "e30.e30.e30", "é.é.é"] {
        assert_eq!(verify(bad).unwrap_err(), TokenError::Malformed, "{bad}");
    }
    assert_eq!(verify(&"a".repeat(10_001)).unwrap_err(), TokenError::TooLong);
    let proof = reheaded(&signed(&claims()), &json!({"alg": "HS256", "kid": "h1", "typ": "sub-proof+jwt"}));
    assert_eq!(verify(&proof).unwrap_err(), TokenError::WrongType);
    let critical = reheaded(&signed(&claims()), &json!({"alg": "HS256", "kid": "h1", "crit": ["b64"]}));
    assert_eq!(verify(&critical).unwrap_err(), TokenError::Malformed);
    let twice = signed(&claims()).replace(
        &signed(&claims()).split('.').nth(1).unwrap().to_owned(),
        &URL_SAFE_NO_PAD.encode(br#"{"sub":"ada","sub":"eve"}"#),
    );
    assert_eq!(verify(&twice).unwrap_err(), TokenError::BadSignature);
}

#[test]
fn a_refusal_has_its_own_code_and_never_repeats_the_token() {
    let all = [
        TokenError::TooLong,
        TokenError::Malformed,
        TokenError::WrongType,
        TokenError::MissingKeyId,
        TokenError::UnknownKey,
        TokenError::AlgorithmMismatch,
        TokenError::BadSignature,
        TokenError::MissingClaim("exp"),
        TokenError::InvalidClaim("exp"),
        TokenError::Expired,
        TokenError::NotYetValid,
        TokenError::WrongIssuer,
        TokenError::WrongAudience,
    ];
    let codes: std::collections::BTreeSet<_> = all.iter().map(TokenError::code).collect();
    assert_eq!(codes.len(), all.len());
    for error in all {
        assert!(error.to_string().contains("; "), "says what to do: {error}");
    }
    let secret_looking = "secretsecret.secretsecret.secretsecret";
    assert!(!verify(secret_looking).unwrap_err().to_string().contains("secret"));
}

#[test]
fn unusable_rules_are_refused() {
    let key = || hs256().token_key();
    let refused = |rules: TokenRules| TokenVerifier::try_new(rules).err().unwrap();
    assert_eq!(refused(TokenRules { issuer: String::new(), ..rules(vec![key()]) }), RulesError::NoIssuer);
    assert_eq!(refused(TokenRules { audience: String::new(), ..rules(vec![key()]) }), RulesError::NoAudience);
    assert_eq!(refused(rules(vec![key(); 17])), RulesError::KeyCount(17));
    assert_eq!(refused(rules(vec![key(), key()])), RulesError::DuplicateKid("h1".into()));
    assert_eq!(refused(TokenRules { leeway_s: 31, ..rules(vec![key()]) }), RulesError::Leeway(31));
    let short = TokenKey::Hs256 { kid: "h1".into(), secrets: vec!["short".into()] };
    assert!(matches!(refused(rules(vec![short])), RulesError::Key(auth::KeyError::ShortSecret)));
}

/// The token with another header but the old signature.
fn reheaded(token: &str, header: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), token.split_once('.').unwrap().1)
}

proptest! {
    #[test]
    fn a_token_with_any_byte_changed_is_refused(at in 0usize..10_000, to in any::<u8>(), pick in any::<bool>()) {
        let token = if pick { hs256() } else { eddsa() }.mint(&grant(), NOW_MS);
        let mut bytes = token.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] = to;
        let changed = String::from_utf8_lossy(&bytes).into_owned();
        prop_assume!(changed != token);
        prop_assert!(verify(&changed).is_err());
    }

    #[test]
    fn nothing_panics_on_any_text(text in ".{0,200}", header in ".{0,50}", payload in ".{0,50}") {
        prop_assert!(verify(&text).is_err());
        let odd = [header, payload, text].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        prop_assert!(verify(&odd).is_err());
    }
}
