use std::sync::Arc;
use std::time::Duration;

use async_nats::header::{HeaderMap, HeaderName};
use async_nats::{Message, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::Instrument;

use super::{Link, failed};
use crate::backend::{IncomingRequest, Requests};
use crate::wire::{self, malformed};
use crate::{BusError, BusErrorKind, Envelope, Incoming};

const SUBJECT: &str = "synapse.request";
/// On a reply: why it carries no data.
const ERROR: HeaderName = HeaderName::from_static("synapse-error");

pub(super) async fn request(link: &Link, envelope: Envelope, timeout: Duration) -> Result<Bytes, BusError> {
    link.check_open()?;
    let kind = envelope.kind.clone();
    let headers = wire::to_headers(&envelope)?;
    check_size(link, &kind, envelope.data.len())?;
    let span = tracing::debug_span!(
        "request",
        messaging.system = "nats",
        messaging.operation.type = "send",
        messaging.destination.name = %format_args!("{SUBJECT}.{kind}"),
        messaging.message.id = %envelope.id
    );
    let asking = async {
        let sending = link.replies.send(format!("{SUBJECT}.{kind}"), headers, envelope.data);
        let reply = link.hand_over(sending).await?;
        tokio::select! {
            reply = reply.wait() => reply.ok_or_else(|| BusError::new(BusErrorKind::Closed, "the bus is closed")),
            () = link.disconnected() => {
                let detail = format!("{kind}: the connection broke before the answer came");
                Err(BusError::new(BusErrorKind::Unavailable, detail))
            }
        }
    };
    let Some(message) = link.clock.timeout(timeout, asking.instrument(span)).await else {
        let detail = format!("{kind}: no answer within {} ms", timeout.as_millis());
        return Err(BusError::new(BusErrorKind::Timeout, detail));
    };
    let message = message?;
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        let detail = format!("{kind}: nobody serves it; is its service running?");
        return Err(BusError::new(BusErrorKind::NoResponder, detail));
    }
    match message.headers.as_ref().and_then(|headers| headers.get(ERROR)) {
        Some(reason) => Err(BusError::new(BusErrorKind::Invalid, format!("{kind}: {reason}"))),
        None => Ok(message.payload),
    }
}

pub(super) fn check_size(link: &Link, kind: &str, size: usize) -> Result<(), BusError> {
    let most = link.options.max_inline_bytes;
    if size <= most {
        return Ok(());
    }
    Err(BusError::new(BusErrorKind::Invalid, format!("{kind}: data: {size} bytes; at most {most} are allowed")))
}

pub(super) async fn serve(
    link: &Arc<Link>,
    service: &str,
    kinds: &[&str],
    max_in_flight: usize,
) -> Result<Requests, BusError> {
    link.check_open()?;
    let most = max_in_flight.clamp(1, Semaphore::MAX_PERMITS);
    let permits = Arc::new(Semaphore::new(most));
    let (sender, receiver) = mpsc::channel(1);
    for kind in kinds {
        let subscriber = link
            .client
            .queue_subscribe(format!("{SUBJECT}.{kind}"), service.to_owned())
            .await
            .map_err(|error| failed(&format!("can't serve {kind}"), error))?;
        let server = Server {
            link: Arc::clone(link),
            kind: (*kind).to_owned(),
            permits: Arc::clone(&permits),
            sender: sender.clone(),
        };
        tokio::spawn(server.run(subscriber));
    }
    // Whoever gets the handle can be reached already.
    link.round_trip().await?;
    Ok(Requests { receiver })
}

struct Server {
    link: Arc<Link>,
    kind: String,
    permits: Arc<Semaphore>,
    sender: mpsc::Sender<IncomingRequest>,
}

impl Server {
    async fn run(self, mut subscriber: async_nats::Subscriber) {
        loop {
            let next = async {
                let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
                Some((permit, subscriber.next().await?))
            };
            let (permit, message) = tokio::select! {
                () = self.link.draining.cancelled() => break,
                () = self.sender.closed() => break,
                next = next => match next {
                    Some(next) => next,
                    None => break,
                },
            };
            let Some(inbox) = message.reply.clone() else {
                tracing::warn!(kind = self.kind, "a request without a reply subject was ignored");
                continue;
            };
            let (reply, answered) = oneshot::channel();
            if self.sender.send(IncomingRequest { incoming: self.read(&message), reply }).await.is_err() {
                break;
            }
            let (link, kind) = (Arc::clone(&self.link), self.kind.clone());
            self.link.busy.spawn(async move {
                if let Ok(data) = answered.await {
                    answer(&link, &kind, inbox, data).await;
                }
                drop(permit);
            });
        }
        let _ = subscriber.unsubscribe().await;
    }

    fn read(&self, message: &Message) -> Incoming {
        let envelope = match &message.headers {
            Some(headers) => wire::from_headers(headers, message.payload.clone())?,
            None => wire::from_headers(&HeaderMap::new(), message.payload.clone())?,
        };
        if envelope.kind != self.kind {
            let reason = format!("type: {:?} came on the subject of {:?}", envelope.kind, self.kind);
            return Err(malformed(reason, &message.payload));
        }
        Ok(envelope)
    }
}

async fn answer(link: &Link, kind: &str, inbox: async_nats::Subject, data: Bytes) {
    let sending = async {
        let sent = match check_size(link, kind, data.len()) {
            Ok(()) => link.client.publish(inbox, data).await,
            Err(error) => {
                tracing::error!(%error, "a reply is too large");
                let mut headers = HeaderMap::new();
                headers.insert(ERROR, "the reply is larger than the bus allows");
                link.client.publish_with_headers(inbox, headers, Bytes::new()).await
            }
        };
        sent.map_err(|error| failed("can't send", error))
    };
    if let Err(error) = link.hand_over(sending).await {
        tracing::warn!(kind, %error, "a reply could not be sent");
    }
}
