//! Which peers are connected to this process. Every entry belongs to one live connection task, which removes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use contracts::frames::ServerFrame;
use contracts::{ConnectionId, PeerId, SubscriptionId, TenantId};
use tokio::sync::mpsc;

/// Why a connection is closed, as its client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Farewell {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) reconnect_after_ms: Option<u64>,
}

/// A connection that has authenticated.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) tenant: TenantId,
    pub(crate) peer_id: PeerId,
    pub(crate) connection_id: ConnectionId,
    pub(crate) generation: u64,
    pub(crate) subscription_id: SubscriptionId,
    pub(crate) proof_ver: u64,
    /// The key its proof is signed with.
    pub(crate) proof_kid: String,
    pub(crate) outbound: mpsc::Sender<ServerFrame>,
    /// Closes the connection, whatever waits in `outbound`: the one thing that must always get through.
    pub(crate) kick: Arc<tokio::sync::watch::Sender<Option<Farewell>>>,
}

impl Entry {
    /// Hands a frame to the connection; a connection that reads too slowly is closed instead.
    pub(crate) fn send(&self, frame: ServerFrame) -> bool {
        match self.outbound.try_send(frame) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.close(crate::socket::SLOW_CONSUMER);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Closes the connection, whatever is waiting in its way. The first reason stands.
    pub(crate) fn close(&self, farewell: Farewell) {
        self.kick.send_if_modified(|standing| {
            let first = standing.is_none();
            if first {
                *standing = Some(farewell);
            }
            first
        });
    }
}

/// Connections by tenant and peer.
#[derive(Default)]
pub(crate) struct Registry {
    tenants: Mutex<HashMap<TenantId, HashMap<PeerId, Entry>>>,
}

impl Registry {
    /// Puts a connection in. An older one of the same peer is closed; returns false, and changes nothing, when a newer
    /// one stands.
    pub(crate) fn insert(&self, entry: Entry) -> bool {
        let mut tenants = self.lock();
        let peers = tenants.entry(entry.tenant.clone()).or_default();
        match peers.get(&entry.peer_id) {
            Some(known) if known.generation > entry.generation => return false,
            Some(known) => known.close(crate::socket::TAKEN_OVER),
            None => {}
        }
        peers.insert(entry.peer_id.clone(), entry);
        true
    }

    /// Takes a connection out, unless another one of the peer took its place.
    pub(crate) fn remove(&self, tenant: &TenantId, peer_id: &PeerId, connection_id: &ConnectionId) {
        let mut tenants = self.lock();
        let Some(peers) = tenants.get_mut(tenant) else { return };
        if peers.get(peer_id).is_some_and(|entry| entry.connection_id == *connection_id) {
            peers.remove(peer_id);
        }
        if peers.is_empty() {
            tenants.remove(tenant);
        }
    }

    /// Notes a newer proof of a live connection.
    pub(crate) fn renew(
        &self,
        tenant: &TenantId,
        peer_id: &PeerId,
        connection_id: &ConnectionId,
        proof_ver: u64,
        proof_kid: &str,
    ) {
        let mut tenants = self.lock();
        let entry = tenants.get_mut(tenant).and_then(|peers| peers.get_mut(peer_id));
        if let Some(entry) = entry.filter(|entry| entry.connection_id == *connection_id) {
            entry.proof_ver = proof_ver;
            proof_kid.clone_into(&mut entry.proof_kid);
        }
    }

    /// The connection of a peer.
    pub(crate) fn find(&self, tenant: &TenantId, peer_id: &PeerId) -> Option<Entry> {
        self.lock().get(tenant)?.get(peer_id).cloned()
    }

    /// Every connection of a tenant.
    pub(crate) fn of_tenant(&self, tenant: &TenantId) -> Vec<Entry> {
        self.lock().get(tenant).map(|peers| peers.values().cloned().collect()).unwrap_or_default()
    }

    /// Every connection.
    pub(crate) fn all(&self) -> Vec<Entry> {
        self.lock().values().flat_map(|peers| peers.values().cloned()).collect()
    }

    /// Closes the connections that older proofs of a subscription opened. Returns how many.
    pub(crate) fn close_subscription(&self, subscription_id: &SubscriptionId, min_ver: u64) -> usize {
        let mut lost = self.all();
        lost.retain(|entry| entry.subscription_id == *subscription_id && entry.proof_ver < min_ver);
        lost.iter().for_each(|entry| entry.close(crate::socket::ENTITLEMENT_LOST));
        lost.len()
    }

    /// Closes the connections whose proofs a withdrawn key signed: any of them may be forged. Returns how many.
    pub(crate) fn close_key(&self, kid: &str) -> usize {
        let mut lost = self.all();
        lost.retain(|entry| entry.proof_kid == kid);
        lost.iter().for_each(|entry| entry.close(crate::socket::PROOF_REFUSED));
        lost.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, HashMap<PeerId, Entry>>> {
        // The map is whole after every statement, so a panic elsewhere leaves it usable.
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
