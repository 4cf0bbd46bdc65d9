//! Receiving: a receive may hold several events of one key, of which one is handed out at a time. SQS keeps a group
//! closed while one of its messages is unsettled, so the rest goes back before the first one can come again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::calls::{Calls, Delete};
use super::{Sqs, failed};
use crate::backend::{Deliveries, Delivery, Malformed, Settle, Subscribe};
use crate::lanes::Lanes;
use crate::meter::Consumed;
use crate::nats::claims::{self, FetchError};
use crate::wire::{self, Decoded, malformed};
use crate::{BusError, BusErrorKind, Envelope, Incoming};

/// How long a kind that another version of the service wants waits for that version.
const FOREIGN_KIND_DELAY: Duration = Duration::from_secs(5);
/// Between two attempts to receive after a failure.
const RETRY: Duration = Duration::from_secs(1);

struct Reader {
    sqs: Arc<Sqs>,
    service: String,
    calls: Arc<Calls>,
    deletes: mpsc::Sender<Delete>,
    kinds: HashSet<String>,
    lease: Duration,
    permits: Arc<Semaphore>,
    sender: mpsc::Sender<Delivery>,
    consumed: Arc<Consumed>,
}

/// A received message that is not settled.
struct Held {
    decoded: Result<Decoded, Malformed>,
    attempt: u32,
    message_id: String,
    receipt: String,
    permit: OwnedSemaphorePermit,
}

enum Told {
    Received(Vec<(Message, OwnedSemaphorePermit)>),
    Done {
        key: String,
        position: u128,
    },
    /// It comes again: what waits behind it goes back.
    Again {
        key: String,
        position: u128,
    },
    Extended {
        position: u128,
    },
}

pub(super) async fn subscribe(sqs: &Arc<Sqs>, subscribe: Subscribe) -> Result<Deliveries, BusError> {
    sqs.check_open()?;
    let url = sqs.queue(&subscribe.service).await?;
    let calls = Arc::new(Calls { sqs: Arc::clone(sqs), url });
    // Bounded by what may be unsettled.
    let (deletes, deleted) = mpsc::channel(subscribe.max_in_flight.clamp(1, 1024));
    let (sender, receiver) = mpsc::channel(1);
    let reader = Arc::new(Reader {
        consumed: Arc::new(Consumed::new("sqs", &subscribe.service)),
        permits: Arc::new(Semaphore::new(subscribe.max_in_flight.clamp(1, Semaphore::MAX_PERMITS))),
        kinds: subscribe.kinds.into_iter().collect(),
        // SQS counts whole seconds.
        lease: Duration::from_secs(subscribe.lease.as_millis().div_ceil(1000).clamp(1, 43_200) as u64),
        service: subscribe.service,
        sqs: Arc::clone(sqs),
        calls: Arc::clone(&calls),
        deletes,
        sender,
    });
    tokio::spawn(calls.delete_all(deleted));
    let (tell, told) = mpsc::unbounded_channel();
    for _ in 0..sqs.options.pollers {
        tokio::spawn(poll(Arc::clone(&reader), tell.clone()));
    }
    let extend_at = sqs.clock.monotonic() + reader.lease / 3;
    let worker = Worker { reader, lanes: Lanes::new(), out: HashMap::new(), tell, extend_at, arrivals: 0 };
    sqs.busy.spawn(worker.run(told));
    Ok(Deliveries { receiver })
}

/// Receives as much as may be unsettled, never more.
async fn poll(reader: Arc<Reader>, tell: mpsc::UnboundedSender<Told>) {
    let sqs = Arc::clone(&reader.sqs);
    loop {
        let received = async {
            let mut permits = vec![Arc::clone(&reader.permits).acquire_owned().await.ok()?];
            while permits.len() < sqs.options.receive_batch
                && let Ok(permit) = Arc::clone(&reader.permits).try_acquire_owned()
            {
                permits.push(permit);
            }
            let _turn = sqs.turn().await;
            let receiving = sqs
                .client
                .receive_message()
                .queue_url(&reader.calls.url)
                .max_number_of_messages(permits.len() as i32)
                .visibility_timeout(reader.lease.as_secs() as i32)
                .wait_time_seconds(sqs.options.long_poll.as_secs() as i32)
                .message_system_attribute_names(MessageSystemAttributeName::All)
                .send();
            Some((receiving.await, permits))
        };
        let (received, permits) = tokio::select! {
            () = sqs.draining.cancelled() => return,
            () = reader.sender.closed() => return,
            received = received => match received {
                Some(received) => received,
                None => return,
            },
        };
        match received {
            Ok(output) => {
                let messages: Vec<_> = output.messages.unwrap_or_default().into_iter().zip(permits).collect();
                if messages.is_empty() {
                    sqs.clock.sleep(sqs.options.poll_pause).await;
                } else if tell.send(Told::Received(messages)).is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(service = reader.service, error = %failed("can't receive", error), "trying again");
                drop(permits);
                sqs.clock.sleep(RETRY).await;
            }
        }
    }
}

struct Out {
    key: String,
    message_id: String,
    until: Duration,
}

struct Worker {
    reader: Arc<Reader>,
    lanes: Lanes<Held>,
    /// Handed out and unsettled, by position.
    out: HashMap<u128, Out>,
    tell: mpsc::UnboundedSender<Told>,
    extend_at: Duration,
    /// Counts what was received: the order inside a key, since SQS gives a group's messages in order.
    arrivals: u128,
}

impl Worker {
    async fn run(mut self, mut told: mpsc::UnboundedReceiver<Told>) {
        let sqs = Arc::clone(&self.reader.sqs);
        let sender = self.reader.sender.clone();
        loop {
            let wait = self.extend_at.saturating_sub(sqs.clock.monotonic());
            tokio::select! {
                biased;
                () = sqs.draining.cancelled() => break,
                () = sender.closed() => break,
                Some(told) = told.recv() => self.hear(told).await,
                place = sender.clone().reserve_owned(), if self.lanes.is_ready() => match place {
                    Ok(place) => self.hand_out(place),
                    Err(_) => break,
                },
                () = sqs.clock.sleep(wait) => self.on_time().await,
            }
        }
        drop(sender);
        // Gives back what was not handed out and waits for the rest to be settled.
        let held = self.lanes.remove_waiting(|_| true);
        self.reader.hide_all(held.iter(), Duration::ZERO).await;
        drop(held);
        let mut left = self.out;
        while !left.is_empty() {
            let heard = tokio::select! {
                () = sqs.closed.cancelled() => return,
                heard = told.recv() => heard,
            };
            match heard {
                Some(Told::Done { position, .. } | Told::Again { position, .. }) => {
                    left.remove(&position);
                }
                Some(Told::Received(messages)) => {
                    for (message, _) in messages {
                        let _ = self.reader.hide(message.receipt_handle().unwrap_or_default(), Duration::ZERO).await;
                    }
                }
                Some(Told::Extended { .. }) => {}
                None => return,
            }
        }
    }

    async fn hear(&mut self, told: Told) {
        match told {
            Told::Received(messages) => {
                for (message, permit) in messages {
                    self.accept(message, permit).await;
                }
            }
            Told::Done { key, position } => {
                self.out.remove(&position);
                self.lanes.settle(&key, position);
            }
            Told::Again { key, position } => {
                if self.out.remove(&position).is_some() {
                    self.give_back(&key, position).await;
                }
            }
            Told::Extended { position } => {
                if let Some(out) = self.out.get_mut(&position) {
                    out.until = self.reader.sqs.clock.monotonic() + self.reader.lease;
                }
            }
        }
    }

    async fn give_back(&mut self, key: &str, position: u128) {
        self.reader.hide_all(self.lanes.take_waiting(key).iter(), Duration::ZERO).await;
        self.lanes.settle(key, position);
    }

    async fn accept(&mut self, message: Message, permit: OwnedSemaphorePermit) {
        let attribute = |name| message.attributes().and_then(|all| all.get(&name)).cloned();
        self.arrivals += 1;
        let message_id = message.message_id.clone().unwrap_or_default();
        // One that is out and comes again takes its old place.
        let again = self.out.iter().find(|(_, out)| out.message_id == message_id).map(|(position, _)| *position);
        let position = again.unwrap_or(self.arrivals);
        let attempt = attribute(MessageSystemAttributeName::ApproximateReceiveCount)
            .and_then(|count| count.parse().ok())
            .unwrap_or(1);
        let receipt = message.receipt_handle.unwrap_or_default();
        let decoded = wire::decode_json(Bytes::from(message.body.unwrap_or_default()));
        let key = match &decoded {
            Ok(decoded) if !self.reader.kinds.contains(&decoded.envelope.kind) => {
                // The relay wrote it here, so another version of this service wants it.
                let _ = self.reader.hide(&receipt, FOREIGN_KIND_DELAY).await;
                return;
            }
            Ok(decoded) => decoded.envelope.key.clone(),
            // No key, no order; a control character, so that no real key is the same.
            Err(_) => format!("\u{0}{position}"),
        };
        self.lanes.insert(&key, position, Held { decoded, attempt, message_id, receipt, permit });
    }

    fn hand_out(&mut self, place: mpsc::OwnedPermit<Delivery>) {
        let Some((key, position, held)) = self.lanes.take(|_| true) else { return };
        let until = self.reader.sqs.clock.monotonic() + self.reader.lease;
        self.out.insert(position, Out { key: key.clone(), message_id: held.message_id, until });
        let handle = Handle {
            reader: Arc::clone(&self.reader),
            tell: self.tell.clone(),
            key,
            position,
            receipt: held.receipt,
            is_settled: AtomicBool::new(false),
            _permit: held.permit,
        };
        let (attempt, consumed) = (held.attempt, Arc::clone(&self.reader.consumed));
        let send = move |incoming: Incoming, handle: Handle| {
            consumed.deliver(attempt, incoming.is_err());
            place.send(Delivery { incoming, attempt, settle: Box::new(handle) });
        };
        match held.decoded {
            Ok(Decoded { envelope, claim: None }) => send(Ok(envelope), handle),
            Err(malformed) => send(Err(malformed), handle),
            Ok(Decoded { envelope, claim: Some(claim) }) => {
                let link = Arc::clone(&self.reader.sqs.claims);
                tokio::spawn(async move {
                    match claims::fetch(&link, &claim).await {
                        Ok(data) => send(Ok(Envelope { data, ..envelope }), handle),
                        Err(FetchError::Malformed(reason)) => send(Err(malformed(reason, &Bytes::new())), handle),
                        Err(FetchError::Unavailable(error)) => {
                            tracing::warn!(%error, "a large payload can't be read yet");
                            let _ = handle.nak(RETRY).await;
                        }
                    }
                });
            }
        }
    }

    /// Keeps the leases of what waits, and ends what consumers let expire.
    async fn on_time(&mut self) {
        let now = self.reader.sqs.clock.monotonic();
        self.extend_at = now + self.reader.lease / 3;
        let expired: Vec<_> = self
            .out
            .iter()
            .filter(|(_, out)| out.until <= now)
            .map(|(position, out)| (*position, out.key.clone()))
            .collect();
        for (position, key) in expired {
            self.out.remove(&position);
            self.give_back(&key, position).await;
        }
        self.reader.hide_all(self.lanes.iter_waiting(), self.reader.lease).await;
    }
}

impl Reader {
    async fn hide(&self, receipt: &str, time: Duration) -> Result<(), BusError> {
        self.calls.hide(&[receipt], time).await
    }

    /// What fails here ends with the lease.
    async fn hide_all(&self, held: impl Iterator<Item = &Held>, time: Duration) {
        let receipts: Vec<_> = held.map(|held| held.receipt.as_str()).collect();
        if let Err(error) = self.calls.hide(&receipts, time).await {
            tracing::warn!(service = self.service, %error, "some events will come again");
        }
    }
}

struct Handle {
    reader: Arc<Reader>,
    tell: mpsc::UnboundedSender<Told>,
    key: String,
    position: u128,
    receipt: String,
    is_settled: AtomicBool,
    _permit: OwnedSemaphorePermit,
}

impl Handle {
    /// Only after SQS knows: it opens the group to the next message by itself.
    async fn done(&self) -> Result<(), BusError> {
        let closed = || BusError::new(BusErrorKind::Closed, "the bus is closed");
        let (done, deleted) = oneshot::channel();
        let result = match self.reader.deletes.send((self.receipt.clone(), done)).await {
            Ok(()) => deleted.await.unwrap_or_else(|_| Err(closed())),
            Err(_) => Err(closed()),
        };
        self.is_settled.store(true, Ordering::Relaxed);
        let _ = self.tell.send(Told::Done { key: self.key.clone(), position: self.position });
        result
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.is_settled.load(Ordering::Relaxed) {
            let _ = self.tell.send(Told::Again { key: self.key.clone(), position: self.position });
        }
    }
}

#[async_trait]
impl Settle for Handle {
    async fn ack(&self) -> Result<(), BusError> {
        self.reader.consumed.acked.increment(1);
        self.done().await
    }

    async fn nak(&self, delay: Duration) -> Result<(), BusError> {
        self.reader.consumed.nakked.increment(1);
        // Hidden first: while it is, SQS gives nobody what comes back from behind it.
        self.reader.hide(&self.receipt, delay).await
    }

    async fn term(&self, reason: &str) -> Result<(), BusError> {
        self.reader.consumed.terminated.increment(1);
        tracing::info!(key = self.key, reason, "an event was given up");
        self.done().await
    }

    async fn extend(&self) -> Result<(), BusError> {
        self.reader.hide(&self.receipt, self.reader.lease).await?;
        let _ = self.tell.send(Told::Extended { position: self.position });
        Ok(())
    }
}
