//! What a forger tries with a proof, one test each. The attacker holds good proofs of their own and every public key.

use auth::{Entitlement, Expected, Grant, ProofError, Role, TokenError, TokenMinter, TokenRules, TokenVerifier};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::proofs::{NOW_MS, entitlement, signer, verifier, verify};

fn good() -> String {
    signer("k1").issue(entitlement(), NOW_MS).unwrap().proof
}

fn part(proof: &str, number: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(proof.split('.').nth(number).unwrap()).unwrap()).unwrap()
}

fn joined(header: &Value, claims: &Value, signature: &str) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", encode(header), encode(claims))
}

fn signature(proof: &str) -> &str {
    proof.rsplit_once('.').unwrap().1
}

fn refused(proof: &str) -> ProofError {
    verify(&verifier(&[&signer("k1"), &signer("key2")]), proof, NOW_MS).unwrap_err()
}

#[test]
fn alg_none() {
    let proof = good();
    for alg in ["none", "None", "NONE", ""] {
        let header = json!({"alg": alg, "kid": "k1", "typ": "sub-proof+jwt"});
        assert_eq!(refused(&joined(&header, &part(&proof, 1), "")), ProofError::AlgorithmMismatch, "{alg}");
        let kept = joined(&header, &part(&proof, 1), signature(&proof));
        assert_eq!(refused(&kept), ProofError::AlgorithmMismatch, "{alg}");
    }
}

#[test]
fn the_public_key_as_a_shared_secret() {
    let public = URL_SAFE_NO_PAD.decode(signer("k1").public().public_key).unwrap();
    let mut header = Header::new(Algorithm::HS256);
    (header.kid, header.typ) = (Some("k1".into()), Some("sub-proof+jwt".into()));
    let forged = encode(&header, &part(&good(), 1), &EncodingKey::from_secret(&public)).unwrap();
    assert_eq!(refused(&forged), ProofError::AlgorithmMismatch);
    let relabelled = joined(&part(&good(), 0), &part(&forged, 1), signature(&forged));
    assert_eq!(refused(&relabelled), ProofError::BadSignature);
}

#[test]
fn a_wrong_audience() {
    let rules = auth::ProofRules::new("subscription", "another installation");
    let elsewhere = crate::proofs::verifier_with(rules, &[&signer("k1")]);
    assert_eq!(verify(&elsewhere, &good(), NOW_MS).unwrap_err(), ProofError::WrongAudience);
}

#[test]
fn a_wrong_issuer() {
    let rules = auth::ProofRules::new("another service", "synapse");
    let elsewhere = crate::proofs::verifier_with(rules, &[&signer("k1")]);
    assert_eq!(verify(&elsewhere, &good(), NOW_MS).unwrap_err(), ProofError::WrongIssuer);
}

#[test]
fn a_swapped_kid() {
    let proof = good();
    let swapped = |kid: &str| {
        let header = json!({"alg": "EdDSA", "kid": kid, "typ": "sub-proof+jwt"});
        refused(&joined(&header, &part(&proof, 1), signature(&proof)))
    };
    assert_eq!(swapped("key2"), ProofError::BadSignature, "another known key");
    assert_eq!(swapped("k9"), ProofError::UnknownKey { kid: "k9".into() });
    assert_eq!(swapped("../k1"), ProofError::UnknownKey { kid: "../k1".into() });
    assert_eq!(swapped(&"k".repeat(101)), ProofError::Malformed);
}

#[test]
fn a_key_brought_along() {
    let proof = good();
    let eve = signer("eve");
    let stolen = eve.issue(entitlement(), NOW_MS).unwrap().proof;
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": eve.public().public_key});
    let header = json!({"alg": "EdDSA", "kid": "k1", "typ": "sub-proof+jwt", "jwk": jwk,
        "jku": "https://evil.example/jwks.json"});
    assert_eq!(refused(&joined(&header, &part(&proof, 1), signature(&stolen))), ProofError::BadSignature);
}

#[test]
fn an_access_token_as_a_proof_and_a_proof_as_an_access_token() {
    let secret = "a secret of at least thirty-two bytes";
    let minter = TokenMinter::hs256("synapse", "gateway", "k1", secret.into()).unwrap();
    let grant = Grant {
        tenant: "acme".parse().unwrap(),
        user: "alice".parse().unwrap(),
        role: Role::Admin,
        ttl_ms: 60_000,
        token_id: "t".into(),
    };
    assert_eq!(refused(&minter.mint(&grant, NOW_MS)), ProofError::WrongType);
    let rules = TokenRules {
        issuer: "subscription".into(),
        audience: "synapse".into(),
        keys: vec![auth::TokenKey::ed_dsa("k1", &signer("k1").public().public_key).unwrap()],
        leeway_s: 30,
    };
    let tokens = TokenVerifier::try_new(rules).unwrap();
    assert_eq!(tokens.verify(&good(), NOW_MS).unwrap_err(), TokenError::WrongType);
}

#[test]
fn a_proof_bound_to_another_key() {
    let signer = signer("k1");
    let verifier = verifier(&[&signer]);
    let (tenant, peer) = ("acme".parse().unwrap(), "alice".parse().unwrap());
    let bound = signer.issue(entitlement(), NOW_MS).unwrap().proof;
    let free = signer.issue(Entitlement { peer_key: None, ..entitlement() }, NOW_MS).unwrap().proof;
    let showing = |proof: &str, peer_key| {
        // Twice: the second look is at the remembered proof.
        let look = || verifier.verify(proof, Expected { tenant: &tenant, peer: &peer, peer_key }, NOW_MS).map(drop);
        assert_eq!(look(), look());
        look()
    };
    assert_eq!(showing(&bound, Some("thumbprint")), Ok(()));
    assert_eq!(showing(&bound, Some("another")), Err(ProofError::WrongPeerKey));
    assert_eq!(showing(&free, Some("thumbprint")), Err(ProofError::WrongPeerKey), "bound to no key is not bound to it");
    assert_eq!(showing(&free, None), Ok(()));
}

#[test]
fn a_proof_of_another_tenant() {
    let verifier = verifier(&[&signer("k1")]);
    let (tenant, peer) = ("evil".parse().unwrap(), "alice".parse().unwrap());
    let expected = Expected { tenant: &tenant, peer: &peer, peer_key: None };
    assert_eq!(verifier.verify(&good(), expected, NOW_MS).unwrap_err(), ProofError::WrongTenant);
}

#[test]
fn claims_exchanged_under_a_good_signature() {
    let proof = good();
    for (name, value) in [("ver", json!(99)), ("limits", json!({"peers": 1_000_000})), ("features", json!(["all"]))] {
        let mut claims = part(&proof, 1);
        claims[name] = value;
        assert_eq!(refused(&joined(&part(&proof, 0), &claims, signature(&proof))), ProofError::BadSignature, "{name}");
    }
}

#[test]
fn a_proof_from_the_future() {
    let early = signer("k1").issue(entitlement(), NOW_MS + 31_000).unwrap().proof;
    assert_eq!(refused(&early), ProofError::NotYetValid);
}
