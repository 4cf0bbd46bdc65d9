//! Events that signaling reads.

use std::sync::Arc;

use async_trait::async_trait;
use bus::Envelope;
use contracts::events::presence::PeerWentOfflineV1;
use contracts::{Contract, PeerId};
use outbox::{Consumer, Effects, Failure, Order, RetryPolicy, Subscription, Unit};
use serde::Deserialize;
use service::PROOF_SUBSCRIPTIONS;

use crate::commands::end;
use crate::{NAME, Signaling};

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

/// What signaling needs of [`PeerWentOfflineV1`]: whatever connection ended and why, its sessions end.
#[derive(Debug, Deserialize)]
struct LostPeer {
    peer_id: PeerId,
}

pub(crate) struct Events(pub(crate) Arc<Signaling>);

#[async_trait]
impl Consumer for Events {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        if self.0.proofs.learn(event, unit).await?.is_some() {
            return Ok(());
        }
        if event.kind == PeerWentOfflineV1::KIND {
            let lost: LostPeer = outbox::read(NAME, event)?;
            end::end_of_peer(&self.0, event, &lost.peer_id, unit).await?;
        }
        Ok(())
    }
}
