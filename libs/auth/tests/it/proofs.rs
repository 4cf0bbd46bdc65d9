use std::collections::BTreeMap;

use auth::{
    Entitlement, Expected, IssueError, ProofError, ProofRules, ProofSigner, ProofVerifier, SignerRules, SigningKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::{Value, json};

pub(crate) const NOW_MS: u64 = 1_790_000_000_000;

pub(crate) fn signer(kid: &str) -> ProofSigner {
    let seed = [kid.len() as u8; 32].map(|byte| byte ^ kid.as_bytes()[0]);
    let key = SigningKey::from_seed(kid, &seed).unwrap();
    ProofSigner::new(key, NOW_MS + 86_400_000, SignerRules::new("subscription", "synapse"))
}

pub(crate) fn entitlement() -> Entitlement {
    Entitlement {
        tenant: "acme".parse().unwrap(),
        peer: "alice".parse().unwrap(),
        subscription: "sub-1".parse().unwrap(),
        ver: 3,
        plan: "team".into(),
        limits: BTreeMap::from([("peers".into(), 5)]),
        features: vec!["relay".into()],
        entitled_until_ms: NOW_MS + 86_400_000,
        proof_id: "p-1".into(),
        peer_key: Some("thumbprint".into()),
    }
}

pub(crate) fn verifier(signers: &[&ProofSigner]) -> ProofVerifier {
    verifier_with(ProofRules::new("subscription", "synapse"), signers)
}

pub(crate) fn verifier_with(rules: ProofRules, signers: &[&ProofSigner]) -> ProofVerifier {
    let verifier = ProofVerifier::new(rules);
    for signer in signers {
        verifier.add_key(&signer.public(), NOW_MS).unwrap();
    }
    verifier
}

pub(crate) fn verify(verifier: &ProofVerifier, proof: &str, now_ms: u64) -> Result<auth::Proof, ProofError> {
    let (tenant, peer) = ("acme".parse().unwrap(), "alice".parse().unwrap());
    verifier
        .verify(proof, Expected { tenant: &tenant, peer: &peer, peer_key: None }, now_ms)
        .map(|proof| (*proof).clone())
}

#[test]
fn a_proof_says_what_was_issued() {
    let signer = signer("k1");
    let issued = signer.issue(entitlement(), NOW_MS).unwrap();
    assert_eq!(issued.expires_at_ms, NOW_MS + 300_000);
    assert_eq!(issued.refresh_at_ms, NOW_MS + 180_000);
    let proof = verify(&verifier(&[&signer]), &issued.proof, NOW_MS).unwrap();
    let wanted = entitlement();
    assert_eq!((&proof.tenant, &proof.peer), (&wanted.tenant, &wanted.peer));
    assert_eq!((&proof.subscription, proof.ver), (&wanted.subscription, 3));
    assert_eq!((proof.plan.as_str(), proof.limits.get("peers")), ("team", Some(&5)));
    assert_eq!((proof.expires_at_ms, proof.refresh_at_ms), (issued.expires_at_ms, issued.refresh_at_ms));
    assert_eq!((proof.proof_id.as_str(), proof.peer_key.as_deref()), ("p-1", Some("thumbprint")));
    let header = URL_SAFE_NO_PAD.decode(issued.proof.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header, json!({"alg": "EdDSA", "kid": "k1", "typ": "sub-proof+jwt"}));
}

#[test]
fn a_proof_never_outlives_the_entitlement_or_the_key() {
    let signer = signer("k1");
    let until = |entitled_until_ms| signer.issue(Entitlement { entitled_until_ms, ..entitlement() }, NOW_MS);
    assert_eq!(until(NOW_MS + 10_500).unwrap().expires_at_ms, NOW_MS + 10_000);
    assert_eq!(until(NOW_MS).unwrap_err(), IssueError::NotEntitled);
    assert_eq!(until(NOW_MS + 999).unwrap_err(), IssueError::NotEntitled);
    let key_end = NOW_MS + 86_400_000;
    let late = Entitlement { entitled_until_ms: u64::MAX, ..entitlement() };
    assert_eq!(signer.issue(late.clone(), key_end - 1_000).unwrap().expires_at_ms, key_end);
    assert_eq!(signer.issue(late, key_end).unwrap_err(), IssueError::KeyRetired { kid: "k1".into() });
}

#[test]
fn a_proof_is_for_one_tenant_and_one_peer() {
    let signer = signer("k1");
    let verifier = verifier(&[&signer]);
    let proof = signer.issue(entitlement(), NOW_MS).unwrap().proof;
    let (acme, alice) = ("acme".parse().unwrap(), "alice".parse().unwrap());
    let (other_tenant, bob) = ("evil".parse().unwrap(), "bob".parse().unwrap());
    // Twice: the second look is at the remembered proof.
    for _ in 0..2 {
        let as_bob = verifier.verify(&proof, Expected { tenant: &acme, peer: &bob, peer_key: None }, NOW_MS);
        assert_eq!(as_bob.unwrap_err(), ProofError::WrongPeer);
        let elsewhere =
            verifier.verify(&proof, Expected { tenant: &other_tenant, peer: &alice, peer_key: None }, NOW_MS);
        assert_eq!(elsewhere.unwrap_err(), ProofError::WrongTenant);
        assert!(verifier.verify(&proof, Expected { tenant: &acme, peer: &alice, peer_key: None }, NOW_MS).is_ok());
    }
}

#[test]
fn issuer_and_audience_must_be_ours() {
    let signer = signer("k1");
    let proof = signer.issue(entitlement(), NOW_MS).unwrap().proof;
    let elsewhere = verifier_with(ProofRules::new("other", "synapse"), &[&signer]);
    assert_eq!(verify(&elsewhere, &proof, NOW_MS).unwrap_err(), ProofError::WrongIssuer);
    let elsewhere = verifier_with(ProofRules::new("subscription", "other"), &[&signer]);
    assert_eq!(verify(&elsewhere, &proof, NOW_MS).unwrap_err(), ProofError::WrongAudience);
}

#[test]
fn other_algorithms_and_other_tokens_are_refused() {
    let signer = signer("k1");
    let verifier = verifier(&[&signer]);
    let proof = signer.issue(entitlement(), NOW_MS).unwrap().proof;
    let payload = URL_SAFE_NO_PAD.decode(proof.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    let public = URL_SAFE_NO_PAD.decode(signer.public().public_key).unwrap();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("k1".into());
    header.typ = Some("sub-proof+jwt".into());
    let confused = encode(&header, &claims, &EncodingKey::from_secret(&public)).unwrap();
    assert_eq!(verify(&verifier, &confused, NOW_MS).unwrap_err(), ProofError::AlgorithmMismatch);
    let header =
        |value: Value| format!("{}.{}", URL_SAFE_NO_PAD.encode(value.to_string()), proof.split_once('.').unwrap().1);
    let refused = |value: Value| verify(&verifier, &header(value), NOW_MS).unwrap_err();
    assert_eq!(refused(json!({"alg": "none", "kid": "k1", "typ": "sub-proof+jwt"})), ProofError::AlgorithmMismatch);
    assert_eq!(refused(json!({"alg": "EdDSA", "kid": "k1", "typ": "JWT"})), ProofError::WrongType);
    assert_eq!(refused(json!({"alg": "EdDSA", "kid": "k1"})), ProofError::WrongType);
    assert_eq!(refused(json!({"alg": "EdDSA", "typ": "sub-proof+jwt"})), ProofError::Malformed);
    let unknown = refused(json!({"alg": "EdDSA", "kid": "k2", "typ": "sub-proof+jwt"}));
    assert_eq!(unknown, ProofError::UnknownKey { kid: "k2".into() });
    assert_eq!(verify(&verifier, &"a".repeat(8193), NOW_MS).unwrap_err(), ProofError::TooLong);
    assert_eq!(verify(&verifier, "a.b", NOW_MS).unwrap_err(), ProofError::Malformed);
}

#[test]
fn signed_nonsense_is_refused() {
    let der = [&b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"[..], &[9; 32]].concat();
    let key = SigningKey::from_pkcs8("k1", &der).unwrap();
    let signer = ProofSigner::new(key, u64::MAX, SignerRules::new("subscription", "synapse"));
    let verifier = verifier(&[&signer]);
    let good = json!({"iss": "subscription", "aud": "synapse", "sub": "alice", "tenant": "acme", "sid": "sub-1",
        "ver": 1, "plan": "team", "limits": {}, "iat": NOW_MS / 1000, "nbf": NOW_MS / 1000,
        "exp": NOW_MS / 1000 + 60, "jti": "p"});
    let sign = |claims: &Value| {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some("k1".into());
        header.typ = Some("sub-proof+jwt".into());
        encode(&header, claims, &EncodingKey::from_ed_der(&der)).unwrap()
    };
    assert!(verify(&verifier, &sign(&good), NOW_MS).is_ok(), "another library's signature is accepted");
    for name in ["iss", "aud", "sub", "tenant", "sid", "ver", "plan", "limits", "iat", "nbf", "exp", "jti"] {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(name);
        assert_eq!(verify(&verifier, &sign(&without), NOW_MS).unwrap_err(), ProofError::InvalidClaims, "{name}");
    }
    for (name, value) in [("exp", json!("9")), ("ver", json!(-1)), ("exp", json!(u64::MAX)), ("sub", json!("a b"))] {
        let mut wrong = good.clone();
        wrong[name] = value;
        assert_eq!(verify(&verifier, &sign(&wrong), NOW_MS).unwrap_err(), ProofError::InvalidClaims, "{name}");
    }
}

#[test]
fn a_refusal_has_its_own_code_and_says_what_to_do() {
    let all = [
        ProofError::TooLong,
        ProofError::Malformed,
        ProofError::WrongType,
        ProofError::AlgorithmMismatch,
        ProofError::UnknownKey { kid: "k".into() },
        ProofError::KeyRetired,
        ProofError::BadSignature,
        ProofError::InvalidClaims,
        ProofError::WrongIssuer,
        ProofError::WrongAudience,
        ProofError::WrongTenant,
        ProofError::WrongPeer,
        ProofError::WrongPeerKey,
        ProofError::Expired,
        ProofError::NotYetValid,
        ProofError::Revoked,
    ];
    let codes: std::collections::BTreeSet<_> = all.iter().map(ProofError::code).collect();
    assert_eq!(codes.len(), all.len());
    assert!(all.iter().all(|error| error.to_string().contains("; ")));
}

proptest! {
    #[test]
    fn a_proof_with_any_byte_changed_is_refused(at in 0usize..10_000, to in any::<u8>()) {
        let signer = signer("k1");
        let proof = signer.issue(entitlement(), NOW_MS).unwrap().proof;
        let verifier = verifier(&[&signer]);
        prop_assert!(verify(&verifier, &proof, NOW_MS).is_ok()); // the good one is remembered
        let mut bytes = proof.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] = to;
        let changed = String::from_utf8_lossy(&bytes).into_owned();
        prop_assume!(changed != proof);
        prop_assert!(verify(&verifier, &changed, NOW_MS).is_err());
    }
}
