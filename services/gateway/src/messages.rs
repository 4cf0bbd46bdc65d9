//! Messages to one peer and to many, here and at other gateways.

use std::sync::Arc;

use bus::Trail;
use contracts::events::presence::PeerStatus;
use contracts::frames::{Note, Outcome, Scope, ServerFrame};
use contracts::signals::gateway::{BroadcastV1, Call, Reply};
use contracts::{PeerId, TenantId};
use futures::future::BoxFuture;
use service::http::{Code, ProblemResponse};
use tokio::sync::oneshot;

use crate::Gateway;
use crate::journal::Push;
use crate::nodes::{self, Pending};
use crate::refusals::IntoProblem;

/// How much longer the sender's gateway waits than the receiver's, milliseconds: the way there and back.
const WAY_MS: u64 = 2_000;

/// What came of a message at the receiver's gateway; how long it takes is its client's business.
pub(crate) enum Given {
    Now(Reply),
    Later(BoxFuture<'static, Reply>),
}

impl Given {
    /// Waits for it.
    pub(crate) async fn reply(self) -> Reply {
        match self {
            Self::Now(reply) => reply,
            Self::Later(reply) => reply.await,
        }
    }
}

/// The frame that the receiver gets; its journal numbers it.
pub(crate) fn frame(from: PeerId, broadcast: Option<Scope>, note: Note) -> ServerFrame {
    ServerFrame::Message { offset: 0, from, broadcast, note }
}

/// Hands a message to a peer of this process. It has its place in the peer's order when this returns.
pub(crate) fn give(gateway: &Arc<Gateway>, tenant: &TenantId, to: &PeerId, push: &Push) -> Given {
    let Some(target) = gateway.registry.target(tenant, to) else { return Given::Now(Reply::Nothing) };
    let Some(number) = target.push(push, gateway.platform.clock.now_ms()) else { return Given::Now(Reply::Nothing) };
    let settled = target.journal.settled(number);
    Given::Later(Box::pin(settle(Arc::clone(gateway), settled)))
}

async fn settle(gateway: Arc<Gateway>, settled: oneshot::Receiver<()>) -> Reply {
    let limit = std::time::Duration::from_millis(gateway.config.ack_within_ms);
    match gateway.platform.clock.timeout(limit, settled).await {
        Some(Ok(())) => Reply::Delivered,
        Some(Err(_)) | None => Reply::Expired,
    }
}

/// A message that has its place in the receiver's order; what came of it is still open.
pub(crate) enum Sent {
    Here(Given),
    There { pending: Pending, gateway: Arc<Gateway>, tenant: TenantId, to: PeerId },
}

impl Sent {
    /// Waits for what came of it.
    ///
    /// # Errors
    /// Why it was not delivered.
    pub(crate) async fn outcome(self) -> Result<Outcome, ProblemResponse> {
        let reply = match self {
            Self::Here(given) => Some(given.reply().await),
            Self::There { pending, gateway, tenant, to } => {
                let reply = pending.reply().await;
                if !matches!(reply, Some(Reply::Delivered | Reply::Expired)) {
                    // It is not where it was said to be: the next message asks presence.
                    gateway.peers.forget(&tenant, &to);
                }
                reply
            }
        };
        match reply {
            Some(Reply::Delivered) => Ok(Outcome::Delivered),
            Some(Reply::Expired) => Ok(Outcome::Expired),
            Some(_) => Err(ProblemResponse::new(Code::PeerOffline)),
            None => {
                let detail = "the receiver's gateway did not answer; the message may have arrived";
                Err(ProblemResponse::new(Code::Timeout).detail(detail))
            }
        }
    }
}

/// Sends a message to a peer, wherever it is.
///
/// # Errors
/// When the peer is unknown or offline, or can't be reached.
pub(crate) async fn send(
    gateway: &Arc<Gateway>,
    tenant: &TenantId,
    trail: &Trail,
    from: PeerId,
    to: PeerId,
    note: Note,
) -> Result<Sent, ProblemResponse> {
    if gateway.registry.find(tenant, &to).is_some() {
        let push = Push::new(&gateway.new_id(), frame(from, None, note));
        return Ok(Sent::Here(give(gateway, tenant, &to, &push)));
    }
    let mut view = gateway.peers.lookup(tenant, trail, &to).await.map_err(IntoProblem::into_problem)?;
    if view.node_id == gateway.platform.node_id {
        // What is kept of it is of before it left.
        gateway.peers.forget(tenant, &to);
        view = gateway.peers.lookup(tenant, trail, &to).await.map_err(IntoProblem::into_problem)?;
    }
    // Presence may name this process for a peer that has just left it.
    if view.status == PeerStatus::Offline || view.node_id == gateway.platform.node_id {
        return Err(ProblemResponse::new(Code::PeerOffline));
    }
    let call = Call::Message { to: to.clone(), from, note };
    let limit_ms = gateway.config.ack_within_ms + WAY_MS;
    let begun = nodes::begin(gateway, &view.node_id, tenant, trail, call, limit_ms).await;
    let there = |pending| Sent::There { pending, gateway: Arc::clone(gateway), tenant: tenant.clone(), to };
    begun.map(there).map_err(|error| {
        tracing::warn!(%error, node = %view.node_id, "a message could not be handed over");
        ProblemResponse::new(Code::Unavailable).detail("the receiver's gateway can't be reached").retry_after_s(1)
    })
}

/// Sends a broadcast to every gateway, this one too.
///
/// # Errors
/// When it could not be handed over.
pub(crate) async fn broadcast(
    gateway: &Gateway,
    tenant: &TenantId,
    trail: &Trail,
    signal: BroadcastV1,
) -> Result<(), ProblemResponse> {
    let platform = &gateway.platform;
    let told = platform.bus.tell(&platform.sender, tenant.as_str(), tenant, trail, &signal).await;
    told.map_err(|error| {
        tracing::warn!(%error, "a broadcast could not be handed over");
        ProblemResponse::new(Code::Unavailable).detail("the bus can't be reached").retry_after_s(1)
    })
}
