//! Stripe's endpoint: the one place that names HTTP statuses here.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::post;
use axum::{Json, Router};
use bus::Trail;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName};
use http_body_util::{BodyExt, LengthLimitError};
use serde::Serialize;
use service::http::{Code, ProblemResponse, RequestContext};

use crate::endpoint::Endpoint;
use crate::signature::Refused;
use crate::{Webhook, intake};

/// Where Stripe puts its signature.
const SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");

/// When Stripe may try again, seconds. (It keeps its own schedule; other senders may heed it.)
const RETRY_AFTER_S: u64 = 5;

/// What Stripe is told; it reads the status only.
#[derive(Serialize)]
struct Received {
    received: bool,
}

/// The routes: one per endpoint.
pub(crate) fn router(webhook: &Arc<Webhook>) -> Router {
    let route = |router: Router, endpoint: &Arc<Endpoint>| {
        let state = (Arc::clone(webhook), Arc::clone(endpoint));
        router.merge(Router::new().route(&endpoint.path, post(receive)).with_state(state))
    };
    webhook.endpoints.iter().fold(Router::new(), route)
}

type At = (Arc<Webhook>, Arc<Endpoint>);

async fn receive(State((webhook, endpoint)): State<At>, request: Request) -> Result<Json<Received>, ProblemResponse> {
    let Ok(_place) = webhook.room.try_acquire() else {
        count("overloaded");
        return Err(unavailable("too many events at once; send it again"));
    };
    let (clock, config) = (&webhook.platform.clock, &webhook.config);
    let (parts, body) = request.into_parts();
    let trail = trail(&webhook, parts.extensions.get::<RequestContext>());
    let reading = read(&parts.headers, body, config.max_body_bytes);
    let body = clock.timeout(Duration::from_millis(config.body_timeout_ms), reading).await;
    let body = body.unwrap_or_else(|| {
        count("slow");
        let detail = format!("the body took longer than {} ms", config.body_timeout_ms);
        Err(ProblemResponse::new(Code::RequestTimeout).detail(detail))
    })?;
    let verified = signature(&parts.headers).and_then(|header| endpoint.verifier.verify(header, &body, clock.now_ms()));
    if let Err(refused) = verified {
        let (endpoint, reason) = (endpoint.name.as_str(), refused.name());
        tracing::warn!(endpoint, reason, bytes = body.len(), "a webhook was refused: its signature is not good");
        count(refused.name());
        return Err(ProblemResponse::new(Code::InvalidSignature).detail(refused.to_string()));
    }
    let taking = intake::take_in(&webhook, &endpoint, &body, &trail);
    match clock.timeout(Duration::from_millis(config.store_timeout_ms), taking).await {
        Some(Ok(outcome)) => {
            metrics::counter!("synapse_webhook_events_total", "outcome" => outcome.name()).increment(1);
            Ok(Json(Received { received: true }))
        }
        // Whatever it was: Stripe sends it again for three days, so that it can still be repaired.
        Some(Err(error)) => {
            count("store_failed");
            tracing::error!(error = &error as &dyn std::error::Error, "an event could not be stored");
            Err(unavailable("the event could not be stored; send it again"))
        }
        None => {
            count("store_slow");
            Err(unavailable("the event was not stored in time; send it again"))
        }
    }
}

fn signature(headers: &HeaderMap) -> Result<&[u8], Refused> {
    let mut found = headers.get_all(SIGNATURE).iter();
    match (found.next(), found.next()) {
        (Some(header), None) => Ok(header.as_bytes()),
        (None, _) => Err(Refused::Missing),
        (Some(_), Some(_)) => Err(Refused::Several),
    }
}

/// Reads a body of at most `max` bytes. One that is somewhat longer is read to its end before it is refused: to close
/// the connection while the sender still writes would lose the answer.
async fn read(headers: &HeaderMap, body: Body, max: usize) -> Result<Bytes, ProblemResponse> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let (mut body, mut read, mut seen) = (body, BytesMut::new(), 0_usize);
    if announced.is_some_and(|length| length > 2 * max as u64) {
        return Err(too_large(max));
    }
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) if is_limit(&error) => return Err(too_large(max)),
            Err(error) => {
                count("broken_off");
                return Err(ProblemResponse::new(Code::MalformedRequest)
                    .detail("the body broke off")
                    .debug(error.to_string()));
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen > max.saturating_mul(2) {
            return Err(too_large(max));
        }
        if seen <= max {
            read.extend_from_slice(&data);
        }
    }
    if seen > max { Err(too_large(max)) } else { Ok(read.freeze()) }
}

/// Whether the shell's own limit was met.
fn is_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<LengthLimitError>())
}

fn too_large(max: usize) -> ProblemResponse {
    count("too_large");
    ProblemResponse::new(Code::PayloadTooLarge).detail(format!("the body is over {max} bytes"))
}

fn unavailable(detail: &str) -> ProblemResponse {
    ProblemResponse::new(Code::Unavailable).detail(detail).retry_after_s(RETRY_AFTER_S)
}

fn count(reason: &'static str) {
    metrics::counter!("synapse_webhook_refused_total", "reason" => reason).increment(1);
}

fn trail(webhook: &Webhook, context: Option<&RequestContext>) -> Trail {
    let mut trail = Trail::fresh(&webhook.platform.clock, &webhook.platform.entropy);
    if let Some(context) = context {
        trail.correlation_id.clone_from(&context.correlation_id);
        if let Some(trace) = context.trace() {
            trail.traceparent = Some(trace.traceparent);
            trail.tracestate = trace.tracestate;
        }
    }
    trail
}
