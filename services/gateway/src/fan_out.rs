//! Signals from other services to the connections of this process, and heartbeats the other way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::events::presence::PeerStatus;
use contracts::frames::ServerFrame;
use contracts::requests::presence::PeerView;
use contracts::signals::EVERYBODY;
use contracts::signals::gateway::EntitlementLostV1;
use contracts::signals::presence::{ChangedV1, HeartbeatPeer, HeartbeatV1};
use contracts::signals::signaling::DeliverV1;
use contracts::{Contract, TenantId};
use serde::de::DeserializeOwned;

use crate::Gateway;
use crate::registry::Entry;
use crate::socket::{ENTITLEMENT_LOST, PROOF_REFUSED, SILENT, TAKEN_OVER};

/// Signals that wait in this process; beyond that the oldest are dropped and counted.
const SIGNAL_BUFFER: usize = 10_000;
/// Most peers in one heartbeat (its contract's limit).
const BEAT_PEERS: usize = 500;

/// Starts listening and beating.
pub(crate) async fn start(gateway: &Arc<Gateway>) -> anyhow::Result<()> {
    listen(gateway, None, |gateway, tenant, changed: ChangedV1| {
        for entry in gateway.registry.of_tenant(tenant) {
            if entry.peer_id == changed.peer.peer_id {
                close_outlived(&entry, &changed.peer);
            } else {
                entry.send(ServerFrame::Presence { peer: changed.peer.clone() });
            }
        }
    })
    .await?;
    let node = gateway.platform.node_id.to_string();
    listen(gateway, Some(&node), |gateway, tenant, deliver: DeliverV1| {
        let frame = ServerFrame::Signal {
            session_id: deliver.session_id,
            from: deliver.from,
            polite: deliver.polite,
            signal: deliver.signal,
        };
        let delivered = gateway.registry.find(tenant, &deliver.to).is_some_and(|entry| entry.send(frame));
        let outcome = if delivered { "delivered" } else { "lost" };
        metrics::counter!("synapse_gateway_signals_total", "outcome" => outcome).increment(1);
    })
    .await?;
    listen(gateway, Some(EVERYBODY), |gateway, _, lost: EntitlementLostV1| {
        gateway.registry.close_subscription(&lost.subscription_id, lost.min_ver);
    })
    .await?;
    let beating = Arc::clone(gateway);
    gateway.platform.lifecycle.spawn("gateway.heartbeats", async move { beat_for_ever(&beating).await });
    Ok(())
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
    deliver: impl Fn(&Gateway, &TenantId, S) + Send + 'static,
) -> anyhow::Result<()> {
    let mut signals = gateway.platform.bus.listen(S::KIND, address, None, SIGNAL_BUFFER).await?;
    let stop = gateway.platform.lifecycle.token();
    let gateway = Arc::clone(gateway);
    gateway.platform.lifecycle.clone().spawn(format!("gateway.listen.{}", S::KIND), async move {
        while let Some(Some(envelope)) = stop.run_until_cancelled(signals.next()).await {
            match serde_json::from_slice(&envelope.data) {
                Ok(signal) => deliver(&gateway, &envelope.tenant, signal),
                Err(error) => tracing::warn!(kind = S::KIND, %error, "a signal breaks its contract"),
            }
        }
    });
    Ok(())
}

async fn beat_for_ever(gateway: &Gateway) {
    let platform = &gateway.platform;
    let interval = Duration::from_millis(gateway.config.presence_beat_ms);
    let stop = platform.lifecycle.token();
    while stop.run_until_cancelled(platform.clock.sleep(interval)).await.is_some() {
        beat(gateway).await;
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
