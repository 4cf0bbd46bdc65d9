use axum::extract::FromRequestParts;
use clock::{Clock, Entropy};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::problem::{Code, ProblemResponse};
use crate::telemetry::{TraceContext, current_trace};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

/// Longest id that is taken over from a caller.
const MAX_ID_LEN: usize = 128;

/// What ties a request to everything it causes. An extractor in handlers; made by the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestContext {
    /// Names this request (`X-Request-ID`; the caller's, if it is well-formed).
    pub request_id: String,
    /// Names everything that one call causes (`X-Correlation-ID`; the caller's, else the request's id).
    pub correlation_id: String,
    /// The caller's trace (`traceparent`), where there is a valid one.
    pub caller_trace: Option<TraceContext>,
}

impl RequestContext {
    /// The context of a request with these headers.
    pub fn new(headers: &HeaderMap, clock: &Clock, entropy: &Entropy) -> Self {
        let given = |name| headers.get(name).and_then(well_formed).map(str::to_owned);
        let request_id = given(X_REQUEST_ID).unwrap_or_else(|| entropy.uuid_v7(clock.now_ms()).simple().to_string());
        let correlation_id = given(X_CORRELATION_ID).unwrap_or_else(|| request_id.clone());
        Self { request_id, correlation_id, caller_trace: TraceContext::from_headers(headers) }
    }

    /// The trace to hand on: the current span's, else (where nothing is recorded here) the caller's.
    pub fn trace(&self) -> Option<TraceContext> {
        current_trace().or_else(|| self.caller_trace.clone())
    }

    /// Puts both ids into an answer's headers.
    pub(super) fn answer(&self, headers: &mut HeaderMap) {
        for (name, id) in [(X_REQUEST_ID, &self.request_id), (X_CORRELATION_ID, &self.correlation_id)] {
            if let Ok(value) = HeaderValue::from_str(id) {
                headers.insert(name, value);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self { request_id: "r-1".into(), correlation_id: "c-1".into(), caller_trace: None }
    }
}

/// An id that may go into logs, headers and messages as it is: 1 to 128 characters of `[A-Za-z0-9._-]`.
fn well_formed(value: &HeaderValue) -> Option<&str> {
    let id = value.to_str().ok()?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    ((1..=MAX_ID_LEN).contains(&id.len()) && id.bytes().all(good)).then_some(id)
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ProblemResponse> {
        let missing =
            || ProblemResponse::new(Code::Internal).debug("the router is not wrapped by service::http::Shell");
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}
