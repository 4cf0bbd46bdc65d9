//! Signals from other services to the connections of this process, and heartbeats the other way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bus::Envelope;
use contracts::events::presence::PeerStatus;
use contracts::frames::{PeerChange, ServerFrame};
use contracts::requests::presence::PeerView;
use contracts::signals::EVERYBODY;
use contracts::signals::gateway::{BroadcastV1, CallV1, EntitlementLostV1, ReplyV1};
use contracts::signals::presence::{ChangedV1, HeartbeatPeer, HeartbeatV1};
use contracts::signals::signaling::{DeliverV1, ReceiptV1, TakenV1};
use contracts::{Class, Contract, NodeId, SignalId, TenantId};
use serde::de::DeserializeOwned;

use crate::journal::Push;
use crate::registry::{Entry, Target};
use crate::socket::{ENTITLEMENT_LOST, PROOF_REFUSED, SILENT, TAKEN_OVER};
use crate::{Gateway, NAME, messages, nodes};

/// Signals that wait in this process; beyond that the oldest are dropped and counted.
const SIGNAL_BUFFER: usize = 10_000;
/// Most peers in one heartbeat (its contract's limit).
const BEAT_PEERS: usize = 500;

/// Starts listening and beating.
pub(crate) async fn start(gateway: &Arc<Gateway>) -> anyhow::Result<()> {
    listen(gateway, None, |gateway, came, changed: ChangedV1| {
        gateway.peers.learn(&came.tenant, &changed.peer);
        if let Some(entry) = gateway.registry.find(&came.tenant, &changed.peer.peer_id) {
            close_outlived(&entry, &changed.peer);
        }
        let mut told: HashMap<PeerChange, Vec<Target>> = HashMap::new();
        for (change, target) in gateway.registry.watchers(&came.tenant, &changed) {
            told.entry(change).or_default().push(target);
        }
        for (change, targets) in told {
            let frame = ServerFrame::Presence { offset: 0, peer: changed.peer.clone(), change: Some(change) };
            push(gateway, &targets, came, frame);
        }
    })
    .await?;
    listen(gateway, None, |gateway, came, broadcast: BroadcastV1| {
        let BroadcastV1 { from, scope, note } = broadcast;
        let audience = gateway.registry.audience(&came.tenant, &scope, &from);
        push(gateway, &audience, came, messages::frame(from, Some(scope), note));
    })
    .await?;
    let node = gateway.platform.node_id.to_string();
    listen(gateway, Some(&node), |gateway, came, mut deliver: DeliverV1| {
        let waiting = deliver.reply_to.take().zip(deliver.signal_id.clone());
        let target = gateway.registry.target(&came.tenant, &deliver.to);
        let taken = match &waiting {
            Some((_, id)) => give(gateway, target.as_ref(), id, ServerFrame::of_signal(deliver)),
            None => push(gateway, target.as_slice(), came, ServerFrame::of_signal(deliver)) == 1,
        };
        let outcome = if taken { "delivered" } else { "lost" };
        metrics::counter!("synapse_gateway_signals_total", "outcome" => outcome).increment(1);
        if let Some((reply_to, signal_id)) = waiting {
            tell_taken(gateway, came, reply_to, TakenV1 { signal_id, taken });
        }
    })
    .await?;
    listen(gateway, Some(&node), |gateway, came, told: ReceiptV1| {
        let ReceiptV1 { sender, receipt, receipt_id, reply_to } = told;
        let frame = ServerFrame::Receipt { offset: 0, receipt };
        let target = gateway.registry.target(&came.tenant, &sender);
        let taken = give(gateway, target.as_ref(), &receipt_id, frame);
        tell_taken(gateway, came, reply_to, TakenV1 { signal_id: receipt_id, taken });
    })
    .await?;
    listen(gateway, Some(&node), |gateway, came, asked: CallV1| {
        nodes::answer(gateway, &came.tenant, came.id.as_str(), asked);
    })
    .await?;
    listen(gateway, Some(&node), |gateway, _, reply: ReplyV1| gateway.calls.settle(reply)).await?;
    listen(gateway, Some(EVERYBODY), |gateway, _, lost: EntitlementLostV1| {
        gateway.registry.close_subscription(&lost.subscription_id, lost.min_ver);
    })
    .await?;
    let beating = Arc::clone(gateway);
    gateway.platform.lifecycle.spawn("gateway.heartbeats", async move { beat_for_ever(&beating).await });
    Ok(())
}

/// Pushes one frame to many. Returns how many took it.
fn push(gateway: &Gateway, targets: &[Target], came: &Envelope, frame: ServerFrame) -> usize {
    let (push, now_ms) = (Push::new(came.id.as_str(), frame), gateway.platform.clock.now_ms());
    targets.iter().filter(|target| target.push(&push, now_ms).is_some()).count()
}

/// Pushes what signaling keeps until a peer has it: once, however often it comes; false when the peer is not connected.
/// A history that waits for a resume does not count: nobody knows whether it will be asked for.
fn give(gateway: &Gateway, target: Option<&Target>, id: &SignalId, frame: ServerFrame) -> bool {
    let Some(target) = target.filter(|target| target.entry.is_some()) else { return false };
    let push = Push::new(id.as_str(), frame);
    target.journal.holds(&push.source) || target.push(&push, gateway.platform.clock.now_ms()).is_some()
}

/// Tells a signaling process whether a peer has what it sent.
fn tell_taken(gateway: &Arc<Gateway>, came: &Envelope, reply_to: NodeId, taken: TakenV1) {
    let (gateway, tenant, trail) = (Arc::clone(gateway), came.tenant.clone(), came.follow());
    gateway.platform.lifecycle.clone().spawn("gateway.taken", async move {
        let platform = &gateway.platform;
        if let Err(error) = platform.bus.tell(&platform.sender, reply_to.as_str(), &tenant, &trail, &taken).await {
            tracing::warn!(%error, node = %reply_to, "signaling was not told that a signal arrived; it sends it again");
        }
    });
}

/// Closes the peer's own connection where presence knows better: a newer one stands, here or at another gateway, or its
/// lease has ended although it is here (presence did not hear our heartbeats) and only connecting anew brings it back.
fn close_outlived(entry: &Entry, now: &PeerView) {
    if entry.generation < now.generation {
        entry.close(TAKEN_OVER);
    } else if entry.generation == now.generation && now.status == PeerStatus::Offline {
        entry.close(SILENT);
    }
}

async fn listen<S: Contract + DeserializeOwned>(
    gateway: &Arc<Gateway>,
    address: Option<&str>,
    deliver: impl Fn(&Arc<Gateway>, &Envelope, S) + Send + 'static,
) -> anyhow::Result<()> {
    let mut signals = gateway.platform.bus.listen(S::KIND, address, None, SIGNAL_BUFFER).await?;
    let mut flushes = gateway.flush.listener();
    let gateway = Arc::clone(gateway);
    gateway.platform.lifecycle.clone().spawn(format!("gateway.listen.{}", S::KIND), async move {
        let mut stopped = std::pin::pin!(stopped(&gateway));
        loop {
            // A flush comes last: it tells that nothing was left.
            let envelope = tokio::select! {
                biased;
                () = &mut stopped => return,
                envelope = signals.next() => envelope,
                Some(flushed) = flushes.recv() => {
                    let _ = flushed.send(());
                    continue;
                }
            };
            let Some(envelope) = envelope else { return };
            match contracts::read(NAME, Class::Signal, S::KIND, &envelope.data) {
                Ok(signal) => deliver(&gateway, &envelope, signal),
                Err(error) => tracing::warn!(kind = S::KIND, %error, "a signal breaks its contract"),
            }
        }
    });
    Ok(())
}

/// Waits for the stop and, if it is configured so, until the peers that were here have taken their histories with them.
async fn stopped(gateway: &Gateway) {
    gateway.platform.lifecycle.token().cancelled().await;
    let limit = Duration::from_millis(gateway.config.handover_on_drain_ms);
    gateway.platform.clock.timeout(limit, gateway.registry.emptied()).await;
}

async fn beat_for_ever(gateway: &Gateway) {
    let platform = &gateway.platform;
    let interval = Duration::from_millis(gateway.config.presence_beat_ms);
    let stop = platform.lifecycle.token();
    while stop.run_until_cancelled(platform.clock.sleep(interval)).await.is_some() {
        beat(gateway).await;
        gateway.registry.sweep(platform.clock.now_ms());
        gateway.tickets.sweep(platform.clock.now_ms());
    }
}

/// Tells presence which peers are alive. A connection in the registry was heard of lately: silent ones are closed.
pub(crate) async fn beat(gateway: &Gateway) {
    let platform = &gateway.platform;
    let mut tenants: HashMap<TenantId, Vec<HeartbeatPeer>> = HashMap::new();
    for entry in gateway.registry.all() {
        // For the signal that was missed: by now the proof book has read the store again.
        if gateway.proofs.is_revoked(&entry.subscription_id, entry.proof_ver) {
            entry.close(ENTITLEMENT_LOST);
        } else if !gateway.proofs.knows_key(&entry.proof_kid) {
            entry.close(PROOF_REFUSED);
        }
        let heard = HeartbeatPeer { peer_id: entry.peer_id, generation: entry.generation };
        tenants.entry(entry.tenant).or_default().push(heard);
    }
    for (tenant, peers) in tenants {
        for chunk in peers.chunks(BEAT_PEERS) {
            let signal = HeartbeatV1 { node_id: platform.node_id.clone(), peers: chunk.to_vec() };
            let told = platform.bus.tell(&platform.sender, EVERYBODY, &tenant, &gateway.new_trail(), &signal).await;
            if let Err(error) = told {
                tracing::warn!(%error, "presence was not told who is alive; the next beat tries again");
            }
        }
    }
}
