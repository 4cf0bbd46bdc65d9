//! What presence said of peers, kept by a service that asks for the same ones again and again.
//!
//! Presence tells every change by signal; that corrects what is kept here. A signal may be lost, so nothing is trusted
//! for longer than the peer's lease (then presence itself takes it for gone unless it was heard of) and the book's own
//! limit of time. Peers that are not here are never kept: who comes must be reachable at once.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::Trail;
use contracts::events::presence::PeerStatus;
use contracts::requests::presence::{LookupRefusal, LookupV1, PeerView};
use contracts::signals::presence::ChangedV1;
use contracts::{Class, Contract, PeerId, TenantId};
use serde::Deserialize;

use crate::Platform;
use crate::rejection::{Rejection, expect_reply};

/// Signals that wait; beyond that the oldest are dropped, and leases end what they would have corrected.
const SIGNAL_BUFFER: usize = 10_000;
/// Peers that changed while somebody asked for them are told apart by so many marks.
const MARKS: usize = 256;

/// What bounds a [`PeerBook`].
#[derive(Clone, Copy, Debug)]
pub struct PeerBookOptions {
    /// Most peers that are kept; who was not asked for the longest goes first. 0: none.
    pub max_peers: usize,
    /// Longest time that one is kept without asking presence again.
    pub ttl: Duration,
    /// How long presence may take to answer.
    pub timeout: Duration,
}

/// What a book needs of [`ChangedV1`].
#[derive(Debug, Deserialize)]
struct Changed {
    peer: PeerView,
}

type Name = (TenantId, PeerId);

struct Kept {
    view: PeerView,
    /// Trusted until then, Unix milliseconds.
    until_ms: u64,
    used: u64,
}

#[derive(Default)]
struct Pages {
    kept: HashMap<Name, Kept>,
    /// Names by when they were asked for last.
    by_use: BTreeMap<u64, Name>,
    turn: u64,
}

impl Pages {
    /// The peer's view, if it may be trusted; it was asked for now.
    fn find(&mut self, name: &Name, now_ms: u64) -> Option<PeerView> {
        if self.kept.get(name)?.until_ms <= now_ms {
            self.remove(name);
            return None;
        }
        self.turn += 1;
        let kept = self.kept.get_mut(name)?;
        self.by_use.remove(&kept.used);
        kept.used = self.turn;
        self.by_use.insert(self.turn, name.clone());
        Some(kept.view.clone())
    }

    fn keep(&mut self, name: Name, view: PeerView, until_ms: u64, max_peers: usize) {
        if max_peers == 0 {
            return;
        }
        self.remove(&name);
        while self.kept.len() >= max_peers {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.kept.remove(&oldest);
        }
        self.turn += 1;
        self.by_use.insert(self.turn, name.clone());
        self.kept.insert(name, Kept { view, until_ms, used: self.turn });
    }

    fn remove(&mut self, name: &Name) {
        if let Some(kept) = self.kept.remove(name) {
            self.by_use.remove(&kept.used);
        }
    }
}

/// Peers as presence told them last. Hits and misses are counted in `synapse_peer_lookups_total{outcome}`.
pub struct PeerBook {
    platform: Platform,
    options: PeerBookOptions,
    pages: Mutex<Pages>,
    /// How often peers changed, by their names' hash: what was asked before a change is not kept after it.
    changes: [AtomicU64; MARKS],
    hits: AtomicU64,
    misses: AtomicU64,
}

impl PeerBook {
    /// An empty book, for a service that hears presence's changes anyway and hands them to [`PeerBook::learn`].
    pub fn new(platform: &Platform, options: PeerBookOptions) -> Self {
        Self {
            platform: platform.clone(),
            options,
            pages: Mutex::default(),
            changes: std::array::from_fn(|_| AtomicU64::new(0)),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// An empty book that listens to presence.
    ///
    /// # Errors
    /// When the bus can't be reached.
    pub async fn start(platform: &Platform, options: PeerBookOptions) -> anyhow::Result<Arc<Self>> {
        let book = Arc::new(Self::new(platform, options));
        let mut told = platform.bus.listen(ChangedV1::KIND, None, None, SIGNAL_BUFFER).await?;
        let (listener, stop) = (Arc::clone(&book), platform.lifecycle.token());
        platform.lifecycle.spawn("peers.listen", async move {
            while let Some(Some(envelope)) = stop.run_until_cancelled(told.next()).await {
                let reader = listener.platform.service;
                match contracts::read::<Changed>(reader, Class::Signal, ChangedV1::KIND, &envelope.data) {
                    Ok(Changed { peer }) => listener.learn(&envelope.tenant, &peer),
                    Err(error) => tracing::warn!(kind = ChangedV1::KIND, %error, "a signal breaks its contract"),
                }
            }
        });
        Ok(book)
    }

    /// Where a peer stands: as it was told last, else as presence says now.
    ///
    /// # Errors
    /// Presence's refusal, or why it did not answer.
    pub async fn lookup(
        &self,
        tenant: &TenantId,
        trail: &Trail,
        peer_id: &PeerId,
    ) -> Result<PeerView, Rejection<LookupRefusal>> {
        let (name, clock) = ((tenant.clone(), peer_id.clone()), &self.platform.clock);
        if let Some(view) = self.lock().find(&name, clock.now_ms()) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("synapse_peer_lookups_total", "outcome" => "hit").increment(1);
            return Ok(view);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("synapse_peer_lookups_total", "outcome" => "miss").increment(1);
        let before = self.mark(&name).load(Ordering::Acquire);
        let (ask, platform) = (LookupV1 { peer_id: peer_id.clone() }, &self.platform);
        let answer = platform.bus.ask(&platform.sender, tenant, trail, &ask, self.options.timeout).await?;
        let view = expect_reply(answer)?;
        let mut pages = self.lock();
        if is_here(&view) && self.mark(&name).load(Ordering::Acquire) == before {
            let until_ms = self.until_ms(&view);
            pages.keep(name, view.clone(), until_ms, self.options.max_peers);
        }
        Ok(view)
    }

    /// What was kept of the peer proved wrong: it was not where the book said.
    pub fn forget(&self, tenant: &TenantId, peer_id: &PeerId) {
        self.lock().remove(&(tenant.clone(), peer_id.clone()));
    }

    /// How many lookups were answered from the book, and how many by presence.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// Presence told a change: what is kept of the peer is corrected, unless the change is older.
    pub fn learn(&self, tenant: &TenantId, now: &PeerView) {
        let name = (tenant.clone(), now.peer_id.clone());
        let mut pages = self.lock();
        self.mark(&name).fetch_add(1, Ordering::Release);
        let Some(kept) = pages.kept.get_mut(&name) else { return };
        if kept.view.generation > now.generation {
            return;
        }
        if !is_here(now) {
            pages.remove(&name);
            return;
        }
        kept.until_ms = self.until_ms(now);
        kept.view = now.clone();
    }

    fn until_ms(&self, view: &PeerView) -> u64 {
        let ttl_ms = u64::try_from(self.options.ttl.as_millis()).unwrap_or(u64::MAX);
        self.platform.clock.now_ms().saturating_add(ttl_ms).min(view.lease_until_ms)
    }

    fn mark(&self, name: &Name) -> &AtomicU64 {
        let mut hash = DefaultHasher::new();
        name.hash(&mut hash);
        &self.changes[usize::try_from(hash.finish() % MARKS as u64).expect("below 256")]
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        // Whole after every statement, so a panic elsewhere leaves it usable.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_here(view: &PeerView) -> bool {
    matches!(view.status, PeerStatus::Online | PeerStatus::Away | PeerStatus::Connecting)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(generation: u64) -> PeerView {
        let text = format!(
            r#"{{"peer_id":"p","status":"online","generation":{generation},"node_id":"n","subscription_id":"s",
                "proof_ver":1,"lease_until_ms":0}}"#
        );
        serde_json::from_str(&text).expect("a view")
    }

    fn name(peer: &str) -> Name {
        ("acme".parse().expect("an id"), peer.parse().expect("an id"))
    }

    #[test]
    fn who_was_not_asked_for_the_longest_goes_first() {
        let mut pages = Pages::default();
        for (number, peer) in ["a", "b", "c"].into_iter().enumerate() {
            pages.keep(name(peer), view(number as u64), 100, 3);
        }
        assert!(pages.find(&name("a"), 0).is_some());
        pages.keep(name("d"), view(9), 100, 3);
        assert!(pages.find(&name("b"), 0).is_none(), "b was used last before a, c and d");
        for peer in ["a", "c", "d"] {
            assert!(pages.find(&name(peer), 0).is_some(), "{peer}");
        }
        assert_eq!((pages.kept.len(), pages.by_use.len()), (3, 3));
    }

    #[test]
    fn nothing_is_trusted_beyond_its_time() {
        let mut pages = Pages::default();
        pages.keep(name("a"), view(1), 100, 3);
        assert!(pages.find(&name("a"), 99).is_some());
        assert!(pages.find(&name("a"), 100).is_none());
        assert_eq!((pages.kept.len(), pages.by_use.len()), (0, 0));
        pages.keep(name("a"), view(1), 100, 0);
        assert!(pages.find(&name("a"), 0).is_none(), "a book of no pages keeps nothing");
    }
}
