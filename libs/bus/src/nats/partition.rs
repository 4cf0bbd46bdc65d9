//! Reads one partition for one service: keeps the keys' order, leases alive and the pin honest.
//!
//! Order across processes: a partition is pinned to one process (or has one unsettled event at a time). When the pin
//! moves, the newcomer hands out nothing before every event that its predecessor left unsettled has come again, since
//! the server sends such events unordered and between new ones.

mod pin;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_nats::jetstream::consumer::Consumer;
use async_nats::jetstream::consumer::pull::{Config, MessagesError, Stream};
use async_nats::{Subject, jetstream};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::claims::{self, FetchError};
use super::consume::{GROUP, Reader};
use super::settle::{Handle, Told, nak};
use super::stream;
use crate::backend::{Delivery, Malformed, Settle};
use crate::lanes::Lanes;
use crate::wire::{self, Decoded, malformed};
use crate::{BusError, Envelope, Incoming};

/// How long a kind that another version of the service wants waits for that version.
const FOREIGN_KIND_DELAY: Duration = Duration::from_secs(5);
/// Between two looks at whether the predecessor's events are all there.
const TAKEOVER_LOOK: Duration = Duration::from_millis(50);
/// Between two attempts to read on after a failure.
const REOPEN: Duration = Duration::from_millis(500);
/// How long a pull waits at servers without pins.
const UNPINNED_PULL: Duration = Duration::from_secs(30);
/// When a large payload is looked for again after its stream could not be reached.
const CLAIM_RETRY: Duration = Duration::from_secs(1);

/// One event that waits to be handed out.
struct Held {
    decoded: Result<Decoded, Malformed>,
    attempt: u32,
    reply: Subject,
}

/// A place among the unsettled and a place in the channel to the consumer.
type Slot = (OwnedSemaphorePermit, mpsc::OwnedPermit<Delivery>);
type Read = Option<Result<jetstream::Message, MessagesError>>;

struct Worker {
    reader: Arc<Reader>,
    number: u32,
    consumer: Consumer<Config>,
    lanes: Lanes<Held>,
    /// Handed out and unsettled.
    out: HashSet<u128>,
    /// Nakked: (due, position) → reply subject.
    delayed: BTreeMap<(Duration, u128), Subject>,
    tell: mpsc::UnboundedSender<Told>,
    pin: Option<String>,
    /// Until when the predecessor's events are waited for.
    takeover_until: Option<Duration>,
    look_at: Duration,
    extend_at: Duration,
    share_at: Duration,
    reopen_at: Duration,
}

pub(super) async fn work(reader: Arc<Reader>, number: u32, consumer: Consumer<Config>) {
    let (tell, mut told) = mpsc::unbounded_channel();
    let now = reader.link.clock.monotonic();
    let mut worker = Worker {
        extend_at: now + reader.lease / 3,
        share_at: now + reader.link.options.takeover,
        look_at: now,
        reopen_at: now,
        reader,
        number,
        consumer,
        lanes: Lanes::new(),
        out: HashSet::new(),
        delayed: BTreeMap::new(),
        tell,
        pin: None,
        takeover_until: None,
    };
    let messages = worker.run(&mut told).await;
    worker.finish(messages, &mut told).await;
}

impl Worker {
    /// Until the bus drains or the consumer goes.
    async fn run(&mut self, told: &mut mpsc::UnboundedReceiver<Told>) -> Option<Stream> {
        let link = Arc::clone(&self.reader.link);
        let sender = self.reader.sender.clone();
        let mut messages: Option<Stream> = None;
        let mut asked: Option<BoxFuture<'static, Option<Slot>>> = None;
        loop {
            if messages.is_none() && self.reopen_at <= link.clock.monotonic() {
                messages = self.open().await;
                self.reopen_at = link.clock.monotonic() + REOPEN;
            }
            if asked.is_none() && self.may_hand_out() {
                asked = Some(Box::pin(slot(Arc::clone(&self.reader))));
            }
            let wait = self.next_time(messages.is_none()).saturating_sub(link.clock.monotonic());
            let may_hand_out = self.may_hand_out();
            tokio::select! {
                biased;
                () = link.draining.cancelled() => return messages,
                () = sender.closed() => return messages,
                Some(told) = told.recv() => self.hear(told).await,
                slot = or_never(asked.as_mut()), if may_hand_out => {
                    asked = None;
                    match slot {
                        Some(slot) => self.hand_out(slot),
                        None => return messages,
                    }
                }
                message = read(messages.as_mut()) => match message {
                    Some(Ok(message)) => self.accept(&message).await,
                    problem => {
                        if let Some(Err(error)) = problem {
                            tracing::debug!(consumer = self.name(), %error, "reading is taken up anew");
                        }
                        messages = None;
                        self.reopen_at = link.clock.monotonic() + REOPEN;
                    }
                },
                () = link.clock.sleep(wait) => self.on_time().await,
            }
        }
    }

    fn name(&self) -> String {
        format!("{}-p{:02}", self.reader.service, self.number)
    }

    fn may_hand_out(&self) -> bool {
        self.takeover_until.is_none() && self.lanes.is_ready()
    }

    fn next_time(&self, is_closed: bool) -> Duration {
        let mut next = self.extend_at.min(self.share_at);
        if let Some(((due, _), _)) = self.delayed.first_key_value() {
            next = next.min(*due);
        }
        if self.takeover_until.is_some() {
            next = next.min(self.look_at);
        }
        if is_closed { next.min(self.reopen_at) } else { next }
    }

    /// Begins to read, with stream and consumer made anew where they vanished.
    async fn open(&mut self) -> Option<Stream> {
        let link = Arc::clone(&self.reader.link);
        if !link.is_connected() {
            return None;
        }
        let opened = async {
            let stream = stream::events(&link).await?;
            let consumer = self.reader.consumer(&stream, self.number).await?;
            let half = link.options.takeover / 2;
            let reading = match link.features.pinned {
                true => consumer.stream().group(GROUP).expires(half).heartbeat(half / 3),
                false => consumer.stream().expires(UNPINNED_PULL).heartbeat(UNPINNED_PULL / 6),
            };
            let window = link.options.partition_window;
            let messages = reading.max_messages_per_batch(window).messages().await;
            Ok::<_, BusError>((consumer, messages.map_err(|error| super::failed("can't read", error))?))
        };
        match opened.await {
            Ok((consumer, messages)) => {
                if consumer.cached_info().created != self.consumer.cached_info().created {
                    tracing::warn!(consumer = self.name(), "the consumer had vanished and was made anew");
                    self.lanes = Lanes::new();
                    self.delayed.clear();
                }
                self.consumer = consumer;
                Some(messages)
            }
            Err(error) => {
                tracing::warn!(consumer = self.name(), %error, "can't read yet");
                None
            }
        }
    }

    async fn accept(&mut self, message: &jetstream::Message) {
        let (Ok(info), Some(reply)) = (message.info(), message.reply.clone()) else { return };
        let (position, delivered) = (u128::from(info.stream_sequence), info.delivered);
        self.see_pin(message);
        let decoded = wire::decode(message.headers.as_ref(), message.payload.clone());
        let key = match &decoded {
            Ok(decoded) if !self.reader.kinds.contains(&decoded.envelope.kind) => {
                // With filters, another version of this service wants it; without them, nobody here does.
                let again = self.reader.link.features.multi_filter;
                let told = if again { nak(FOREIGN_KIND_DELAY) } else { Bytes::from_static(b"+ACK") };
                let _ = self.reader.link.tell(&reply, told).await;
                return;
            }
            Ok(decoded) => decoded.envelope.key.clone(),
            // No key, no order; a control character, so that no real key is the same.
            Err(_) => format!("\u{0}{position}"),
        };
        let attempt = u32::try_from(delivered).unwrap_or(u32::MAX);
        self.delayed.retain(|(_, delayed), _| *delayed != position);
        self.lanes.insert(&key, position, Held { decoded, attempt, reply });
    }

    async fn hear(&mut self, told: Told) {
        match told {
            Told::Done { key, position } => {
                self.out.remove(&position);
                self.lanes.settle(&key, position);
            }
            Told::Again { position, reply, delay } => {
                self.out.remove(&position);
                if delay.is_zero() {
                    let _ = self.reader.link.tell(&reply, nak(delay)).await;
                } else {
                    let due = self.reader.link.clock.monotonic().saturating_add(delay);
                    self.delayed.insert((due, position), reply);
                }
            }
            Told::Dropped { position } => {
                self.out.remove(&position);
            }
        }
    }

    fn hand_out(&mut self, (permit, place): Slot) {
        let Some((key, position, held)) = self.lanes.take(|_| true) else { return };
        self.out.insert(position);
        let handle = Handle {
            link: Arc::clone(&self.reader.link),
            told: self.tell.clone(),
            consumed: Arc::clone(&self.reader.consumed),
            key,
            position,
            reply: held.reply,
            is_settled: AtomicBool::new(false),
            _permit: permit,
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
                let link = Arc::clone(&self.reader.link);
                tokio::spawn(async move {
                    match claims::fetch(&link, &claim).await {
                        Ok(data) => send(Ok(Envelope { data, ..envelope }), handle),
                        Err(FetchError::Malformed(reason)) => send(Err(malformed(reason, &Bytes::new())), handle),
                        Err(FetchError::Unavailable(error)) => {
                            tracing::warn!(%error, "a large payload can't be read yet");
                            let _ = handle.nak(CLAIM_RETRY).await;
                        }
                    }
                });
            }
        }
    }

    async fn on_time(&mut self) {
        let link = Arc::clone(&self.reader.link);
        let now = link.clock.monotonic();
        if self.takeover_until.is_some() && self.look_at <= now {
            self.look(now).await;
        }
        while let Some(entry) = self.delayed.first_entry()
            && entry.key().0 <= now
        {
            let _ = link.tell(&entry.remove(), nak(Duration::ZERO)).await;
        }
        if self.extend_at <= now {
            self.extend_at = now + self.reader.lease / 3;
            let held = self.lanes.iter_waiting().map(|held| &held.reply).chain(self.delayed.values());
            for reply in held {
                let _ = link.tell(reply, Bytes::from_static(b"+WPI")).await;
            }
        }
        if self.share_at <= now {
            self.share_at = now + link.options.takeover;
            self.share().await;
        }
    }

    /// Gives back what was not handed out, waits for the rest to be settled, lets the next process in.
    async fn finish(&mut self, messages: Option<Stream>, told: &mut mpsc::UnboundedReceiver<Told>) {
        let link = Arc::clone(&self.reader.link);
        if let Some(mut messages) = messages {
            while let Some(Some(Ok(message))) = messages.next().now_or_never() {
                self.accept(&message).await;
            }
        }
        let now = link.clock.monotonic();
        for held in self.lanes.iter_waiting() {
            let _ = link.tell(&held.reply, nak(Duration::ZERO)).await;
        }
        for ((due, _), reply) in std::mem::take(&mut self.delayed) {
            let _ = link.tell(&reply, nak(due.saturating_sub(now))).await;
        }
        while !self.out.is_empty() {
            let told = tokio::select! {
                () = link.closed.cancelled() => break,
                told = told.recv() => told,
            };
            match told {
                Some(Told::Again { position, reply, delay }) => {
                    self.out.remove(&position);
                    let _ = link.tell(&reply, nak(delay)).await;
                }
                Some(Told::Done { position, .. } | Told::Dropped { position }) => {
                    self.out.remove(&position);
                }
                None => break,
            }
        }
        if self.pin.take().is_some() && link.is_connected() {
            self.unpin().await;
        }
    }
}

async fn slot(reader: Arc<Reader>) -> Option<Slot> {
    let permit = Arc::clone(&reader.permits).acquire_owned().await.ok()?;
    let place = reader.sender.clone().reserve_owned().await.ok()?;
    Some((permit, place))
}

async fn or_never(asked: Option<&mut BoxFuture<'static, Option<Slot>>>) -> Option<Slot> {
    match asked {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}

async fn read(messages: Option<&mut Stream>) -> Read {
    match messages {
        Some(messages) => messages.next().await,
        None => std::future::pending().await,
    }
}
