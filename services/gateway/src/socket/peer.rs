//! An authenticated connection: its papers, its place, and what it may ask.

use std::sync::Arc;

use auth::Principal;
use bus::Trail;
use contracts::events::presence::OfflineReason;
use contracts::frames::{AuthResult, ClientFrame, Outcome, PresenceAction, Resume, Resumed, RoomAction, Scope, Select};
use contracts::http::Problem;
use contracts::requests::presence::{
    ConnectRefusal, ConnectV1, Connected, CountV1, DescribeV1, DisconnectV1, ListV1, PeerFilter, Profile, SetStatusV1,
};
use contracts::requests::signaling::{IceServersV1, OpenSessionV1, SendV1};
use contracts::signals::gateway::{BroadcastV1, Call, Reply};
use contracts::{PeerId, Request};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use service::Rejection;
use service::http::{Code, ProblemResponse};

use super::connection::{Deadline, Line};
use super::papers::{self, Credential, Proven};
use super::{ENTITLEMENT_LOST, QUOTA_EXCEEDED, TAKEN_OVER, TOO_MANY, UNAUTHENTICATED};
use crate::access::{Identity, Unknown, Via};
use crate::journal::Journal;
use crate::keys::KeyRefusal;
use crate::operations::Operation;
use crate::refusals::IntoProblem;
use crate::registry::{Entry, Farewell};
use crate::{Gateway, messages, nodes, tickets};

/// Peers in one answer to a presence list frame.
const LIST_LIMIT: u32 = 100;
/// A network that nobody comes from.
const NO_NETWORK: &str = "00000000000000000000000000000000";
/// How long another gateway may take to hand a peer's history over, milliseconds.
const HANDOVER_WITHIN_MS: u64 = 2_000;

/// A peer and the papers it connected with.
pub(super) struct Peer {
    identity: Identity,
    /// When its API key is looked at again.
    check_at_ms: u64,
    entry: Entry,
    proven: Proven,
    pub(super) journal: Arc<Journal>,
    /// The last number that was sent to this connection.
    pub(super) cursor: u64,
}

/// What a first frame asks for.
pub(super) struct Entering {
    pub(super) credential: Credential,
    pub(super) peer_id: PeerId,
    pub(super) proof: Option<String>,
    pub(super) acks: bool,
    pub(super) resume: Option<Resume>,
}

/// What became of a frame.
pub(super) enum Handled {
    Done(Outcome, Option<Value>),
    Refused(ProblemResponse),
    /// Refused, and the connection can't go on.
    Closing(ProblemResponse, Farewell),
    /// New papers, to be used from now on.
    Renewed(Box<(Identity, Proven)>),
    /// It has its place in the order; what came of it comes later.
    Later(BoxFuture<'static, Handled>),
}

impl Handled {
    fn of(outcome: Result<Outcome, ProblemResponse>) -> Self {
        outcome.map_or_else(Self::Refused, |outcome| Self::Done(outcome, None))
    }
}

impl Peer {
    /// Checks token and proof, takes the peer's place in presence and in the registry, and finds what it missed.
    pub(super) async fn enter(
        gateway: &Arc<Gateway>,
        line: &Line,
        trail: &Trail,
        entering: Entering,
    ) -> Result<(Self, AuthResult), (ProblemResponse, Farewell)> {
        let Entering { credential, peer_id, proof, acks, resume } = entering;
        let identity = papers::identity(gateway, credential, Operation::Enter, &peer_id, trail).await?;
        let principal = &identity.principal;
        gateway.edge.count_entry(principal).await.map_err(|problem| (problem, TOO_MANY))?;
        let Some(proof) = proof else { return Err(papers::no_proof()) };
        let proven = papers::prove(gateway, principal, &peer_id, &proof).await?;
        if let Some(problem) = no_room(gateway, principal, &peer_id) {
            return Err((problem, TOO_MANY));
        }
        let connected = connect(gateway, line, trail, principal, &peer_id, &proven).await?;
        let entry = Entry {
            tenant: principal.tenant.clone(),
            peer_id,
            user: principal.user.clone(),
            connection_id: line.id.clone(),
            generation: connected.generation,
            subscription_id: proven.subscription_id.clone(),
            proof_ver: proven.ver,
            proof_kid: Arc::clone(&proven.kid),
            acks,
            network: connected.network,
            kick: Arc::clone(&line.kick),
        };
        let epoch = gateway.new_epoch();
        let Some(entered) = gateway.registry.insert(entry.clone(), resume.as_ref(), epoch) else {
            let problem = ProblemResponse::new(Code::Conflict).detail("a newer connection of this peer stands");
            return Err((problem, TAKEN_OVER));
        };
        let cursor = resume.as_ref().filter(|_| entered.recovered).map_or(0, |resume| resume.offset);
        let check_at_ms = check_at_ms(gateway, &identity);
        let peer = Self { identity, check_at_ms, entry, proven, journal: entered.journal, cursor };
        // Revoked between the check and the entry: whoever revoked found no entry to close.
        if gateway.proofs.is_revoked(&peer.proven.subscription_id, peer.proven.ver) {
            peer.leave(gateway, Some(ENTITLEMENT_LOST)).await;
            return Err((ProblemResponse::new(Code::EntitlementLost), ENTITLEMENT_LOST));
        }
        let resumed = match resume {
            None => None,
            Some(_) if entered.recovered => Some(Resumed::Recovered),
            Some(resume) => Some(peer.fetch(gateway, trail, resume).await),
        };
        tell_rooms_again(gateway, trail, &peer.entry).await;
        resumed.iter().for_each(count_resume);
        let result = AuthResult {
            peer_id: peer.entry.peer_id.clone(),
            generation: peer.entry.generation,
            epoch: peer.journal.epoch(),
            offset: cursor,
            resume: resumed,
        };
        Ok((peer, result))
    }

    /// Has the gateway that the epoch names hand over what was missed. What was pushed here meanwhile comes after it.
    async fn fetch(&self, gateway: &Arc<Gateway>, trail: &Trail, resume: Resume) -> Resumed {
        let Some(node) = tickets::node_of(&resume.epoch).filter(|node| *node != gateway.platform.node_id) else {
            return Resumed::Gap;
        };
        let call = Call::Handover { peer_id: self.entry.peer_id.clone(), epoch: resume.epoch, offset: resume.offset };
        match nodes::ask(gateway, &node, &self.entry.tenant, trail, call, HANDOVER_WITHIN_MS).await {
            Some(Reply::History { complete: true, frames, seen, rooms, subscribed, filter }) => {
                self.journal.import(frames, seen, gateway.platform.clock.now_ms());
                gateway.registry.restore(&self.entry, rooms, subscribed.then_some(filter));
                Resumed::Recovered
            }
            _ => Resumed::Gap,
        }
    }

    /// Leaves the registry and presence. Presence learns why; if it can't be told, the lease ends by itself.
    pub(super) async fn leave(&self, gateway: &Gateway, farewell: Option<Farewell>) {
        // Who is no longer entitled to anything has nothing to resume.
        let keep = farewell != Some(ENTITLEMENT_LOST);
        gateway.registry.remove(&self.entry, keep, gateway.platform.clock.now_ms());
        if farewell == Some(TAKEN_OVER) {
            return;
        }
        let reason = if keep { OfflineReason::Left } else { OfflineReason::EntitlementLost };
        let ask = DisconnectV1 { peer_id: self.entry.peer_id.clone(), generation: self.entry.generation, reason };
        if let Err(rejection) = gateway.ask(&self.entry.tenant, &gateway.new_trail(), &ask).await {
            let peer_id = &self.entry.peer_id;
            tracing::warn!(%peer_id, %rejection, "presence was not told; the lease will end by itself");
        }
    }

    /// When the first of its papers is over, Unix milliseconds.
    pub(super) fn next_deadline_ms(&self) -> u64 {
        self.identity.principal.expires_at_ms.min(self.proven.until_ms).min(self.check_at_ms)
    }

    /// Which of its papers is over.
    pub(super) fn deadline_passed(&self, now_ms: u64) -> Option<Deadline> {
        if now_ms >= self.identity.principal.expires_at_ms {
            return Some(Deadline::Token);
        }
        if now_ms >= self.proven.until_ms {
            return Some(Deadline::Proof);
        }
        (now_ms >= self.check_at_ms).then_some(Deadline::Key)
    }

    /// Whether its API key still stands; else how the connection ends. While nobody can tell, it goes on: its proof is
    /// over in minutes.
    pub(super) async fn check_key(&mut self, gateway: &Gateway) -> Result<(), Farewell> {
        let Some(used) = &self.identity.key else { return Ok(()) };
        match gateway.keys.verify_again(used).await {
            Ok(_) | Err(KeyRefusal::Unavailable) => {
                self.check_at_ms = check_at_ms(gateway, &self.identity);
                Ok(())
            }
            Err(refusal) => {
                let (peer_id, trail) = (self.entry.peer_id.as_str(), gateway.new_trail());
                Unknown::Key(refusal).audit(Via::Frame, Operation::Attend, peer_id, &trail.correlation_id);
                Err(UNAUTHENTICATED)
            }
        }
    }

    /// The number of its connection, by which it holds its journal.
    pub(super) fn generation(&self) -> u64 {
        self.entry.generation
    }

    /// Everything up to `offset` was taken in; false when that was never pushed.
    pub(super) fn ack(&self, offset: u64) -> bool {
        self.journal.ack(offset)
    }

    /// Uses new papers from now on.
    pub(super) fn renewed(&mut self, gateway: &Gateway, identity: Identity, proven: Proven) {
        gateway.registry.renew(&self.entry, proven.ver, &proven.kid);
        self.check_at_ms = check_at_ms(gateway, &identity);
        self.identity = identity;
        self.proven = proven;
    }

    /// Does what a frame asks. Frames are begun one after the other; `busy` says that too many wait for a late outcome.
    pub(super) fn begin(
        &self,
        gateway: &Arc<Gateway>,
        trail: &Trail,
        frame: ClientFrame,
        busy: bool,
    ) -> BoxFuture<'static, Handled> {
        let own = &self.entry;
        let operation = self.operation(&frame);
        if let Err(problem) = self.identity.may(operation, own.peer_id.as_str(), &trail.correlation_id) {
            return refused(problem);
        }
        match frame {
            ClientFrame::Ping { .. } => done(),
            ClientFrame::Ack { offset, .. } => {
                let known = self.ack(offset);
                let ahead = "must be the offset of a frame that was pushed to this peer; none has this number yet";
                if known { done() } else { refused(ProblemResponse::new(Code::Validation).violation("offset", ahead)) }
            }
            ClientFrame::Auth { .. } => {
                let detail = "this connection speaks for a peer already; renew its papers with a refresh frame";
                refused(ProblemResponse::new(Code::Conflict).detail(detail))
            }
            ClientFrame::Refresh { token, ticket, proof, .. } => self.refresh(gateway, trail, token, ticket, proof),
            ClientFrame::Presence { action, .. } => self.presence(gateway, trail, action),
            ClientFrame::Room { action, room, .. } => self.room(gateway, trail, action, room),
            ClientFrame::Session { to, others, .. } => {
                let (from, proof) = (own.peer_id.clone(), self.proven.proof.to_string());
                self.forward(gateway, trail, OpenSessionV1 { from, to, proof, others }, Outcome::Accepted)
            }
            ClientFrame::Signal { session_id, signal, to, binding, .. } => {
                let (from, proof) = (own.peer_id.clone(), self.proven.proof.to_string());
                self.signal(gateway, trail, SendV1 { session_id, from, proof, signal, to, binding })
            }
            ClientFrame::IceServers { .. } => {
                let (peer_id, proof) = (own.peer_id.clone(), self.proven.proof.to_string());
                self.forward(gateway, trail, IceServersV1 { peer_id, proof }, Outcome::Accepted)
            }
            ClientFrame::Message { .. } | ClientFrame::Broadcast { .. } if busy => {
                let detail = "too many messages of this connection have no outcome yet; wait for some";
                refused(ProblemResponse::new(Code::RateLimited).detail(detail).retry_after_s(1))
            }
            ClientFrame::Message { to, .. } if to == own.peer_id => {
                refused(ProblemResponse::new(Code::Validation).violation("to", "is this peer itself"))
            }
            ClientFrame::Message { to, note, .. } => {
                let (gateway, trail) = (Arc::clone(gateway), trail.clone());
                let (tenant, from) = (own.tenant.clone(), own.peer_id.clone());
                async move {
                    match messages::send(&gateway, &tenant, &trail, from, to, note).await {
                        Ok(sent) => Handled::Later(sent.outcome().map(Handled::of).boxed()),
                        Err(problem) => Handled::Refused(problem),
                    }
                }
                .boxed()
            }
            ClientFrame::Broadcast { scope, note, .. } => {
                self.broadcast(gateway, trail, BroadcastV1 { from: own.peer_id.clone(), scope, note })
            }
        }
    }

    /// What a frame asks for, as the table names it.
    fn operation(&self, frame: &ClientFrame) -> Operation {
        match frame {
            ClientFrame::Refresh { .. } => Operation::Renew,
            ClientFrame::Presence { action: PresenceAction::SetStatus { .. }, .. } => Operation::SetStatus,
            ClientFrame::Presence { action: PresenceAction::Describe { .. }, .. } => Operation::Describe,
            ClientFrame::Session { .. } => Operation::OpenSession,
            ClientFrame::Signal { .. } => Operation::Signal,
            ClientFrame::IceServers { .. } => Operation::AskIceServers,
            ClientFrame::Message { .. } => Operation::SendMessage,
            ClientFrame::Broadcast { scope: Scope::Tenant, .. } => Operation::BroadcastToTenant,
            ClientFrame::Broadcast { scope: Scope::User { user_id }, .. } if *user_id != self.entry.user => {
                Operation::BroadcastToUser
            }
            ClientFrame::Broadcast { .. } => Operation::Broadcast,
            ClientFrame::Ping { .. }
            | ClientFrame::Ack { .. }
            | ClientFrame::Auth { .. }
            | ClientFrame::Presence { .. }
            | ClientFrame::Room { .. } => Operation::Attend,
        }
    }

    fn presence(&self, gateway: &Arc<Gateway>, trail: &Trail, action: PresenceAction) -> BoxFuture<'static, Handled> {
        let own = &self.entry;
        let (peer_id, generation) = (own.peer_id.clone(), own.generation);
        match action {
            PresenceAction::List { after, select } => {
                let ask = ListV1 { limit: LIST_LIMIT, after, filter: filter(own, select), address: None };
                self.forward(gateway, trail, ask, Outcome::Accepted)
            }
            PresenceAction::Count { room } => {
                self.forward(gateway, trail, CountV1 { room, node_id: None }, Outcome::Accepted)
            }
            PresenceAction::Subscribe { select } => {
                gateway.registry.watch(own, Some(filter(own, select)));
                done()
            }
            PresenceAction::Unsubscribe => {
                gateway.registry.watch(own, None);
                done()
            }
            PresenceAction::SetStatus { status } => {
                self.forward(gateway, trail, SetStatusV1 { peer_id, generation, status }, Outcome::Accepted)
            }
            PresenceAction::Describe { tags, capabilities, transports, identity_keys } => {
                let ask =
                    DescribeV1 { peer_id, generation, tags, capabilities, transports, identity_keys, rooms: None };
                self.forward(gateway, trail, ask, Outcome::Accepted)
            }
        }
    }

    /// Into a room or out of it, here and at presence. Who can't be told of as in a room is not in it.
    fn room(
        &self,
        gateway: &Arc<Gateway>,
        trail: &Trail,
        action: RoomAction,
        room: String,
    ) -> BoxFuture<'static, Handled> {
        let (gateway, trail, own) = (Arc::clone(gateway), trail.clone(), self.entry.clone());
        let was_in = gateway.registry.is_in(&own, &room);
        if !gateway.registry.room(&own, action, &room) {
            let detail = format!("room: a connection is in at most {} rooms; leave one", gateway.config.max_rooms);
            return refused(ProblemResponse::new(Code::Conflict).detail(detail));
        }
        if was_in == (action == RoomAction::Join) {
            return done();
        }
        async move {
            let told = tell_rooms(&gateway, &trail, &own).await;
            if told.is_err() && action == RoomAction::Join {
                gateway.registry.room(&own, RoomAction::Leave, &room);
            }
            Handled::of(told.map(|()| Outcome::Accepted))
        }
        .boxed()
    }

    fn broadcast(&self, gateway: &Arc<Gateway>, trail: &Trail, signal: BroadcastV1) -> BoxFuture<'static, Handled> {
        if let Scope::Room { room } = &signal.scope
            && !gateway.registry.is_in(&self.entry, room)
        {
            let detail = "room: join it before speaking in it";
            return refused(ProblemResponse::new(Code::Forbidden).detail(detail));
        }
        let (gateway, trail, tenant) = (Arc::clone(gateway), trail.clone(), self.entry.tenant.clone());
        let told = async move { messages::broadcast(&gateway, &tenant, &trail, signal).await };
        told.map(|told| Handled::of(told.map(|()| Outcome::Accepted))).boxed()
    }

    /// A signal is with the other peer or kept for it; the outcome says which.
    fn signal(&self, gateway: &Arc<Gateway>, trail: &Trail, ask: SendV1) -> BoxFuture<'static, Handled> {
        let sent = self.forward(gateway, trail, ask, Outcome::Delivered);
        sent.map(|handled| match handled {
            Handled::Done(_, Some(result)) if result["outcome"] == "queued" => {
                Handled::Done(Outcome::Queued, Some(result))
            }
            Handled::Done(_, Some(result)) if result["outcome"] == "expired" => {
                Handled::Done(Outcome::Expired, Some(result))
            }
            other => other,
        })
        .boxed()
    }

    fn forward<R: Request>(
        &self,
        gateway: &Arc<Gateway>,
        trail: &Trail,
        ask: R,
        outcome: Outcome,
    ) -> BoxFuture<'static, Handled>
    where
        Rejection<R::Refusal>: IntoProblem,
        R::Reply: Serialize,
    {
        let (gateway, trail, tenant) = (Arc::clone(gateway), trail.clone(), self.entry.tenant.clone());
        async move {
            match gateway.ask(&tenant, &trail, &ask).await {
                Ok(reply) => Handled::Done(outcome, serde_json::to_value(reply).ok()),
                Err(rejection) => Handled::Refused(rejection.into_problem()),
            }
        }
        .boxed()
    }

    /// A new token or proof on a live connection: same tenant, user, peer and subscription.
    fn refresh(
        &self,
        gateway: &Arc<Gateway>,
        trail: &Trail,
        token: Option<String>,
        ticket: Option<String>,
        proof: Option<String>,
    ) -> BoxFuture<'static, Handled> {
        let (gateway, own, before) = (Arc::clone(gateway), self.entry.clone(), self.identity.clone());
        let trail = trail.clone();
        let (proven, credential) = (self.proven.clone(), Credential::of(token, ticket));
        let checked = async move {
            let identity = match credential {
                Some(credential) => {
                    papers::identity(&gateway, credential, Operation::Renew, &own.peer_id, &trail).await?
                }
                None => before.clone(),
            };
            let principal = &identity.principal;
            let same = principal.tenant == before.principal.tenant && principal.user == before.principal.user;
            let proven = match proof.filter(|_| same) {
                Some(proof) => papers::prove(&gateway, principal, &own.peer_id, &proof).await?,
                None => proven,
            };
            if same && proven.subscription_id == own.subscription_id {
                return Ok(Handled::Renewed(Box::new((identity, proven))));
            }
            let detail = "the token or proof is of another tenant, user or subscription; open a new connection";
            Ok(Handled::Refused(ProblemResponse::new(Code::Conflict).detail(detail)))
        };
        checked.map(|checked| checked.unwrap_or_else(|(problem, end)| Handled::Closing(problem, end))).boxed()
    }
}

/// Takes the peer's place in presence.
async fn connect(
    gateway: &Gateway,
    line: &Line,
    trail: &Trail,
    principal: &Principal,
    peer_id: &PeerId,
    proven: &Proven,
) -> Result<Connected, (ProblemResponse, Farewell)> {
    let ask = ConnectV1 {
        peer_id: peer_id.clone(),
        user_id: principal.user.clone(),
        node_id: gateway.platform.node_id.clone(),
        connection_id: line.id.clone(),
        subscription_id: proven.subscription_id.clone(),
        proof_ver: proven.ver,
        max_peers: proven.max_peers,
        status: None,
        profile: Profile::default(),
        address: line.address.map(|address| address.to_string()),
    };
    gateway.ask(&principal.tenant, trail, &ask).await.map_err(|rejection| {
        let is_full = matches!(rejection, Rejection::Refused(ConnectRefusal::TooManyPeers { .. }));
        (rejection.into_problem(), if is_full { QUOTA_EXCEEDED } else { UNAUTHENTICATED })
    })
}

/// When an API key is to be looked at again: never, for what is none.
fn check_at_ms(gateway: &Gateway, identity: &Identity) -> u64 {
    let now_ms = gateway.platform.clock.now_ms();
    identity.key.as_ref().map_or(u64::MAX, |_| now_ms.saturating_add(gateway.keys.believed_for_ms()))
}

/// Why the tenant or the user may not have one connection more here; a peer that comes again takes its own place.
fn no_room(gateway: &Gateway, principal: &Principal, peer_id: &PeerId) -> Option<ProblemResponse> {
    let counts = gateway.registry.counts(&principal.tenant, &principal.user);
    let full = if counts.user >= gateway.config.max_user_connections {
        "this user has"
    } else if counts.tenant >= gateway.config.max_tenant_connections {
        "this tenant has"
    } else {
        return None;
    };
    let detail = format!("{full} as many connections here as it may");
    let problem = ProblemResponse::new(Code::RateLimited).detail(detail).retry_after_s(5);
    gateway.registry.find(&principal.tenant, peer_id).is_none().then_some(problem)
}

/// Whom a client means; the network is that of its own connection, and a connection without one shares it with nobody.
fn filter(own: &Entry, select: Select) -> PeerFilter {
    let Select { room, tag, capability, same_network } = select;
    let network = same_network.then(|| own.network.clone().unwrap_or_else(|| NO_NETWORK.to_owned()));
    PeerFilter { room, tag, capability, network }
}

/// Tells presence which rooms a connection is in.
async fn tell_rooms(gateway: &Gateway, trail: &Trail, own: &Entry) -> Result<(), ProblemResponse> {
    let ask = DescribeV1 {
        peer_id: own.peer_id.clone(),
        generation: own.generation,
        tags: None,
        capabilities: None,
        transports: None,
        identity_keys: None,
        rooms: Some(gateway.registry.rooms(own)),
    };
    gateway.ask(&own.tenant, trail, &ask).await.map(drop).map_err(IntoProblem::into_problem)
}

/// What a resume brought back, presence knew of the connection before.
async fn tell_rooms_again(gateway: &Gateway, trail: &Trail, own: &Entry) {
    if !gateway.registry.rooms(own).is_empty()
        && let Err(problem) = tell_rooms(gateway, trail, own).await
    {
        tracing::warn!(code = ?problem.code(), "presence was not told of a peer's rooms");
    }
}

fn count_resume(resumed: &Resumed) {
    let outcome = if *resumed == Resumed::Recovered { "recovered" } else { "gap" };
    metrics::counter!("synapse_gateway_resumes_total", "outcome" => outcome).increment(1);
}

fn done() -> BoxFuture<'static, Handled> {
    std::future::ready(Handled::Done(Outcome::Accepted, None)).boxed()
}

fn refused(problem: ProblemResponse) -> BoxFuture<'static, Handled> {
    std::future::ready(Handled::Refused(problem)).boxed()
}

/// A refusal as an outcome carries it.
pub(super) fn told(gateway: &Gateway, problem: ProblemResponse, trail: &Trail) -> Box<Problem> {
    Box::new(gateway.problem_body(problem, trail))
}
