//! Events that the gateway reads: proof keys and revocations, and the status of subscriptions.

use std::sync::Arc;

use async_trait::async_trait;
use bus::Envelope;
use contracts::Contract;
use contracts::events::subscription::{StatusChangedV2, SubscriptionEvent};
use outbox::{Consumer, Effects, Failure, Order, RetryPolicy, Subscription, Unit};
use service::PROOF_SUBSCRIPTIONS;

use crate::Gateway;

/// What the gateway reads, and how it deals with trouble.
pub const SUBSCRIPTIONS: &[Subscription] = &[
    PROOF_SUBSCRIPTIONS[0],
    PROOF_SUBSCRIPTIONS[1],
    PROOF_SUBSCRIPTIONS[2],
    Subscription {
        kind: StatusChangedV2::KIND,
        retry: RetryPolicy::DEFAULT,
        order: Order::LatestWins,
        effects: Effects::Local,
    },
];

pub(crate) struct Events(pub(crate) Arc<Gateway>);

#[async_trait]
impl Consumer for Events {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        // Connections of this process close here; those of others when the proof book's signal reaches them.
        match self.0.proofs.learn(event, unit).await? {
            Some(SubscriptionEvent::ProofRevoked(revoked)) => {
                let closed = self.0.registry.close_subscription(&revoked.subscription_id, revoked.min_ver);
                tracing::info!(subscription_id = %revoked.subscription_id, closed, reason = revoked.reason, "proofs revoked");
                return Ok(());
            }
            Some(SubscriptionEvent::ProofKeyWithdrawn(withdrawn)) => {
                let closed = self.0.registry.close_key(&withdrawn.kid);
                tracing::warn!(kid = withdrawn.kid, closed, reason = withdrawn.reason, "a proof key was withdrawn");
                return Ok(());
            }
            Some(_) => return Ok(()),
            None => {}
        }
        match SubscriptionEvent::decode(&event.kind, &event.data) {
            Some(Ok(fact)) => {
                if let SubscriptionEvent::StatusChangedV2(changed) = fact.latest() {
                    metrics::counter!("synapse_gateway_subscription_status_changes_total").increment(1);
                    tracing::info!(
                        subscription_id = %changed.subscription_id, status = ?changed.current,
                        entitled = changed.entitled, "a subscription changed"
                    );
                }
                Ok(())
            }
            Some(Err(error)) => Err(Failure::Poison(format!("{}: {error}", event.kind))),
            None => Ok(()),
        }
    }
}
