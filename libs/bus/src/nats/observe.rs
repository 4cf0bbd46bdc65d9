//! Looking on: an ordered consumer for events, plain subscriptions for the rest. Both are gone with the observer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::consumer::{Consumer, DeliverPolicy};
use async_nats::jetstream::stream::Stream;
use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use percent_encoding::percent_decode_str;

use super::claims::{self, FetchError};
use super::{Link, failed, stream};
use crate::observe::{Observation, Observe, Observed, Watcher};
use crate::wire::{self, Decoded, malformed};
use crate::{BusError, Envelope, Incoming};

/// Where clients of NATS are answered, by the default of every client library.
const INBOXES: &str = "_INBOX.>";
/// Most requests whose reply is awaited; the oldest is forgotten first.
const MAX_OPEN: usize = 10_000;

pub(super) async fn observe(link: &Arc<Link>, options: Observe) -> Result<Observation, BusError> {
    link.check_open()?;
    let events = if options.events { Some(stream::events(link).await?) } else { None };
    // Events go by way of a stream that somebody reads; where SQS carries them, nobody does.
    let covers_events = events.as_ref().is_some_and(|stream| stream.cached_info().state.consumer_count > 0);
    let (watcher, observation) = Observation::channel(options, covers_events);
    if let Some(stream) = events.filter(|_| covers_events) {
        watch_events(link, &stream, watcher.clone()).await?;
    }
    let subscribe = async |subject: &str| {
        let subscribed = link.client.subscribe(subject.to_owned()).await;
        subscribed.map_err(|error| failed(&format!("can't look at {subject}"), error))
    };
    if options.requests {
        // Answers first: none may come before somebody listens for it.
        let replies = subscribe(INBOXES).await?;
        let requests = subscribe("synapse.request.>").await?;
        tokio::spawn(watch_requests(Arc::clone(link), requests, replies, watcher.clone()));
    }
    if options.signals {
        let signals = subscribe("synapse.signal.>").await?;
        tokio::spawn(watch_signals(Arc::clone(link), signals, watcher));
    }
    link.round_trip().await?;
    Ok(observation)
}

async fn watch_events(link: &Arc<Link>, stream: &Stream, watcher: Watcher) -> Result<(), BusError> {
    let config = OrderedConfig {
        description: Some("Synapse observer".to_owned()),
        deliver_policy: DeliverPolicy::New,
        ..OrderedConfig::default()
    };
    let consumer: Consumer<OrderedConfig> =
        stream.create_consumer(config).await.map_err(|error| failed("can't look at events", error))?;
    let mut messages = consumer.messages().await.map_err(|error| failed("can't look at events", error))?;
    let link = Arc::clone(link);
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                () = link.closed.cancelled() => break,
                () = watcher.gone() => break,
                message = messages.next() => message,
            };
            match message {
                Some(Ok(message)) => {
                    let incoming = read_event(&link, &message).await;
                    if !watcher.show(Observed::Event(incoming)) {
                        break;
                    }
                }
                // The client makes its consumer anew.
                Some(Err(error)) => tracing::debug!(%error, "an observer of events lost its consumer for a moment"),
                None => break,
            }
        }
    });
    Ok(())
}

async fn read_event(link: &Link, message: &Message) -> Incoming {
    let decoded = wire::decode(message.headers.as_ref(), message.payload.clone())?;
    let Decoded { envelope, claim } = decoded;
    let Some(claim) = claim else { return on_its_subject(message, envelope, 2) };
    match claims::fetch(link, &claim).await {
        Ok(data) => on_its_subject(message, Envelope { data, ..envelope }, 2),
        Err(FetchError::Malformed(reason)) => Err(malformed(reason, &message.payload)),
        Err(FetchError::Unavailable(error)) => Err(malformed(format!("dataref: {error}"), &message.payload)),
    }
}

/// A message whose subject names another kind than its type is one that nobody gets. `skip` tokens precede the kind.
fn on_its_subject(message: &Message, envelope: Envelope, skip: usize) -> Incoming {
    let named: Vec<&str> = message.subject.split('.').skip(skip).take(3).collect();
    let named = named.join(".");
    if named == envelope.kind {
        return Ok(envelope);
    }
    Err(malformed(format!("type: {:?} came on the subject of {named:?}", envelope.kind), &message.payload))
}

fn read(message: &Message) -> Incoming {
    let headers = message.headers.clone().unwrap_or_default();
    on_its_subject(message, wire::from_headers(&headers, message.payload.clone())?, 2)
}

async fn watch_requests(link: Arc<Link>, mut requests: Subscriber, mut replies: Subscriber, watcher: Watcher) {
    let mut open = Open::default();
    loop {
        tokio::select! {
            // A request comes before its reply on the connection; here as well.
            biased;
            () = link.closed.cancelled() => break,
            () = watcher.gone() => break,
            message = requests.next() => {
                let Some(message) = message else { break };
                let incoming = read(&message);
                if let (Ok(envelope), Some(inbox)) = (&incoming, &message.reply) {
                    open.add(inbox.to_string(), envelope.clone());
                }
                watcher.show(Observed::Request(incoming));
            }
            message = replies.next() => {
                let Some(message) = message else { break };
                if let Some(request) = open.take(message.subject.as_str()) {
                    let data: Bytes = message.payload;
                    watcher.show(Observed::Reply { request: Box::new(request), data });
                }
            }
        }
    }
}

/// Requests without a reply yet, by their inbox.
#[derive(Default)]
struct Open {
    by_inbox: HashMap<String, Envelope>,
    order: VecDeque<String>,
}

impl Open {
    fn add(&mut self, inbox: String, envelope: Envelope) {
        if self.order.len() >= MAX_OPEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_inbox.remove(&oldest);
        }
        self.order.push_back(inbox.clone());
        self.by_inbox.insert(inbox, envelope);
    }

    fn take(&mut self, inbox: &str) -> Option<Envelope> {
        self.by_inbox.remove(inbox)
    }
}

async fn watch_signals(link: Arc<Link>, mut signals: Subscriber, watcher: Watcher) {
    loop {
        let message = tokio::select! {
            () = link.closed.cancelled() => break,
            () = watcher.gone() => break,
            message = signals.next() => message,
        };
        let Some(message) = message else { break };
        let token = message.subject.rsplit('.').next().unwrap_or_default();
        let address = percent_decode_str(token).decode_utf8_lossy().into_owned();
        watcher.show(Observed::Signal { address, incoming: read(&message) });
    }
}
