//! **proof**: checking a subscription proof as every verifier does: form, signature, issuer, audience, tenant, peer, key,
//! times, revocation. The reference is `jsonwebtoken` alone on the same proof: signature, issuer, audience, `exp`, `nbf`.
//! One thread, µs each.
//!
//! - `proof`: never seen before: the signature is computed.
//! - `proof.cached`: seen before: everything but the signature is checked again.
//!
//! The verifier holds 4 keys and 10,000 revocations, its default bound.

use std::collections::BTreeMap;
use std::hint::black_box;

use anyhow::{Context, Result, ensure};
use auth::{Entitlement, Expected, ProofRules, ProofSigner, ProofVerifier, SignerRules, SigningKey};
use clock::{Clock, Entropy};
use contracts::events::subscription::ProofRevokedV1;
use contracts::{PeerId, TenantId};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;

use crate::report::{Better, Report, Title};
use crate::rounds::{Rounds, Side, quantile};

const ISSUER: &str = "subscription";
const AUDIENCE: &str = "synapse";
const KEYS: usize = 4;
const REVOCATIONS: usize = 10_000;
const PROOFS: usize = 1_000;
/// A round's figure is the median of so many batches: one that another program interrupted does not count.
const BATCHES: usize = 40;
const LIFE_MS: u64 = 300_000;

struct Bench {
    clock: Clock,
    verifier: ProofVerifier,
    reference: (DecodingKey, Validation),
    proofs: Vec<String>,
    tenant: TenantId,
    peer: PeerId,
    now_ms: u64,
}

pub(crate) async fn run(clock: &Clock, report: &mut Report) -> Result<()> {
    Bench::new(clock, 0)?.measure("proof", report, 1.25).await?;
    let cached = Bench::new(clock, PROOFS * 64)?;
    cached.batch(Side::Ours)?;
    ensure!(cached.verifier.cached() == PROOFS, "the cache forgot some");
    cached.measure("proof.cached", report, 0.1).await
}

impl Bench {
    fn new(clock: &Clock, max_cached: usize) -> Result<Self> {
        let (entropy, now_ms) = (Entropy::system(), clock.now_ms());
        let verifier = ProofVerifier::new(ProofRules { max_cached, ..ProofRules::new(ISSUER, AUDIENCE) });
        let mut signers = Vec::new();
        for number in 0..KEYS {
            let key = SigningKey::generate(&format!("key-{number}"), &entropy)?;
            let signer = ProofSigner::new(key, now_ms + 2 * LIFE_MS, SignerRules::new(ISSUER, AUDIENCE));
            verifier.add_key(&signer.public(), now_ms)?;
            signers.push(signer);
        }
        let signer = signers.first().context("there are keys")?;
        verifier.revoke_all(&revocations(now_ms)?, now_ms);
        let (tenant, peer): (TenantId, PeerId) = ("acme".parse()?, "alice".parse()?);
        let proof = |number: usize| -> Result<String> {
            let entitlement = Entitlement {
                tenant: tenant.clone(),
                peer: peer.clone(),
                subscription: format!("sub-{number}").parse()?,
                ver: 1,
                plan: "team".to_owned(),
                limits: BTreeMap::from([("peers".to_owned(), 50), ("relay_bytes_month".to_owned(), 107_374_182_400)]),
                features: ["presence", "signaling", "relay", "tunnels"].map(str::to_owned).into(),
                entitled_until_ms: now_ms + LIFE_MS,
                proof_id: entropy.uuid_v7(now_ms).to_string(),
                peer_key: None,
            };
            Ok(signer.issue(entitlement, now_ms)?.proof)
        };
        let proofs = (0..PROOFS).map(proof).collect::<Result<_>>()?;
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[AUDIENCE]);
        rules.validate_nbf = true;
        let reference = (DecodingKey::from_ed_components(&signer.public().public_key)?, rules);
        Ok(Self { clock: clock.clone(), verifier, reference, proofs, tenant, peer, now_ms })
    }

    async fn measure(&self, name: &'static str, report: &mut Report, goal: f64) -> Result<()> {
        let rounds = Rounds::interleaved(async |side| {
            let batches = (0..BATCHES).map(|_| self.batch(side)).collect::<Result<Vec<_>>>()?;
            Ok(quantile(&batches, 0.5))
        });
        report.add(&Title { name, goal, better: Better::Lower, unit: "µs" }, &rounds.await?);
        Ok(())
    }

    /// Microseconds each.
    fn batch(&self, side: Side) -> Result<f64> {
        let started = self.clock.monotonic();
        for proof in &self.proofs {
            match side {
                Side::Ours => {
                    let expected = Expected { tenant: &self.tenant, peer: &self.peer, peer_key: None };
                    let good = self.verifier.verify(black_box(proof), expected, self.now_ms)?;
                    ensure!(good.ver == 1, "another proof came out");
                }
                Side::Reference => {
                    let good = decode::<Value>(black_box(proof), &self.reference.0, &self.reference.1)?;
                    ensure!(good.claims["ver"] == 1, "another proof came out");
                }
            }
        }
        Ok(self.clock.monotonic().saturating_sub(started).as_secs_f64() * 1e6 / PROOFS as f64)
    }
}

fn revocations(now_ms: u64) -> Result<Vec<ProofRevokedV1>> {
    let revoked = |number: usize| -> Result<ProofRevokedV1> {
        let subscription_id = format!("gone-{number}").parse()?;
        Ok(ProofRevokedV1 { subscription_id, min_ver: 2, until_ms: now_ms + LIFE_MS, reason: "canceled".to_owned() })
    };
    (0..REVOCATIONS).map(revoked).collect()
}
