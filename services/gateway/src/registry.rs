//! Which peers are connected to this process, and which were a moment ago. A live entry belongs to one connection task,
//! which removes it; the seat and its journal stay for a while, so that the peer can resume.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contracts::events::presence::PeerStatus;
use contracts::frames::{PeerChange, Resume, RoomAction, Scope};
use contracts::requests::presence::{Marks, PeerFilter};
use contracts::signals::presence::ChangedV1;
use contracts::{ConnectionId, PeerId, SubscriptionId, TenantId, UserId};

use crate::journal::{Journal, Limits, Push};

/// Why a connection is closed, as its client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Farewell {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) reconnect_after_ms: Option<u64>,
}

/// Closes a connection, whatever it is doing: the one thing that must always get through.
pub(crate) type Kick = Arc<tokio::sync::watch::Sender<Option<Farewell>>>;

/// A connection that has authenticated.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) tenant: TenantId,
    pub(crate) peer_id: PeerId,
    pub(crate) user: UserId,
    pub(crate) connection_id: ConnectionId,
    pub(crate) generation: u64,
    pub(crate) subscription_id: SubscriptionId,
    pub(crate) proof_ver: u64,
    /// The key its proof is signed with.
    pub(crate) proof_kid: Arc<str>,
    /// Whether its client acknowledges messages.
    pub(crate) acks: bool,
    /// The network it comes from, as presence names it.
    pub(crate) network: Option<String>,
    pub(crate) kick: Kick,
}

impl Entry {
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

/// Where frames for a peer go: its journal, and its connection while it has one.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) journal: Arc<Journal>,
    pub(crate) entry: Option<Entry>,
}

impl Target {
    /// Hands a frame over; a connection that reads too slowly is closed instead.
    pub(crate) fn push(&self, push: &Push, now_ms: u64) -> Option<u64> {
        match self.journal.push(push, now_ms) {
            Ok(number) => Some(number),
            Err(crate::journal::TooSlow) => {
                if let Some(entry) = &self.entry {
                    entry.close(crate::socket::SLOW_CONSUMER);
                }
                None
            }
        }
    }
}

struct Seat {
    entry: Option<Entry>,
    journal: Arc<Journal>,
    user: UserId,
    rooms: BTreeSet<String>,
    /// Of whom it wants to know that they come and go; `None`: of nobody.
    watch: Option<PeerFilter>,
    gone_at_ms: u64,
}

#[derive(Default)]
struct Tenant {
    seats: HashMap<PeerId, Seat>,
    rooms: HashMap<String, HashSet<PeerId>>,
    users: HashMap<UserId, User>,
    live: usize,
}

#[derive(Default)]
struct User {
    seats: HashSet<PeerId>,
    live: usize,
}

/// How many connections there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    #[cfg(test)]
    pub(crate) node: usize,
    pub(crate) tenant: usize,
    pub(crate) user: usize,
}

/// A connection's place.
pub(crate) struct Entered {
    pub(crate) journal: Arc<Journal>,
    /// Whether an earlier connection's journal goes on; its frames after the resume's offset come again.
    pub(crate) recovered: bool,
}

/// What another gateway needs to go on with a peer.
pub(crate) struct Taken {
    pub(crate) journal: Arc<Journal>,
    pub(crate) rooms: BTreeSet<String>,
    pub(crate) watch: Option<PeerFilter>,
}

/// Connections by tenant and peer.
pub(crate) struct Registry {
    tenants: Mutex<HashMap<TenantId, Tenant>>,
    limits: Limits,
    max_rooms: usize,
    max_detached: usize,
    live: AtomicUsize,
    detached: AtomicUsize,
    bytes: Arc<AtomicUsize>,
    /// Told whenever a seat is given up.
    given_up: tokio::sync::Notify,
}

impl Registry {
    pub(crate) fn new(limits: Limits, max_rooms: usize, max_detached: usize) -> Self {
        Self {
            tenants: Mutex::default(),
            limits,
            max_rooms,
            max_detached,
            live: AtomicUsize::new(0),
            detached: AtomicUsize::new(0),
            bytes: Arc::default(),
            given_up: tokio::sync::Notify::new(),
        }
    }

    /// Puts a connection in. An older one of the same peer is closed; `None`, and nothing changes, when a newer one
    /// stands. With a resume that this process can fulfil the peer's journal goes on, else `epoch` begins.
    pub(crate) fn insert(&self, entry: Entry, resume: Option<&Resume>, epoch: String) -> Option<Entered> {
        let mut tenants = self.lock();
        let tenant = tenants.entry(entry.tenant.clone()).or_default();
        let known = tenant.seats.get(&entry.peer_id);
        if let Some(older) = known.and_then(|seat| seat.entry.as_ref()) {
            if older.generation > entry.generation {
                return None;
            }
            older.close(crate::socket::TAKEN_OVER);
        }
        let goes_on = resume.zip(known).is_some_and(|(resume, seat)| {
            seat.journal.epoch() == resume.epoch && seat.journal.attach(entry.generation, resume.offset, entry.acks)
        });
        let (journal, rooms, watch) = match self.unseat(tenant, &entry.peer_id) {
            Some(seat) if goes_on => (seat.journal, seat.rooms, seat.watch),
            _ => {
                let journal = Journal::new(epoch, self.limits, Arc::clone(&self.bytes));
                journal.attach(entry.generation, 0, entry.acks);
                (Arc::new(journal), BTreeSet::new(), Some(PeerFilter::default()))
            }
        };
        let user = tenant.users.entry(entry.user.clone()).or_default();
        user.seats.insert(entry.peer_id.clone());
        user.live += 1;
        tenant.live += 1;
        self.live.fetch_add(1, Ordering::Relaxed);
        for room in &rooms {
            tenant.rooms.entry(room.clone()).or_default().insert(entry.peer_id.clone());
        }
        let (peer_id, user) = (entry.peer_id.clone(), entry.user.clone());
        let seat = Seat { entry: Some(entry), journal: Arc::clone(&journal), user, rooms, watch, gone_at_ms: 0 };
        tenant.seats.insert(peer_id, seat);
        Some(Entered { journal, recovered: goes_on })
    }

    /// Takes a connection out, unless another one of the peer took its place. Its seat stays for a resume when `keep`.
    pub(crate) fn remove(&self, entry: &Entry, keep: bool, now_ms: u64) {
        let mut tenants = self.lock();
        let Some(tenant) = tenants.get_mut(&entry.tenant) else { return };
        let Some(seat) = tenant.seats.get_mut(&entry.peer_id) else { return };
        if seat.entry.as_ref().is_none_or(|live| live.connection_id != entry.connection_id) {
            return;
        }
        if keep && self.detached.load(Ordering::Relaxed) < self.max_detached {
            seat.entry = None;
            seat.gone_at_ms = now_ms;
            seat.journal.detach(entry.generation, now_ms);
            let user = seat.user.clone();
            if let Some(user) = tenant.users.get_mut(&user) {
                user.live -= 1;
            }
            tenant.live -= 1;
            self.live.fetch_sub(1, Ordering::Relaxed);
            self.detached.fetch_add(1, Ordering::Relaxed);
        } else {
            self.unseat(tenant, &entry.peer_id);
            if tenant.seats.is_empty() {
                tenants.remove(&entry.tenant);
            }
        }
    }

    /// Takes a peer's seat away for another gateway, whose epoch the peer names; a connection that is still here is
    /// closed. `None` when there is no such seat.
    pub(crate) fn take(&self, tenant_id: &TenantId, peer_id: &PeerId, epoch: &str) -> Option<Taken> {
        let mut tenants = self.lock();
        let tenant = tenants.get_mut(tenant_id)?;
        if tenant.seats.get(peer_id)?.journal.epoch() != epoch {
            return None;
        }
        let seat = self.unseat(tenant, peer_id)?;
        if tenant.seats.is_empty() {
            tenants.remove(tenant_id);
        }
        if let Some(entry) = &seat.entry {
            entry.close(crate::socket::TAKEN_OVER);
        }
        Some(Taken { journal: seat.journal, rooms: seat.rooms, watch: seat.watch })
    }

    /// Removes a seat with everything that points to it, and keeps the counts.
    fn unseat(&self, tenant: &mut Tenant, peer_id: &PeerId) -> Option<Seat> {
        let seat = tenant.seats.remove(peer_id)?;
        for room in &seat.rooms {
            leave_room(&mut tenant.rooms, room, peer_id);
        }
        let live = usize::from(seat.entry.is_some());
        if let Some(user) = tenant.users.get_mut(&seat.user) {
            user.seats.remove(peer_id);
            user.live -= live;
            if user.seats.is_empty() {
                tenant.users.remove(&seat.user);
            }
        }
        tenant.live -= live;
        self.live.fetch_sub(live, Ordering::Relaxed);
        self.detached.fetch_sub(1 - live, Ordering::Relaxed);
        self.given_up.notify_waiters();
        Some(seat)
    }

    /// Restores what a peer had at another gateway.
    pub(crate) fn restore(&self, entry: &Entry, rooms: Vec<String>, watch: Option<PeerFilter>) {
        for room in rooms.into_iter().take(self.max_rooms) {
            self.room(entry, RoomAction::Join, &room);
        }
        self.watch(entry, watch);
    }

    /// Into a room or out of it; false when it is in too many.
    pub(crate) fn room(&self, entry: &Entry, action: RoomAction, room: &str) -> bool {
        let mut tenants = self.lock();
        let Some(tenant) = tenants.get_mut(&entry.tenant) else { return true };
        let Some(seat) = seat_of(tenant, entry) else { return true };
        match action {
            RoomAction::Join if seat.rooms.contains(room) => {}
            RoomAction::Join if seat.rooms.len() >= self.max_rooms => return false,
            RoomAction::Join => {
                seat.rooms.insert(room.to_owned());
                tenant.rooms.entry(room.to_owned()).or_default().insert(entry.peer_id.clone());
            }
            RoomAction::Leave => {
                seat.rooms.remove(room);
                leave_room(&mut tenant.rooms, room, &entry.peer_id);
            }
        }
        true
    }

    /// Whether it is in the room.
    pub(crate) fn is_in(&self, entry: &Entry, room: &str) -> bool {
        let mut tenants = self.lock();
        let seat = tenants.get_mut(&entry.tenant).and_then(|tenant| seat_of(tenant, entry));
        seat.is_some_and(|seat| seat.rooms.contains(room))
    }

    /// The rooms it is in.
    pub(crate) fn rooms(&self, entry: &Entry) -> Vec<String> {
        let mut tenants = self.lock();
        let seat = tenants.get_mut(&entry.tenant).and_then(|tenant| seat_of(tenant, entry));
        seat.map(|seat| seat.rooms.iter().cloned().collect()).unwrap_or_default()
    }

    /// Of whom it wants to know that they come and go.
    pub(crate) fn watch(&self, entry: &Entry, watch: Option<PeerFilter>) {
        let mut tenants = self.lock();
        if let Some(seat) = tenants.get_mut(&entry.tenant).and_then(|tenant| seat_of(tenant, entry)) {
            seat.watch = watch;
        }
    }

    /// Notes a newer proof of a live connection.
    pub(crate) fn renew(&self, entry: &Entry, proof_ver: u64, proof_kid: &Arc<str>) {
        let mut tenants = self.lock();
        let seat = tenants.get_mut(&entry.tenant).and_then(|tenant| seat_of(tenant, entry));
        if let Some(entry) = seat.and_then(|seat| seat.entry.as_mut()) {
            entry.proof_ver = proof_ver;
            entry.proof_kid = Arc::clone(proof_kid);
        }
    }

    /// The connection of a peer.
    pub(crate) fn find(&self, tenant: &TenantId, peer_id: &PeerId) -> Option<Entry> {
        self.lock().get(tenant)?.seats.get(peer_id)?.entry.clone()
    }

    /// The connection of a peer and its journal.
    pub(crate) fn target(&self, tenant: &TenantId, peer_id: &PeerId) -> Option<Target> {
        let tenants = self.lock();
        let seat = tenants.get(tenant)?.seats.get(peer_id)?;
        seat.entry.as_ref()?;
        Some(target(seat))
    }

    /// Who of a tenant wants to know of this change, and what it is to them; those who may come back, too, but not the
    /// peer itself.
    pub(crate) fn watchers(&self, tenant: &TenantId, changed: &ChangedV1) -> Vec<(PeerChange, Target)> {
        let tenants = self.lock();
        let Some(tenant) = tenants.get(tenant) else { return Vec::new() };
        let others = tenant.seats.iter().filter(|(peer_id, _)| **peer_id != changed.peer.peer_id);
        let told = others.filter_map(|(_, seat)| Some((seen_by(seat.watch.as_ref()?, changed)?, target(seat))));
        told.collect()
    }

    /// Whom a broadcast is for, here.
    pub(crate) fn audience(&self, tenant: &TenantId, scope: &Scope, besides: &PeerId) -> Vec<Target> {
        let tenants = self.lock();
        let Some(tenant) = tenants.get(tenant) else { return Vec::new() };
        let some = match scope {
            Scope::Tenant => {
                let others = tenant.seats.iter().filter(|(peer_id, _)| *peer_id != besides);
                return others.map(|(_, seat)| target(seat)).collect();
            }
            Scope::User { user_id } => tenant.users.get(user_id).map(|user| &user.seats),
            Scope::Room { room } => tenant.rooms.get(room),
        };
        let others = some.into_iter().flatten().filter(|peer_id| *peer_id != besides);
        others.filter_map(|peer_id| tenant.seats.get(peer_id)).map(target).collect()
    }

    /// Every connection.
    pub(crate) fn all(&self) -> Vec<Entry> {
        self.lock().values().flat_map(|tenant| tenant.seats.values().filter_map(|seat| seat.entry.clone())).collect()
    }

    /// How many connections there are, without looking at any.
    pub(crate) fn counts(&self, tenant: &TenantId, user: &UserId) -> Counts {
        let tenants = self.lock();
        let of_tenant = tenants.get(tenant);
        Counts {
            #[cfg(test)]
            node: self.live.load(Ordering::Relaxed),
            tenant: of_tenant.map_or(0, |tenant| tenant.live),
            user: of_tenant.and_then(|tenant| tenant.users.get(user)).map_or(0, |user| user.live),
        }
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
        lost.retain(|entry| *entry.proof_kid == *kid);
        lost.iter().for_each(|entry| entry.close(crate::socket::PROOF_REFUSED));
        lost.len()
    }

    /// Forgets peers that did not come back, and frames that are kept long enough.
    pub(crate) fn sweep(&self, now_ms: u64) {
        let mut tenants = self.lock();
        tenants.retain(|_, tenant| {
            let over = |seat: &Seat| {
                seat.entry.is_none() && seat.gone_at_ms.saturating_add(self.limits.history_ttl_ms) <= now_ms
            };
            let gone: Vec<PeerId> =
                tenant.seats.iter().filter(|(_, seat)| over(seat)).map(|(peer_id, _)| peer_id.clone()).collect();
            for peer_id in gone {
                self.unseat(tenant, &peer_id);
            }
            tenant.seats.values().for_each(|seat| seat.journal.trim(now_ms));
            !tenant.seats.is_empty()
        });
        metrics::gauge!("synapse_gateway_connections").set(precise(&self.live));
        metrics::gauge!("synapse_gateway_detached_peers").set(precise(&self.detached));
        metrics::gauge!("synapse_gateway_history_bytes").set(precise(&self.bytes));
    }

    /// Waits until there is nobody here, nor anybody who may come back.
    pub(crate) async fn emptied(&self) {
        loop {
            let given_up = self.given_up.notified();
            if self.live.load(Ordering::Relaxed) + self.detached.load(Ordering::Relaxed) == 0 {
                return;
            }
            given_up.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Tenant>> {
        // The map is whole after every statement, so a panic elsewhere leaves it usable.
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn precise(count: &AtomicUsize) -> f64 {
    u32::try_from(count.load(Ordering::Relaxed)).map_or(f64::from(u32::MAX), f64::from)
}

/// What a change is to who watches peers like these; nothing where it is about another.
fn seen_by(filter: &PeerFilter, changed: &ChangedV1) -> Option<PeerChange> {
    let fits = |marks: &Option<Marks>| marks.as_ref().is_some_and(|marks| filter.holds(marks));
    match (fits(&changed.before), fits(&changed.marks)) {
        (false, true) => Some(PeerChange::Joined),
        (true, false) => Some(PeerChange::Left),
        (true, true) => Some(PeerChange::Updated),
        // A presence service of before marks tells none: those who watch everybody are told nevertheless.
        (false, false) if filter.is_empty() && changed.peer.status == PeerStatus::Offline => Some(PeerChange::Left),
        (false, false) if filter.is_empty() => Some(PeerChange::Updated),
        (false, false) => None,
    }
}

fn target(seat: &Seat) -> Target {
    Target { journal: Arc::clone(&seat.journal), entry: seat.entry.clone() }
}

/// The seat, while this very connection has it.
fn seat_of<'a>(tenant: &'a mut Tenant, entry: &Entry) -> Option<&'a mut Seat> {
    let seat = tenant.seats.get_mut(&entry.peer_id)?;
    let own = seat.entry.as_ref().is_some_and(|live| live.connection_id == entry.connection_id);
    own.then_some(seat)
}

fn leave_room(rooms: &mut HashMap<String, HashSet<PeerId>>, room: &str, peer_id: &PeerId) {
    if let Some(members) = rooms.get_mut(room) {
        members.remove(peer_id);
        if members.is_empty() {
            rooms.remove(room);
        }
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
