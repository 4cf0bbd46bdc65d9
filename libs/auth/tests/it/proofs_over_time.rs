use auth::{Entitlement, ProofError, ProofKeyError, ProofRules, ProofSigner, ProofVerifier};
use contracts::events::subscription::{ProofKey, ProofRevokedV1};

use crate::proofs::{NOW_MS, entitlement, signer, verifier, verifier_with, verify};

fn revoked(subscription: &str, min_ver: u64, until_ms: u64) -> ProofRevokedV1 {
    let subscription_id = subscription.parse().unwrap();
    ProofRevokedV1 { subscription_id, min_ver, until_ms, reason: "canceled".into() }
}

fn proof_for(signer: &ProofSigner, subscription: &str, ver: u64, now_ms: u64) -> String {
    let subscription = subscription.parse().unwrap();
    signer.issue(Entitlement { subscription, ver, ..entitlement() }, now_ms).unwrap().proof
}

/// Whether the signature is computed (0) or remembered, the answer is the same.
fn both(signer: &ProofSigner, test: impl Fn(ProofVerifier)) {
    for max_cached in [0, 1024] {
        test(verifier_with(ProofRules { max_cached, ..ProofRules::new("subscription", "synapse") }, &[signer]));
    }
}

#[test]
fn the_edges_of_time_are_exact() {
    let signer = signer("k1");
    let proof = signer.issue(entitlement(), NOW_MS).unwrap().proof;
    both(&signer, |verifier| {
        let (starts, ends) = (NOW_MS - 30_000, NOW_MS + 300_000 + 30_000);
        assert!(verify(&verifier, &proof, NOW_MS).is_ok());
        assert_eq!(verify(&verifier, &proof, starts - 1).unwrap_err(), ProofError::NotYetValid);
        assert!(verify(&verifier, &proof, starts).is_ok());
        assert!(verify(&verifier, &proof, ends - 1).is_ok());
        assert_eq!(verify(&verifier, &proof, ends).unwrap_err(), ProofError::Expired);
    });
}

#[test]
fn a_revocation_refuses_lower_versions_of_that_subscription_only() {
    let signer = signer("k1");
    let (old, new) = (proof_for(&signer, "sub-1", 3, NOW_MS), proof_for(&signer, "sub-1", 4, NOW_MS));
    let other = proof_for(&signer, "sub-2", 1, NOW_MS);
    both(&signer, |verifier| {
        assert!(verify(&verifier, &old, NOW_MS).is_ok());
        verifier.revoke(&revoked("sub-1", 4, NOW_MS + 300_000), NOW_MS);
        assert_eq!(verify(&verifier, &old, NOW_MS).unwrap_err(), ProofError::Revoked);
        assert!(verify(&verifier, &new, NOW_MS).is_ok());
        assert!(verify(&verifier, &other, NOW_MS).is_ok());
        // News that comes late or twice does not weaken it.
        verifier.revoke(&revoked("sub-1", 2, NOW_MS + 100), NOW_MS);
        assert_eq!(verify(&verifier, &old, NOW_MS).unwrap_err(), ProofError::Revoked);
    });
}

#[test]
fn a_revocation_is_kept_exactly_as_long_as_a_proof_could_pass() {
    let signer = signer("k1");
    let verifier = verifier(&[&signer]);
    let until_ms = NOW_MS + 300_000;
    verifier.revoke(&revoked("sub-1", 4, until_ms), NOW_MS);
    let last_ms = until_ms + 30_000 - 1;
    verifier.revoke(&revoked("sub-2", 1, u64::MAX), last_ms);
    assert_eq!(verifier.revocations(), 2);
    let proof = proof_for(&signer, "sub-1", 3, NOW_MS);
    assert_eq!(verify(&verifier, &proof, last_ms).unwrap_err(), ProofError::Revoked);
    verifier.revoke(&revoked("sub-2", 1, u64::MAX), last_ms + 1);
    assert_eq!(verifier.revocations(), 1);
    assert_eq!(verify(&verifier, &proof, last_ms + 1).unwrap_err(), ProofError::Expired);
}

#[test]
fn too_many_revocations_refuse_everything_issued_until_then() {
    let signer = signer("k1");
    let rules = ProofRules { max_revocations: 2, ..ProofRules::new("subscription", "synapse") };
    let verifier = verifier_with(rules, &[&signer]);
    let early = proof_for(&signer, "sub-9", 1, NOW_MS);
    assert!(verify(&verifier, &early, NOW_MS).is_ok());
    let many: Vec<_> = (0..3).map(|n| revoked(&format!("sub-{n}"), 4, NOW_MS + 300_000)).collect();
    verifier.revoke_all(&many, NOW_MS);
    assert_eq!(verifier.revocations(), 0);
    assert_eq!(verify(&verifier, &early, NOW_MS).unwrap_err(), ProofError::Revoked);
    assert_eq!(verify(&verifier, &proof_for(&signer, "sub-0", 3, NOW_MS), NOW_MS).unwrap_err(), ProofError::Revoked);
    // The signer's clock may run ahead by the skew; what is issued after that is good again.
    let later_ms = NOW_MS + 31_000;
    assert!(verify(&verifier, &proof_for(&signer, "sub-9", 1, later_ms), later_ms).is_ok());
}

#[test]
fn keys_rotate_without_a_gap() {
    let (old, new) = (signer("k1"), signer("key2"));
    let verifier = verifier(&[&old]);
    let first = old.issue(entitlement(), NOW_MS).unwrap().proof;
    let second = new.issue(entitlement(), NOW_MS).unwrap().proof;
    assert!(verify(&verifier, &first, NOW_MS).is_ok());
    // Signed before the verifier heard of the key: it is told by name, fetches, and tries again.
    assert_eq!(verify(&verifier, &second, NOW_MS).unwrap_err(), ProofError::UnknownKey { kid: "key2".into() });
    verifier.add_key(&new.public(), NOW_MS).unwrap();
    assert!(verify(&verifier, &first, NOW_MS).is_ok());
    assert!(verify(&verifier, &second, NOW_MS).is_ok());
    verifier.withdraw_key("k1", NOW_MS + 86_400_000);
    assert_eq!(verify(&verifier, &first, NOW_MS).unwrap_err(), ProofError::UnknownKey { kid: "k1".into() });
    assert!(verify(&verifier, &second, NOW_MS).is_ok());
}

#[test]
fn a_key_ends_at_its_not_after() {
    let signer = signer("k1");
    let proof = signer.issue(entitlement(), NOW_MS).unwrap().proof;
    both(&signer, |verifier| {
        assert!(verify(&verifier, &proof, NOW_MS).is_ok());
        // Republished with an earlier end: the key is withdrawn before its proofs expire.
        let shorter = ProofKey { not_after_ms: NOW_MS + 1_000, ..signer.public() };
        verifier.add_key(&shorter, NOW_MS).unwrap();
        assert!(verify(&verifier, &proof, NOW_MS + 30_999).is_ok());
        assert_eq!(verify(&verifier, &proof, NOW_MS + 31_000).unwrap_err(), ProofError::KeyRetired);
    });
}

#[test]
fn keys_are_checked_and_counted() {
    let rules = ProofRules { max_keys: 2, ..ProofRules::new("subscription", "synapse") };
    let verifier = verifier_with(rules, &[&signer("k1"), &signer("key2")]);
    let third = signer("three").public();
    assert!(matches!(verifier.add_key(&third, NOW_MS), Err(ProofKeyError::TooMany { limit: 2, .. })));
    let stolen_name = ProofKey { kid: "k1".into(), ..third.clone() };
    assert!(matches!(verifier.add_key(&stolen_name, NOW_MS), Err(ProofKeyError::KidReused { .. })));
    let bad = ProofKey { public_key: "AAAA".into(), ..third.clone() };
    assert!(matches!(verifier.add_key(&bad, NOW_MS), Err(ProofKeyError::PublicKey { .. })));
    let bad = ProofKey { kid: "a b".into(), ..third.clone() };
    assert!(matches!(verifier.add_key(&bad, NOW_MS), Err(ProofKeyError::Kid(_))));
    // Retired keys make room.
    verifier.add_key(&third, NOW_MS + 86_400_000 + 30_000).unwrap();
}

#[test]
fn the_cache_is_bounded_and_keeps_what_is_used() {
    let signer = signer("k1");
    let rules = ProofRules { max_cached: 64, ..ProofRules::new("subscription", "synapse") };
    let verifier = verifier_with(rules, &[&signer]);
    for n in 0..500 {
        let proof = proof_for(&signer, &format!("sub-{n}"), 1, NOW_MS);
        assert!(verify(&verifier, &proof, NOW_MS).is_ok());
    }
    assert!((32..=64).contains(&verifier.cached()), "{}", verifier.cached());
    verifier.withdraw_key("k1", NOW_MS + 86_400_000);
    assert_eq!(verifier.cached(), 0);
}

#[test]
fn a_withdrawn_key_stays_away_until_nothing_it_signed_could_pass() {
    let (leaked, new) = (signer("k1"), signer("key2"));
    let verifier = verifier(&[&leaked, &new]);
    let proof = leaked.issue(entitlement(), NOW_MS).unwrap().proof;
    assert!(verify(&verifier, &proof, NOW_MS).is_ok());
    let until_ms = leaked.public().not_after_ms;
    verifier.withdraw_key("k1", until_ms);
    assert_eq!(verify(&verifier, &proof, NOW_MS).unwrap_err(), ProofError::UnknownKey { kid: "k1".into() });
    // An old event, or a verifier's own store, tells it once more.
    let again = verifier.add_key(&leaked.public(), NOW_MS);
    assert_eq!(again.unwrap_err(), ProofKeyError::Withdrawn { kid: "k1".into() });
    assert_eq!(verifier.keys(), [new.public()]);
    verifier.sweep(until_ms + 30_000);
    assert!(verify(&verifier, &proof, until_ms + 30_000).is_err());
}

#[test]
fn a_sweep_forgets_what_time_has_settled_and_nothing_else() {
    let signer = signer("k1");
    let verifier = verifier(&[&signer]);
    let short = proof_for(&signer, "sub-1", 3, NOW_MS);
    let long = proof_for(&signer, "sub-2", 3, NOW_MS + 60_000);
    assert!(verify(&verifier, &short, NOW_MS).is_ok() && verify(&verifier, &long, NOW_MS + 60_000).is_ok());
    verifier.revoke(&revoked("sub-3", 1, NOW_MS + 300_000), NOW_MS);
    let end_ms = NOW_MS + 300_000 + 30_000;
    assert_eq!(verifier.sweep(end_ms - 1), 0);
    assert_eq!((verifier.cached(), verifier.revocations()), (2, 1));
    assert_eq!(verifier.sweep(end_ms), 1);
    assert_eq!((verifier.cached(), verifier.revocations(), verifier.keys().len()), (1, 0, 1));
    assert!(verify(&verifier, &long, end_ms).is_ok());
    verifier.sweep(signer.public().not_after_ms + 30_000);
    assert!(verifier.keys().is_empty());
}
