use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clock::Clock;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::backend::{IncomingRequest, Requests};
use crate::{BusError, BusErrorKind, Envelope, wire};

pub(super) struct Servers {
    clock: Clock,
    max_payload_bytes: usize,
    by_kind: Mutex<HashMap<String, Vec<Server>>>,
    turn: AtomicU64,
    unanswered: TaskTracker,
}

#[derive(Clone)]
struct Server {
    queue: mpsc::Sender<IncomingRequest>,
    permits: Arc<Semaphore>,
}

impl Servers {
    pub(super) fn new(clock: Clock, max_payload_bytes: usize) -> Self {
        let (turn, unanswered) = (AtomicU64::new(0), TaskTracker::new());
        Self { clock, max_payload_bytes, by_kind: Mutex::default(), turn, unanswered }
    }

    fn by_kind(&self) -> MutexGuard<'_, HashMap<String, Vec<Server>>> {
        self.by_kind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn serve(&self, service: &str, kinds: &[&str], max_in_flight: usize) -> Result<Requests, BusError> {
        if self.unanswered.is_closed() {
            return Err(BusError::new(BusErrorKind::Closed, format!("{service} can't serve: the bus is closed")));
        }
        let most = max_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        let (queue, receiver) = mpsc::channel(most);
        let server = Server { queue, permits: Arc::new(Semaphore::new(most)) };
        let mut by_kind = self.by_kind();
        for kind in kinds {
            by_kind.entry((*kind).to_owned()).or_default().push(server.clone());
        }
        Ok(Requests { receiver })
    }

    pub(super) async fn request(&self, envelope: Envelope, timeout: Duration) -> Result<Bytes, BusError> {
        wire::check(&envelope)?;
        super::check_size(&envelope, self.max_payload_bytes)?;
        if self.unanswered.is_closed() {
            return Err(BusError::new(BusErrorKind::Closed, "the bus is closed"));
        }
        let kind = envelope.kind.clone();
        let asking = async {
            let server = self.pick(&kind).ok_or_else(|| {
                BusError::new(BusErrorKind::NoResponder, format!("{kind}: nobody serves it; is its service running?"))
            })?;
            let gone = || BusError::new(BusErrorKind::NoResponder, format!("{kind}: its server has just gone"));
            let Server { queue, permits } = server;
            let permit = permits.acquire_owned().await.map_err(|_| gone())?;
            let (reply, answered) = oneshot::channel();
            let (forward, forwarded) = oneshot::channel();
            queue.send(IncomingRequest { incoming: Ok(envelope), reply }).await.map_err(|_| gone())?;
            // Else this request would keep the server's queue open.
            drop(queue);
            // The place is taken until the answer, even when the asker has gone.
            self.unanswered.spawn(async move {
                if let Ok(data) = answered.await {
                    let _ = forward.send(data);
                }
                drop(permit);
            });
            forwarded.await.map_err(|_| {
                BusError::new(BusErrorKind::Timeout, format!("{kind}: its server dropped the request unanswered"))
            })
        };
        match self.clock.timeout(timeout, asking).await {
            Some(result) => result,
            None => {
                let detail = format!("{kind}: no answer within {} ms", timeout.as_millis());
                Err(BusError::new(BusErrorKind::Timeout, detail))
            }
        }
    }

    /// The next server in turn; those that have gone are forgotten.
    fn pick(&self, kind: &str) -> Option<Server> {
        let mut by_kind = self.by_kind();
        let servers = by_kind.get_mut(kind)?;
        servers.retain(|server| !server.queue.is_closed());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        servers.get(turn.checked_rem(servers.len())?).cloned()
    }

    pub(super) fn close(&self) {
        self.unanswered.close();
        self.by_kind().clear();
    }

    /// Takes no more requests and waits until those taken are answered.
    pub(super) async fn drain(&self) {
        self.close();
        self.unanswered.wait().await;
    }
}
