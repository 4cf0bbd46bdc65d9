//! Events that signaling reads.

use std::sync::Arc;

use async_trait::async_trait;
use bus::Envelope;
use contracts::Contract;
use contracts::events::presence::{PeerWentOfflineV1, PresenceEvent};
use outbox::{Consumer, Effects, Failure, Order, RetryPolicy, Subscription, Unit};
use service::PROOF_SUBSCRIPTIONS;

use crate::Signaling;
use crate::commands::end;

/// What signaling reads, and how it deals with trouble.
pub const SUBSCRIPTIONS: &[Subscription] = &[
    PROOF_SUBSCRIPTIONS[0],
    PROOF_SUBSCRIPTIONS[1],
    PROOF_SUBSCRIPTIONS[2],
    Subscription {
        kind: PeerWentOfflineV1::KIND,
        retry: RetryPolicy::DEFAULT,
        order: Order::Every,
        effects: Effects::Local,
    },
];

pub(crate) struct Events(pub(crate) Arc<Signaling>);

#[async_trait]
impl Consumer for Events {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        if self.0.proofs.learn(event, unit).await?.is_some() {
            return Ok(());
        }
        match PresenceEvent::decode(&event.kind, &event.data) {
            Some(Ok(PresenceEvent::WentOffline(fact))) => {
                Ok(end::end_of_peer(&self.0, event, &fact.peer_id, unit).await?)
            }
            Some(Err(error)) => Err(Failure::Poison(format!("{}: {error}", event.kind))),
            _ => Ok(()),
        }
    }
}
