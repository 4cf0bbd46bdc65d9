//! One subscription for all replies. The client's own request call keeps an entry for ever when its caller gave up;
//! here a guard removes it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::header::HeaderMap;
use async_nats::{Client, Message};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::failed;
use crate::{BusError, BusErrorKind};

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Message>>>>;

pub(super) struct Replies {
    client: Client,
    prefix: String,
    next: AtomicU64,
    waiting: Waiting,
}

/// A reply that is awaited; dropping it forgets it.
pub(super) struct Reply {
    id: u64,
    waiting: Waiting,
    receiver: oneshot::Receiver<Message>,
}

impl Replies {
    pub(super) async fn start(client: &Client, closed: CancellationToken) -> Result<Self, BusError> {
        let prefix = client.new_inbox();
        let mut subscriber = client
            .subscribe(format!("{prefix}.*"))
            .await
            .map_err(|error| failed("can't subscribe to replies", error))?;
        let waiting = Waiting::default();
        let replies = Self { client: client.clone(), prefix, next: AtomicU64::new(0), waiting: Arc::clone(&waiting) };
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    () = closed.cancelled() => break,
                    message = subscriber.next() => message,
                };
                let Some(message) = message else { break };
                let id = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
                if let Some(sender) = id.and_then(|id: u64| lock(&waiting).remove(&id)) {
                    let _ = sender.send(message);
                }
            }
            // Whoever still waits learns that nothing will come.
            lock(&waiting).clear();
        });
        Ok(replies)
    }

    /// A message to ourselves: once it is back, the server has seen all that this connection sent before. (The
    /// client's own flush ends at the socket.)
    pub(super) async fn round_trip(&self) -> Result<(), BusError> {
        let (inbox, reply) = self.expect();
        let sent = self.client.publish(inbox, Bytes::new()).await;
        sent.map_err(|error| failed("can't send", error))?;
        reply.wait().await.map(|_| ()).ok_or_else(|| BusError::new(BusErrorKind::Closed, "the bus is closed"))
    }

    fn expect(&self) -> (String, Reply) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        (format!("{}.{id}", self.prefix), Reply { id, waiting: Arc::clone(&self.waiting), receiver })
    }

    /// Sends and promises the reply.
    pub(super) async fn send(&self, subject: String, headers: HeaderMap, payload: Bytes) -> Result<Reply, BusError> {
        let (inbox, reply) = self.expect();
        self.client
            .publish_with_reply_and_headers(subject, inbox, headers, payload)
            .await
            .map_err(|error| failed("can't send", error))?;
        Ok(reply)
    }
}

impl Reply {
    /// The reply; `None` when the bus closed.
    pub(super) async fn wait(mut self) -> Option<Message> {
        self.answer().await
    }

    /// The same for one that is kept. Not to be asked again once it answered.
    pub(super) async fn answer(&mut self) -> Option<Message> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        lock(&self.waiting).remove(&self.id);
    }
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Message>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
