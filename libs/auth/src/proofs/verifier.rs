use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use contracts::events::subscription::{ProofKey, ProofRevokedV1};
use contracts::{PeerId, SubscriptionId, TenantId};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::cache::{Cache, fingerprint};
use super::{Claims, Proof, ProofError, ProofKeyError, SKEW_MS, TYPE, refresh_at_ms};
use crate::jws::{self, Parts};
use crate::keys::check_kid;

/// Longest proof that is looked at, in characters: room for some hundred limits.
const MAX_PROOF_LEN: usize = 8192;

/// Most withdrawn keys remembered: a leak is a rare thing, and 64 in a key's life are a takeover.
const MAX_WITHDRAWN: usize = 64;

/// What proofs must fulfil, and how much is remembered about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofRules {
    /// The one accepted `iss`.
    pub issuer: String,
    /// The one accepted `aud`.
    pub audience: String,
    /// How far clocks may differ, milliseconds. Default [`SKEW_MS`].
    pub skew_ms: u64,
    /// Most keys held. Default 16: a rotation a day for a fortnight.
    pub max_keys: usize,
    /// Most revocations held. Default 10,000: at a proof's life of 5 minutes that is 33 cancellations a second.
    /// Past it every proof issued until now is refused, so that memory stays bounded and nothing revoked gets in;
    /// holders then ask for new proofs.
    pub max_revocations: usize,
    /// Most verified proofs remembered. Default 16,384 (about 10 MB); 0 turns the cache off.
    pub max_cached: usize,
}

impl ProofRules {
    /// Rules with the default bounds.
    pub fn new(issuer: &str, audience: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            skew_ms: SKEW_MS,
            max_keys: 16,
            max_revocations: 10_000,
            max_cached: 16_384,
        }
    }
}

/// Whom a proof must be for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The tenant of the token that came with it.
    pub tenant: &'a TenantId,
    /// The peer that connects.
    pub peer: &'a PeerId,
    /// Thumbprint of the key that the peer has shown to hold; the proof must then be bound to it. `None` where no key
    /// was shown: a bound proof passes, because there is nothing to compare.
    pub peer_key: Option<&'a str>,
}

/// Checks proofs against a snapshot of keys and revocations that readers take without waiting. Share it in an `Arc`.
pub struct ProofVerifier {
    rules: ProofRules,
    state: ArcSwap<State>,
    cache: Cache,
}

#[derive(Clone, Default)]
struct State {
    keys: HashMap<String, Key>,
    /// Names of keys that were withdrawn, until nothing they signed could pass any more.
    withdrawn: HashMap<String, u64>,
    revoked: HashMap<SubscriptionId, Revocation>,
    /// Proofs issued at or before this moment are refused; 0 when there never were too many revocations.
    floor_ms: u64,
}

#[derive(Clone)]
struct Key {
    bytes: Vec<u8>,
    key: DecodingKey,
    not_after_ms: u64,
}

#[derive(Clone, Copy)]
struct Revocation {
    min_ver: u64,
    until_ms: u64,
}

impl ProofVerifier {
    /// A verifier that knows no key yet.
    pub fn new(rules: ProofRules) -> Self {
        Self { cache: Cache::new(rules.max_cached), rules, state: ArcSwap::default() }
    }

    /// Takes in a published key; one that is known gets its new `not_after_ms`. Retired keys make room.
    ///
    /// # Errors
    /// [`ProofKeyError`]; the verifier is then as it was.
    pub fn add_key(&self, key: &ProofKey, now_ms: u64) -> Result<(), ProofKeyError> {
        check_kid(&key.kid)?;
        let kid = key.kid.clone();
        let bytes = jws::decode_bytes(&key.public_key).filter(|bytes| bytes.len() == 32);
        let bytes = bytes.ok_or(ProofKeyError::PublicKey { kid: kid.clone() })?;
        self.update(|state| {
            state.keys.retain(|_, known| now_ms < known.not_after_ms.saturating_add(self.rules.skew_ms));
            if state.withdrawn.contains_key(&kid) {
                return Err(ProofKeyError::Withdrawn { kid: kid.clone() });
            }
            let is_full = state.keys.len() >= self.rules.max_keys;
            match state.keys.get_mut(&kid) {
                Some(known) if known.bytes != bytes => return Err(ProofKeyError::KidReused { kid: kid.clone() }),
                Some(known) => known.not_after_ms = key.not_after_ms,
                None if is_full => {
                    return Err(ProofKeyError::TooMany { kid: kid.clone(), limit: self.rules.max_keys });
                }
                None => {
                    let decoding = DecodingKey::from_ed_der(&bytes);
                    let known = Key { bytes: bytes.clone(), key: decoding, not_after_ms: key.not_after_ms };
                    state.keys.insert(kid.clone(), known);
                }
            }
            Ok(())
        })
    }

    /// Refuses everything signed with a key from now on, and the key itself should it be told again before `until_ms`
    /// (Unix milliseconds). For a key that leaked.
    pub fn withdraw_key(&self, kid: &str, until_ms: u64) {
        let _ = self.update(|state| {
            state.keys.remove(kid);
            // Bounded like the keys: whoever withdraws more than it ever published is not our signer.
            if state.withdrawn.len() < MAX_WITHDRAWN || state.withdrawn.contains_key(kid) {
                state.withdrawn.insert(kid.to_owned(), until_ms);
            }
            Ok::<(), ()>(())
        });
        // The name may come back with another key; what the old one signed must not be remembered as good.
        self.cache.clear();
    }

    /// The keys that verify now or soon, by name.
    pub fn keys(&self) -> Vec<ProofKey> {
        let state = self.state.load();
        let mut keys: Vec<_> = state
            .keys
            .iter()
            .map(|(kid, key)| ProofKey {
                kid: kid.clone(),
                public_key: jws::encode(&key.bytes),
                not_after_ms: key.not_after_ms,
            })
            .collect();
        keys.sort_unstable_by(|a, b| a.kid.cmp(&b.kid));
        keys
    }

    /// Forgets what time has settled: revocations and withdrawals past their end, retired keys, remembered proofs that
    /// have expired. Returns how many proofs went. Call it now and then; memory is bounded without it, too.
    pub fn sweep(&self, now_ms: u64) -> usize {
        let skew_ms = self.rules.skew_ms;
        let is_over = move |end_ms: u64| now_ms >= end_ms.saturating_add(skew_ms);
        let state = self.state.load();
        let has_work = state.keys.values().any(|key| is_over(key.not_after_ms))
            || state.withdrawn.values().any(|until_ms| is_over(*until_ms))
            || state.revoked.values().any(|revocation| is_over(revocation.until_ms));
        if has_work {
            let _ = self.update(|state| {
                state.keys.retain(|_, key| !is_over(key.not_after_ms));
                state.withdrawn.retain(|_, until_ms| !is_over(*until_ms));
                state.revoked.retain(|_, revocation| !is_over(revocation.until_ms));
                Ok::<(), ()>(())
            });
        }
        self.cache.sweep(|proof| !is_over(proof.expires_at_ms))
    }

    /// Refuses proofs of a subscription below a version. Older news changes nothing; records past their time go.
    pub fn revoke(&self, revocation: &ProofRevokedV1, now_ms: u64) {
        self.revoke_all(std::slice::from_ref(revocation), now_ms);
    }

    /// The same for many at once, at the price of one.
    pub fn revoke_all(&self, revocations: &[ProofRevokedV1], now_ms: u64) {
        let _ = self.update(|state| {
            for news in revocations {
                let fresh = Revocation { min_ver: news.min_ver, until_ms: news.until_ms };
                let known = state.revoked.entry(news.subscription_id.clone()).or_insert(fresh);
                known.min_ver = known.min_ver.max(news.min_ver);
                known.until_ms = known.until_ms.max(news.until_ms);
            }
            // A proof is accepted up to the skew after its end, so its revocation must be known as long.
            state.revoked.retain(|_, known| now_ms < known.until_ms.saturating_add(self.rules.skew_ms));
            if state.revoked.len() > self.rules.max_revocations {
                // The signer's clock may be ahead by the skew.
                state.floor_ms = now_ms.saturating_add(self.rules.skew_ms);
                state.revoked.clear();
            }
            Ok::<(), ()>(())
        });
    }

    /// Whether a revocation in force voids proofs of `subscription` with this `ver`.
    pub fn is_revoked(&self, subscription: &SubscriptionId, ver: u64) -> bool {
        self.state.load().revoked.get(subscription).is_some_and(|known| ver < known.min_ver)
    }

    /// Whether a key of this name is held.
    pub fn knows_key(&self, kid: &str) -> bool {
        self.state.load().keys.contains_key(kid)
    }

    /// How many revocations are held.
    pub fn revocations(&self) -> usize {
        self.state.load().revoked.len()
    }

    /// How many verified proofs are remembered.
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    /// What `proof` says at `now_ms`. It is good while `nbf − skew ≤ now < exp + skew`, its key is not retired and its
    /// version not revoked; a remembered proof passes all of these again, only its signature is not computed twice.
    ///
    /// # Errors
    /// What is wrong with it. On [`ProofError::UnknownKey`] fetch the keys once and try again, then refuse.
    pub fn verify(&self, proof: &str, expected: Expected<'_>, now_ms: u64) -> Result<Arc<Proof>, ProofError> {
        if proof.len() > MAX_PROOF_LEN {
            return Err(ProofError::TooLong);
        }
        let state = self.state.load();
        let print = fingerprint(proof);
        let proof = match self.cache.get(&print) {
            Some(known) => known,
            None => {
                let fresh = Arc::new(self.open(proof, &state)?);
                self.check(&fresh, expected, &state, now_ms)?;
                self.cache.insert(print, Arc::clone(&fresh));
                return Ok(fresh);
            }
        };
        self.check(&proof, expected, &state, now_ms)?;
        Ok(proof)
    }

    /// Form, signature, issuer and audience: what never changes about a proof.
    fn open(&self, proof: &str, state: &State) -> Result<Proof, ProofError> {
        let parts = Parts::split(proof).ok_or(ProofError::Malformed)?;
        let header = parts.header().ok_or(ProofError::Malformed)?;
        if header.typ.as_deref() != Some(TYPE) {
            return Err(ProofError::WrongType);
        }
        if header.alg != "EdDSA" {
            return Err(ProofError::AlgorithmMismatch);
        }
        let kid = header.kid.ok_or(ProofError::Malformed)?;
        let Some(key) = state.keys.get(&kid) else { return Err(ProofError::UnknownKey { kid }) };
        if !parts.is_signed_by(&key.key, Algorithm::EdDSA) {
            return Err(ProofError::BadSignature);
        }
        let claims: Claims = parts.claims().ok_or(ProofError::InvalidClaims)?;
        if claims.iss != self.rules.issuer {
            return Err(ProofError::WrongIssuer);
        }
        if claims.aud != self.rules.audience {
            return Err(ProofError::WrongAudience);
        }
        let ms = |seconds: u64| seconds.checked_mul(1000).ok_or(ProofError::InvalidClaims);
        let (issued_at_ms, expires_at_ms) = (ms(claims.iat)?, ms(claims.exp)?);
        Ok(Proof {
            kid,
            tenant: claims.tenant,
            peer: claims.sub,
            subscription: claims.sid,
            ver: claims.ver,
            plan: claims.plan,
            limits: claims.limits,
            features: claims.features,
            issued_at_ms,
            not_before_ms: ms(claims.nbf)?,
            expires_at_ms,
            refresh_at_ms: refresh_at_ms(issued_at_ms, expires_at_ms),
            proof_id: claims.jti,
            peer_key: claims.cnf.map(|cnf| cnf.jkt),
        })
    }

    /// What may change between two looks at a proof, and whom it must be for.
    fn check(&self, proof: &Proof, expected: Expected<'_>, state: &State, now_ms: u64) -> Result<(), ProofError> {
        let skew_ms = self.rules.skew_ms;
        let Some(key) = state.keys.get(&proof.kid) else {
            return Err(ProofError::UnknownKey { kid: proof.kid.clone() });
        };
        if now_ms >= key.not_after_ms.saturating_add(skew_ms) {
            return Err(ProofError::KeyRetired);
        }
        if proof.tenant != *expected.tenant {
            return Err(ProofError::WrongTenant);
        }
        if proof.peer != *expected.peer {
            return Err(ProofError::WrongPeer);
        }
        if expected.peer_key.is_some_and(|shown| proof.peer_key.as_deref() != Some(shown)) {
            return Err(ProofError::WrongPeerKey);
        }
        if proof.not_before_ms > now_ms.saturating_add(skew_ms) {
            return Err(ProofError::NotYetValid);
        }
        if now_ms >= proof.expires_at_ms.saturating_add(skew_ms) {
            return Err(ProofError::Expired);
        }
        let below = |revocation: &Revocation| proof.ver < revocation.min_ver;
        if proof.issued_at_ms <= state.floor_ms && state.floor_ms > 0
            || state.revoked.get(&proof.subscription).is_some_and(below)
        {
            return Err(ProofError::Revoked);
        }
        Ok(())
    }

    /// Replaces the state by a changed copy; `change` may run more than once when writers race.
    fn update<E>(&self, mut change: impl FnMut(&mut State) -> Result<(), E>) -> Result<(), E> {
        let mut outcome = Ok(());
        self.state.rcu(|state| {
            let mut next = State::clone(state);
            outcome = change(&mut next);
            if outcome.is_ok() { Arc::new(next) } else { Arc::clone(state) }
        });
        outcome
    }
}
