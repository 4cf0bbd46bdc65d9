//! Handing things to the gateway process that holds a peer, and hearing whether the peer has them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::{BusError, Trail};
use contracts::signals::signaling::TakenV1;
use contracts::{Class, Contract, NodeId, PeerId, Signal, SignalId, TenantId};
use tokio::sync::oneshot;

use crate::mailbox::{self, Content};
use crate::{NAME, Signaling};

/// Answers that wait in this process; beyond that the oldest are dropped, and what they are about is sent again.
const BUFFER: usize = 10_000;

/// Who waits for an answer about which signal. Every wait is bounded in time, and each request or mailbox has one.
#[derive(Default)]
pub(crate) struct Answers {
    waiting: Mutex<HashMap<SignalId, oneshot::Sender<bool>>>,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, HashMap<SignalId, oneshot::Sender<bool>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts listening for answers.
pub(crate) async fn start(signaling: &Arc<Signaling>) -> anyhow::Result<()> {
    let platform = &signaling.platform;
    let mut told = platform.bus.listen(TakenV1::KIND, Some(platform.node_id.as_str()), None, BUFFER).await?;
    let (listener, stop) = (Arc::clone(signaling), platform.lifecycle.token());
    platform.lifecycle.spawn("signaling.answers", async move {
        while let Some(Some(envelope)) = stop.run_until_cancelled(told.next()).await {
            match contracts::read::<TakenV1>(NAME, Class::Signal, TakenV1::KIND, &envelope.data) {
                Ok(TakenV1 { signal_id, taken }) => {
                    if let Some(waiter) = listener.answers.lock().remove(&signal_id) {
                        let _ = waiter.send(taken);
                    }
                }
                Err(error) => tracing::warn!(kind = TakenV1::KIND, %error, "a signal breaks its contract"),
            }
        }
    });
    Ok(())
}

/// Hands a signal or a receipt to the process that holds the peer. True when the peer's connection has it; false when it
/// said no or nothing in time: then it may have it all the same, and a second time it is recognised by its id.
pub(crate) async fn hand_over(
    signaling: &Signaling,
    tenant: &TenantId,
    trail: &Trail,
    (to, node): (&PeerId, &NodeId),
    id: &SignalId,
    content: &Content,
) -> Result<bool, BusError> {
    let own = &signaling.platform.node_id;
    let taken = match content {
        Content::Signal(letter) => tell(signaling, tenant, trail, node, id, &letter.deliver(id, to, own)).await,
        Content::Receipt(receipt) => {
            tell(signaling, tenant, trail, node, id, &mailbox::receipt(id, to, receipt, own)).await
        }
    };
    if !matches!(taken, Ok(true)) {
        // Presence is asked anew: the peer may have moved.
        signaling.peers.forget(tenant, to);
    }
    taken
}

async fn tell(
    signaling: &Signaling,
    tenant: &TenantId,
    trail: &Trail,
    node: &NodeId,
    id: &SignalId,
    signal: &impl Signal,
) -> Result<bool, BusError> {
    let (platform, limit) = (&signaling.platform, Duration::from_millis(signaling.config.take_within_ms));
    let (sender, taken) = oneshot::channel();
    signaling.answers.lock().insert(id.clone(), sender);
    let _waiting = Waiting { answers: &signaling.answers, id };
    platform.bus.tell(&platform.sender, node.as_str(), tenant, trail, signal).await?;
    Ok(matches!(platform.clock.timeout(limit, taken).await, Some(Ok(true))))
}

/// Forgets a waiter however its wait ends.
struct Waiting<'a> {
    answers: &'a Answers,
    id: &'a SignalId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.answers.lock().remove(self.id);
    }
}
