//! What the subscription service would do: it signs proofs and tells facts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent::{Agent, Options, Proved, Prover};
use auth::{Entitlement, ProofSigner, SignerRules, SigningKey};
use bus::Trail;
use clock::Clock;
use contracts::events::subscription::{ProofKeyPublishedV1, SubscriptionEvent};
use outbox::Unit;
use service::{PROOF_AUDIENCE, PROOF_ISSUER, Platform};

use crate::harness::{ACME, World, admitted, entitlement};

/// The subscription service's side: it signs and revokes.
pub(crate) struct Subscriptions {
    signer: Arc<ProofSigner>,
    platform: Platform,
}

impl Subscriptions {
    pub(crate) async fn start(world: &World) -> Self {
        let key = SigningKey::from_seed("k-1", &[7; 32]).unwrap();
        let until_ms = Clock::system().now_ms() + 86_400_000;
        let signer = Arc::new(ProofSigner::new(key, until_ms, SignerRules::new(PROOF_ISSUER, PROOF_AUDIENCE)));
        let this = Self { signer, platform: world.host.platform("subscription").await.unwrap() };
        this.publish(1, &ProofKeyPublishedV1 { key: this.signer.public() }.into()).await;
        this
    }

    pub(crate) async fn publish(&self, sequence: u64, fact: &SubscriptionEvent) {
        let mut unit = Unit::new();
        unit.publish(&ACME.parse().unwrap(), sequence, &Trail::new("test"), fact);
        self.platform.outbox.commit(unit).await.unwrap();
    }

    /// Proofs for `peer` that want to be renewed `refresh_ms` after they were made; counts them.
    pub(crate) fn prover(&self, peer: &str, refresh_ms: u64) -> (Prover, Arc<AtomicU64>) {
        let (peer, count) = (peer.to_owned(), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&count);
        let prover = self.prover_of(refresh_ms, move |now_ms| {
            counted.fetch_add(1, Ordering::Relaxed);
            entitlement(&peer, now_ms)
        });
        (prover, count)
    }

    /// Proofs of whatever `entitled` says at the time.
    pub(crate) fn prover_of(
        &self,
        refresh_ms: u64,
        entitled: impl Fn(u64) -> Entitlement + Send + Sync + 'static,
    ) -> Prover {
        let signer = Arc::clone(&self.signer);
        Prover::new(move || {
            let now_ms = Clock::system().now_ms();
            let proof = signer.issue(entitled(now_ms), now_ms).unwrap().proof;
            Box::pin(async move { Ok(Proved { proof, refresh_at_ms: now_ms + refresh_ms }) })
        })
    }

    /// An agent with a proof, whose tunnel is called `blue`.
    pub(crate) async fn blue(&self, world: &World) -> Agent {
        let (prover, _) = self.prover("laptop", 60_000);
        admitted(&Options { prover: Some(prover), name: Some("blue".into()), ..world.options("laptop") }).await
    }
}
