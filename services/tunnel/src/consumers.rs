//! Events that the tunnel service reads: proof keys, revocations, quotas.

use std::sync::Arc;

use async_trait::async_trait;
use bus::Envelope;
use contracts::events::subscription::SubscriptionEvent;
use outbox::{Consumer, Failure, Subscription, Unit};
use service::PROOF_SUBSCRIPTIONS;

use crate::{Edge, quotas};

/// What the tunnel service reads, and how it deals with trouble.
pub const SUBSCRIPTIONS: &[Subscription] =
    &[PROOF_SUBSCRIPTIONS[0], PROOF_SUBSCRIPTIONS[1], PROOF_SUBSCRIPTIONS[2], quotas::READ[0], quotas::READ[1]];

pub(crate) struct Events(pub(crate) Arc<Edge>);

#[async_trait]
impl Consumer for Events {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        if self.0.quotas.learn(event, unit, self.0.platform.clock.now_ms()).await? {
            return Ok(());
        }
        if let Some(SubscriptionEvent::ProofRevoked(revoked)) = self.0.proofs.learn(event, unit).await? {
            let closed = self.0.close_revoked();
            tracing::info!(subscription_id = %revoked.subscription_id, closed, "proofs revoked");
        }
        Ok(())
    }
}
