//! The protocol without WebSockets.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use bus::{BusError, BusErrorKind};
use contracts::frames::{Resume, STREAM_HEADER};
use contracts::signals::gateway::{Call, Reply};
use futures::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::value::RawValue;
use service::http::{Code, ProblemResponse};
use tokio::sync::mpsc;

use super::extract::{address, bearer, json};
use crate::socket::{self, Arrival, Credential, Stream, Transport};
use crate::streams::{POSTED_BUFFER, Posted};
use crate::{Gateway, nodes, tickets};

/// Events that wait for the client's transport; what waits longer stays in the peer's journal.
const EVENTS_BUFFER: usize = 4;
/// How long another gateway may take to accept frames for its stream, milliseconds.
const FORWARD_WITHIN_MS: u64 = 2_000;

/// `GET /v1/stream`: the server's half as server-sent events.
pub(super) async fn open(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Response, ProblemResponse> {
    let headers = request.headers();
    socket::check(&gateway, request.uri(), headers)?;
    gateway.edge.count_connection(request.extensions()).await?;
    let permit = socket::room(&gateway)?;
    let credential = bearer(headers).map(|token| Credential::Token(token.to_owned()));
    let address = address(request.extensions());
    let resume = headers.get("last-event-id").and_then(|id| last_event(id.to_str().ok()?));
    let (events, told) = mpsc::channel::<Bytes>(EVENTS_BUFFER);
    let key = tickets::secret_of(&gateway.platform.node_id, &gateway.platform.entropy);
    let (listed, posted) = gateway.streams.open(key.clone());
    let transport = Transport::Stream(Stream { _listed: listed, key, events, posted, epoch: String::new() });
    let arrival = Arrival { transport, credential, resume, address, permit };
    let lifecycle = gateway.platform.lifecycle.clone();
    lifecycle.spawn("gateway.stream", socket::run(gateway, arrival));
    // No async closure: with one here an optimised build ends in a cycle of the compiler's queries (E0391).
    let body = stream::unfold(told, |mut told| async move {
        let event = told.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(event), told))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that gather answers before they pass them on would hold every event back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The `id` of the last event: `<epoch>:<offset>`.
fn last_event(id: &str) -> Option<Resume> {
    let (epoch, offset) = id.rsplit_once(':')?;
    Some(Resume { epoch: epoch.to_owned(), offset: offset.parse().ok()? })
}

/// `POST /v1/frames`: the client's half. One frame or a list; 202 when all of them were taken, and their outcomes come on
/// the stream.
pub(super) async fn post(
    State(gateway): State<Arc<Gateway>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, ProblemResponse> {
    socket::check(&gateway, &uri, &headers)?;
    let Some(key) = headers.get(STREAM_HEADER).and_then(|key| key.to_str().ok()) else {
        let rule = "is missing; send the stream_key of the stream's hello";
        return Err(ProblemResponse::new(Code::Validation).violation("Synapse-Stream", rule));
    };
    let frames = frames(&gateway, &headers, &body)?;
    let unknown = || ProblemResponse::new(Code::NotFound).detail("there is no such stream; open a new one");
    let node = tickets::node_of(key).ok_or_else(unknown)?;
    let posted = if node == gateway.platform.node_id {
        gateway.streams.post(key, frames)
    } else {
        let (tenant, trail) = (service::platform_tenant(), gateway.new_trail());
        let call = Call::Frames { stream_key: key.to_owned(), frames };
        let begun = nodes::begin(&gateway, &node, &tenant, &trail, call, FORWARD_WITHIN_MS).await;
        match begun.map_err(not_forwarded)?.reply().await {
            Some(Reply::Taken) => Posted::Taken,
            Some(Reply::Busy) => Posted::Busy,
            _ => Posted::Unknown,
        }
    };
    match posted {
        Posted::Taken => Ok(StatusCode::ACCEPTED),
        Posted::Unknown => Err(unknown()),
        Posted::Busy => {
            let detail = "the stream has frames to work off; none of these was taken";
            Err(ProblemResponse::new(Code::RateLimited).detail(detail).retry_after_s(1))
        }
    }
}

/// Why frames did not go on to the gateway that has the stream.
fn not_forwarded(error: BusError) -> ProblemResponse {
    if error.kind() == BusErrorKind::Invalid {
        let detail = "these frames are too many for a stream at another gateway; post them one by one";
        return ProblemResponse::new(Code::PayloadTooLarge).detail(detail);
    }
    tracing::warn!(%error, "posted frames could not be handed over");
    ProblemResponse::new(Code::Unavailable).detail("the stream's gateway can't be reached").retry_after_s(1)
}

fn frames(gateway: &Gateway, headers: &HeaderMap, body: &Bytes) -> Result<Vec<String>, ProblemResponse> {
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let frames: Vec<Box<RawValue>> = if is_list { json(headers, body)? } else { vec![json(headers, body)?] };
    if frames.is_empty() || frames.len() > POSTED_BUFFER {
        let rule = format!("has {} frames; send 1 to {POSTED_BUFFER}", frames.len());
        return Err(ProblemResponse::new(Code::Validation).violation("body", rule));
    }
    let limit = gateway.config.max_frame_bytes;
    if frames.iter().any(|frame| frame.get().len() > limit) {
        return Err(ProblemResponse::new(Code::PayloadTooLarge).detail(format!("a frame has at most {limit} bytes")));
    }
    Ok(frames.into_iter().map(|frame| frame.get().to_owned()).collect())
}
