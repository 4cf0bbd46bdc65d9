//! Events that the gateway reads: proof keys and revocations, and the status of subscriptions.

use std::sync::Arc;

use async_trait::async_trait;
use bus::Envelope;
use contracts::events::subscription::{Status, StatusChangedV2, SubscriptionEvent};
use contracts::{Contract, SubscriptionId};
use outbox::{Consumer, Effects, Failure, Order, RetryPolicy, Subscription, Unit};
use serde::Deserialize;
use service::PROOF_SUBSCRIPTIONS;

use crate::{Gateway, NAME};

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

/// What the gateway tells of [`StatusChangedV2`] in its log.
#[derive(Debug, Deserialize)]
struct Changed {
    subscription_id: SubscriptionId,
    current: Status,
    entitled: bool,
}

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
        if event.kind == StatusChangedV2::KIND {
            let Changed { subscription_id, current, entitled } = outbox::read(NAME, event)?;
            metrics::counter!("synapse_gateway_subscription_status_changes_total").increment(1);
            tracing::info!(%subscription_id, status = ?current, entitled, "a subscription changed");
        }
        Ok(())
    }
}
