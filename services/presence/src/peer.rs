//! A peer and its rules. Pure: takes the time, gives the new state and the facts, or a refusal.

use contracts::events::presence::{
    OfflineReason, PeerStatus, PeerStatusChangedV1, PeerWentOfflineV1, PeerWentOnlineV1, PresenceEvent,
};
use contracts::requests::presence::{ConnectRefusal, ConnectV1, PeerView, SetStatusRefusal};
use contracts::{ConnectionId, NodeId, PeerId, SubscriptionId, UserId};
use serde::{Deserialize, Serialize};

/// A peer as presence remembers it, here or gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) peer_id: PeerId,
    pub(crate) user_id: UserId,
    pub(crate) status: PeerStatus,
    /// Counts its connections; a leave or heartbeat of an older one changes nothing.
    pub(crate) generation: u64,
    pub(crate) connection_id: ConnectionId,
    pub(crate) node_id: NodeId,
    pub(crate) subscription_id: SubscriptionId,
    pub(crate) proof_ver: u64,
    pub(crate) lease_until_ms: u64,
    /// Counts its facts; each fact carries the number it made.
    pub(crate) sequence: u64,
}

/// What came of a command: the peer as it is now and the fact that says so; no fact, nothing changed for others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) peer: Peer,
    pub(crate) fact: Option<PresenceEvent>,
}

/// Whether the status machine has this arrow. Everything may go offline; nobody goes back to connecting.
pub(crate) fn allowed(from: PeerStatus, to: PeerStatus) -> bool {
    use PeerStatus::{Away, Connecting, Offline, Online};
    matches!(
        (from, to),
        (Connecting, Online | Offline) | (Online, Away | Offline) | (Away, Online | Offline) | (Offline, Connecting)
    )
}

impl Peer {
    /// A connection of a peer that is new, gone, or here on another connection. The newest connection wins.
    pub(crate) fn connect(
        known: Option<Self>,
        ask: ConnectV1,
        now_ms: u64,
        lease_ms: u64,
    ) -> Result<Change, ConnectRefusal> {
        let (generation, sequence) = match known {
            Some(known) if known.user_id != ask.user_id => return Err(ConnectRefusal::NotOwner),
            Some(known) if known.status != PeerStatus::Offline && known.connection_id == ask.connection_id => {
                return Ok(Change { peer: known, fact: None });
            }
            Some(known) => (known.generation + 1, known.sequence + 1),
            None => (1, 1),
        };
        let peer = Self {
            peer_id: ask.peer_id,
            user_id: ask.user_id,
            status: PeerStatus::Online,
            generation,
            connection_id: ask.connection_id,
            node_id: ask.node_id,
            subscription_id: ask.subscription_id,
            proof_ver: ask.proof_ver,
            lease_until_ms: now_ms + lease_ms,
            sequence,
        };
        let fact = PeerWentOnlineV1 {
            peer_id: peer.peer_id.clone(),
            generation,
            node_id: peer.node_id.clone(),
            subscription_id: peer.subscription_id.clone(),
        };
        Ok(Change { peer, fact: Some(fact.into()) })
    }

    /// The peer was heard of. `None` when there is nothing to write: it is an older connection, or the lease is young.
    pub(crate) fn heartbeat(mut self, generation: u64, now_ms: u64, lease_ms: u64) -> Option<Self> {
        // A third of the lease: two lost heartbeats do no harm, and most heartbeats write nothing.
        let still_young = self.lease_until_ms > now_ms + lease_ms - lease_ms / 3;
        if self.generation != generation || self.status == PeerStatus::Offline || still_young {
            return None;
        }
        self.lease_until_ms = now_ms + lease_ms;
        Some(self)
    }

    /// A connection ended. `None` when a newer one stands or the peer is gone already.
    pub(crate) fn leave(mut self, generation: u64, reason: OfflineReason) -> Option<Change> {
        if self.generation != generation || !allowed(self.status, PeerStatus::Offline) {
            return None;
        }
        self.status = PeerStatus::Offline;
        self.sequence += 1;
        let fact = PeerWentOfflineV1 { peer_id: self.peer_id.clone(), generation, reason };
        Some(Change { peer: self, fact: Some(fact.into()) })
    }

    /// The lease ended. `None` when it was renewed meanwhile.
    pub(crate) fn expire(self, now_ms: u64) -> Option<Change> {
        if self.lease_until_ms > now_ms {
            return None;
        }
        let generation = self.generation;
        self.leave(generation, OfflineReason::TimedOut)
    }

    /// The peer says how it is.
    pub(crate) fn set_status(mut self, generation: u64, status: PeerStatus) -> Result<Change, SetStatusRefusal> {
        if self.status == PeerStatus::Offline {
            return Err(SetStatusRefusal::UnknownPeer);
        }
        if self.generation != generation {
            return Err(SetStatusRefusal::StaleGeneration);
        }
        if self.status == status {
            return Ok(Change { peer: self, fact: None });
        }
        // Offline is for leaves and expiry, which end the lease as well.
        if status == PeerStatus::Offline || !allowed(self.status, status) {
            return Err(SetStatusRefusal::InvalidTransition { from: self.status, to: status });
        }
        self.status = status;
        self.sequence += 1;
        let fact = PeerStatusChangedV1 { peer_id: self.peer_id.clone(), generation, status };
        Ok(Change { peer: self, fact: Some(fact.into()) })
    }

    /// The peer as others may see it.
    pub(crate) fn view(&self) -> PeerView {
        PeerView {
            peer_id: self.peer_id.clone(),
            status: self.status,
            generation: self.generation,
            node_id: self.node_id.clone(),
            subscription_id: self.subscription_id.clone(),
            proof_ver: self.proof_ver,
            lease_until_ms: self.lease_until_ms,
        }
    }
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
