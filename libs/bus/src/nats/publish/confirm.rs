//! What the server says of what was published.

use async_nats::StatusCode;
use async_nats::header::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;

use crate::nats::{Link, stream};
use crate::{BusError, BusErrorKind};

/// Publishes to a stream and waits until it is stored.
pub(in crate::nats) async fn confirmed(
    link: &Link,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<(), BusError> {
    let reply = link.hand_over(link.replies.send(subject, headers, payload)).await?;
    match confirmation(link, reply.wait()).await {
        Ok(()) => Ok(()),
        Err(refusal) => Err(refusal.into_error()),
    }
}

/// Why something is not known to be stored.
pub(super) enum Refusal {
    /// The server refuses it and has stored nothing of it.
    Server(String),
    /// No stream is there to take it.
    NoStream,
    /// Nobody knows.
    Lost(BusError),
}

impl Refusal {
    pub(super) fn into_error(self) -> BusError {
        let unavailable = |detail: String| BusError::new(BusErrorKind::Unavailable, detail);
        match self {
            Self::Server(text) => unavailable(format!("the stream refuses the message: {text}")),
            Self::NoStream => unavailable("no stream took the message".to_owned()),
            Self::Lost(error) => error,
        }
    }
}

pub(super) fn broken() -> BusError {
    BusError::new(BusErrorKind::Unavailable, "the connection to NATS broke before the confirmation; it may be stored")
}

pub(super) fn too_late() -> BusError {
    BusError::new(BusErrorKind::Unavailable, "no confirmation from JetStream in time")
}

#[derive(Deserialize)]
struct Confirmation {
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    err_code: Option<u64>,
    description: Option<String>,
}

async fn confirmation(link: &Link, reply: impl Future<Output = Option<async_nats::Message>>) -> Result<(), Refusal> {
    let lost = |error: BusError| Err(Refusal::Lost(error));
    let waited = tokio::select! {
        biased;
        reply = link.clock.timeout(link.options.publish_timeout, reply) => reply,
        () = link.disconnected() => return lost(broken()),
    };
    let Some(message) = waited.flatten() else { return lost(too_late()) };
    match verdict(&message) {
        Err(Refusal::NoStream) => {
            make_streams(link).await;
            Err(Refusal::NoStream)
        }
        verdict => verdict,
    }
}

/// The stream vanished: make it again, so that the next attempt succeeds.
pub(super) async fn make_streams(link: &Link) {
    if let Err(error) = stream::ensure(link).await {
        tracing::warn!(%error, "the streams are gone and can't be made again yet");
    }
}

/// What the server says of a message or a batch.
pub(super) fn verdict(message: &async_nats::Message) -> Result<(), Refusal> {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(Refusal::NoStream);
    }
    match serde_json::from_slice::<Confirmation>(&message.payload) {
        Ok(Confirmation { error: None }) => Ok(()),
        Ok(Confirmation { error: Some(error) }) => Err(Refusal::Server(format!(
            "{} (error {})",
            error.description.unwrap_or_default(),
            error.err_code.unwrap_or_default()
        ))),
        Err(error) => Err(Refusal::Server(format!("unreadable confirmation: {error}"))),
    }
}
