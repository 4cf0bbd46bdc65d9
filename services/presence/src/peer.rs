//! A peer and its rules. Pure: takes the time, gives the new state and the facts, or a refusal.

use std::collections::BTreeSet;

use contracts::events::presence::{
    OfflineReason, PeerDescribedV1, PeerStatus, PeerStatusChangedV1, PeerWentOfflineV1, PeerWentOnlineV1, PresenceEvent,
};
use contracts::requests::presence::{
    ConnectRefusal, ConnectV1, DescribeRefusal, DescribeV1, Marks, PeerView, Profile, SetStatusRefusal,
};
use contracts::{ConnectionId, NodeId, PeerId, SubscriptionId, UserId};
use serde::{Deserialize, Serialize};

use crate::profile;

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
    #[serde(default, skip_serializing_if = "Profile::is_empty")]
    pub(crate) profile: Profile,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) rooms: BTreeSet<String>,
    /// The name of the network it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<String>,
}

/// What came of a command: the peer as it is now and the fact that says so. Without a fact only its lease or its rooms
/// changed, if anything.
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
    /// A connection of a peer that is new, gone, or here on another connection. The newest connection wins, and begins
    /// with nothing of what the one before it told.
    pub(crate) fn connect(
        known: Option<Self>,
        ask: ConnectV1,
        network: Option<String>,
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
        // Offline, connecting and, unless it says otherwise, online in one step.
        let status = match ask.status.unwrap_or(PeerStatus::Online) {
            status @ (PeerStatus::Connecting | PeerStatus::Online) => status,
            to => return Err(ConnectRefusal::InvalidTransition { to }),
        };
        let violations = profile::violations(&ask.profile);
        if !violations.is_empty() {
            return Err(ConnectRefusal::Invalid { violations });
        }
        let peer = Self {
            peer_id: ask.peer_id,
            user_id: ask.user_id,
            status,
            generation,
            connection_id: ask.connection_id,
            node_id: ask.node_id,
            subscription_id: ask.subscription_id,
            proof_ver: ask.proof_ver,
            lease_until_ms: now_ms + lease_ms,
            sequence,
            profile: ask.profile,
            rooms: BTreeSet::new(),
            network,
        };
        let fact = peer.tells_status();
        Ok(Change { peer, fact: Some(fact) })
    }

    /// The fact that tells its status.
    fn tells_status(&self) -> PresenceEvent {
        let (peer_id, generation) = (self.peer_id.clone(), self.generation);
        match self.status {
            PeerStatus::Online => PeerWentOnlineV1 {
                peer_id,
                generation,
                node_id: self.node_id.clone(),
                subscription_id: self.subscription_id.clone(),
                profile: self.profile.clone(),
            }
            .into(),
            status => PeerStatusChangedV1 { peer_id, generation, status }.into(),
        }
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
        (self.profile, self.rooms, self.network) = (Profile::default(), BTreeSet::new(), None);
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
        let was_reachable = self.status != PeerStatus::Connecting;
        self.status = status;
        self.sequence += 1;
        let (peer_id, generation) = (self.peer_id.clone(), self.generation);
        let fact = if was_reachable {
            PeerStatusChangedV1 { peer_id, generation, status }.into()
        } else {
            self.tells_status()
        };
        Ok(Change { peer: self, fact: Some(fact) })
    }

    /// The peer tells of itself, or its gateway of its rooms.
    pub(crate) fn describe(mut self, ask: DescribeV1) -> Result<Change, DescribeRefusal> {
        if self.status == PeerStatus::Offline {
            return Err(DescribeRefusal::UnknownPeer);
        }
        if self.generation != ask.generation {
            return Err(DescribeRefusal::StaleGeneration);
        }
        let before = self.profile.clone();
        let profile = Profile {
            tags: ask.tags.unwrap_or(self.profile.tags),
            capabilities: ask.capabilities.unwrap_or(self.profile.capabilities),
            transports: ask.transports.unwrap_or(self.profile.transports),
            identity_keys: ask.identity_keys.unwrap_or(self.profile.identity_keys),
        };
        let mut violations = profile::violations(&profile);
        violations.extend(ask.rooms.as_deref().map(profile::room_violations).unwrap_or_default());
        if !violations.is_empty() {
            return Err(DescribeRefusal::Invalid { violations });
        }
        self.rooms = ask.rooms.map_or(self.rooms, |rooms| rooms.into_iter().collect());
        self.profile = profile;
        if self.profile == before {
            return Ok(Change { peer: self, fact: None });
        }
        self.sequence += 1;
        let (peer_id, generation, profile) = (self.peer_id.clone(), self.generation, self.profile.clone());
        Ok(Change { peer: self, fact: Some(PeerDescribedV1 { peer_id, generation, profile }.into()) })
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
            profile: self.profile.clone(),
        }
    }

    /// What it is found by; `None` when it is gone.
    pub(crate) fn marks(&self) -> Option<Marks> {
        (self.status != PeerStatus::Offline).then(|| Marks {
            rooms: self.rooms.iter().cloned().collect(),
            tags: self.profile.tags.clone(),
            capabilities: self.profile.capabilities.clone(),
            network: self.network.clone(),
        })
    }
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
