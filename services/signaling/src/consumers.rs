//! Events that signaling reads.

use std::sync::Arc;

use async_trait::async_trait;
use bus::Envelope;
use contracts::events::presence::{OfflineReason, PeerWentOfflineV1, PeerWentOnlineV1};
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
    Subscription {
        kind: PeerWentOnlineV1::KIND,
        retry: RetryPolicy::DEFAULT,
        order: Order::Every,
        effects: Effects::Local,
    },
];

/// What signaling needs of [`PeerWentOfflineV1`]: whichever connection ended.
#[derive(Debug, Deserialize)]
struct LostPeer {
    peer_id: PeerId,
    reason: OfflineReason,
}

/// What signaling needs of [`PeerWentOnlineV1`]: wherever it is.
#[derive(Debug, Deserialize)]
struct FoundPeer {
    peer_id: PeerId,
}

pub(crate) struct Events(pub(crate) Arc<Signaling>);

#[async_trait]
impl Consumer for Events {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        if self.0.proofs.learn(event, unit).await?.is_some() {
            return Ok(());
        }
        match event.kind.as_str() {
            PeerWentOfflineV1::KIND => {
                let lost: LostPeer = outbox::read(NAME, event)?;
                self.lose(event, &lost, unit).await?;
            }
            PeerWentOnlineV1::KIND => {
                let found: FoundPeer = outbox::read(NAME, event)?;
                let again = |session: crate::session::Session| session.find_again(&found.peer_id);
                end::tell_sessions(&self.0, event, &found.peer_id, unit, again).await?;
                self.0.peers.forget(&event.tenant, &found.peer_id);
                self.0.wakes.wake(&event.tenant, &found.peer_id);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Events {
    /// A connection that closed may come back. A peer whose lease ended had the time for that, and one that is no longer
    /// entitled may not.
    async fn lose(&self, event: &Envelope, lost: &LostPeer, unit: &mut Unit) -> Result<(), Failure> {
        let (peer, grace_ms) = (&lost.peer_id, self.0.config.peer_grace_ms);
        match lost.reason {
            OfflineReason::Left if grace_ms > 0 => {
                let until_ms = event.time_ms + grace_ms;
                end::tell_sessions(&self.0, event, peer, unit, |session| session.lose(peer, until_ms)).await?;
            }
            _ => end::tell_sessions(&self.0, event, peer, unit, |session| session.without(vec![peer.clone()])).await?,
        }
        Ok(())
    }
}
