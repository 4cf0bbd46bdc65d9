//! Events that the tunnel service reads: proof keys and revocations.

use std::sync::Arc;

use async_trait::async_trait;
use bus::Envelope;
use contracts::events::subscription::SubscriptionEvent;
use outbox::{Consumer, Failure, Subscription, Unit};
use service::PROOF_SUBSCRIPTIONS;

use crate::Edge;

/// What the tunnel service reads, and how it deals with trouble.
pub const SUBSCRIPTIONS: &[Subscription] = &PROOF_SUBSCRIPTIONS;

pub(crate) struct Events(pub(crate) Arc<Edge>);

#[async_trait]
impl Consumer for Events {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        if let Some(SubscriptionEvent::ProofRevoked(revoked)) = self.0.proofs.learn(event, unit).await? {
            let closed = self.0.close_revoked();
            tracing::info!(subscription_id = %revoked.subscription_id, closed, "proofs revoked");
        }
        Ok(())
    }
}
