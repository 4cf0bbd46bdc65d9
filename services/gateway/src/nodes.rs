//! Gateway processes ask each other by node id: a signal there, a signal back. Who is gone does not answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::{BusError, Trail};
use contracts::signals::gateway::{Call, CallV1, KeptFrame, Reply, ReplyV1};
use contracts::{NodeId, TenantId};
use tokio::sync::{mpsc, oneshot};

use crate::Gateway;
use crate::journal::Push;
use crate::messages::{self, Given};
use crate::streams::Posted;

/// Calls that wait for a reply. Every call is bounded in time, and each connection in its calls.
#[derive(Default)]
pub(crate) struct Calls {
    waiting: Mutex<HashMap<String, oneshot::Sender<Reply>>>,
}

/// A call whose reply is on its way.
pub(crate) struct Pending {
    gateway: Arc<Gateway>,
    call_id: String,
    reply: oneshot::Receiver<Reply>,
    limit: Duration,
}

impl Pending {
    /// The reply; `None` when none came in time.
    pub(crate) async fn reply(mut self) -> Option<Reply> {
        self.gateway.platform.clock.timeout(self.limit, &mut self.reply).await?.ok()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.gateway.calls.lock().remove(&self.call_id);
    }
}

impl Calls {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Reply>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reply came.
    pub(crate) fn settle(&self, reply: ReplyV1) {
        if let Some(waiter) = self.lock().remove(&reply.call_id) {
            let _ = waiter.send(reply.reply);
        }
    }
}

/// Sends a call; it is on its way when this returns, so calls of one caller to one node arrive in order.
///
/// # Errors
/// When it could not be handed over.
pub(crate) async fn begin(
    gateway: &Arc<Gateway>,
    node: &NodeId,
    tenant: &TenantId,
    trail: &Trail,
    call: Call,
    limit_ms: u64,
) -> Result<Pending, BusError> {
    let (sender, reply) = oneshot::channel();
    let call_id = gateway.new_id();
    gateway.calls.lock().insert(call_id.clone(), sender);
    let limit = Duration::from_millis(limit_ms);
    let pending = Pending { gateway: Arc::clone(gateway), call_id: call_id.clone(), reply, limit };
    let platform = &gateway.platform;
    let signal = CallV1 { call_id, reply_to: platform.node_id.clone(), call };
    platform.bus.tell(&platform.sender, node.as_str(), tenant, trail, &signal).await?;
    Ok(pending)
}

/// Asks and waits. `None` when nobody answered.
pub(crate) async fn ask(
    gateway: &Arc<Gateway>,
    node: &NodeId,
    tenant: &TenantId,
    trail: &Trail,
    call: Call,
    limit_ms: u64,
) -> Option<Reply> {
    begin(gateway, node, tenant, trail, call, limit_ms).await.ok()?.reply().await
}

/// Answers a call of another gateway. What must keep its order is done before this returns.
pub(crate) fn answer(gateway: &Arc<Gateway>, tenant: &TenantId, source: &str, asked: CallV1) {
    let CallV1 { call_id, reply_to, call } = asked;
    let given = match call {
        Call::Message { to, from, note } => {
            messages::give(gateway, tenant, &to, &Push::new(source, messages::frame(from, None, note)))
        }
        other => Given::Later(Box::pin(slower(Arc::clone(gateway), tenant.clone(), other))),
    };
    let (gateway, tenant) = (Arc::clone(gateway), tenant.clone());
    gateway.platform.lifecycle.clone().spawn("gateway.reply", async move {
        let reply = given.reply().await;
        let platform = &gateway.platform;
        let signal = ReplyV1 { call_id, reply };
        let told = platform.bus.tell(&platform.sender, reply_to.as_str(), &tenant, &gateway.new_trail(), &signal).await;
        if let Err(error) = told {
            tracing::warn!(%error, node = %reply_to, "a gateway was not answered");
        }
    });
}

async fn slower(gateway: Arc<Gateway>, tenant: TenantId, call: Call) -> Reply {
    match call {
        Call::Handover { peer_id, epoch, offset } => {
            // What the bus handed to this process before the call belongs to the history.
            gateway.flush.all().await;
            let Some(taken) = gateway.registry.take(&tenant, &peer_id, &epoch) else { return Reply::Nothing };
            let (complete, frames, seen) = taken.journal.after(offset);
            // What is not complete is of no use: the client is told that there is a gap.
            let frames: Vec<KeptFrame> = if complete { frames } else { Vec::new() };
            let rooms = taken.rooms.into_iter().collect();
            let (subscribed, filter) = (taken.watch.is_some(), taken.watch.unwrap_or_default());
            Reply::History { complete, frames, seen, rooms, subscribed, filter }
        }
        Call::Ticket { ticket } => match gateway.tickets.redeem(&ticket, gateway.platform.clock.now_ms()) {
            Some(token) => Reply::Token { token },
            None => Reply::Nothing,
        },
        Call::Frames { stream_key, frames } => match gateway.streams.post(&stream_key, frames) {
            Posted::Taken => Reply::Taken,
            Posted::Busy => Reply::Busy,
            Posted::Unknown => Reply::Nothing,
        },
        Call::Message { .. } | Call::Unknown => Reply::Unknown,
    }
}

/// Lets a caller wait until every listener has worked off what had come for it.
#[derive(Default)]
pub(crate) struct Flush {
    listeners: Mutex<Vec<mpsc::Sender<oneshot::Sender<()>>>>,
}

impl Flush {
    /// A listener that takes part.
    pub(crate) fn listener(&self) -> mpsc::Receiver<oneshot::Sender<()>> {
        let (sender, receiver) = mpsc::channel(16);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Waits until each has found nothing more to do.
    pub(crate) async fn all(&self) {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for listener in listeners {
            let (sender, done) = oneshot::channel();
            if listener.send(sender).await.is_ok() {
                let _ = done.await;
            }
        }
    }
}
