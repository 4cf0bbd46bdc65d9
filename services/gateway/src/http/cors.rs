//! Which pages in browsers may call (CORS, as the Fetch standard has it), and which may not use a user's cookie.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    AUTHORIZATION, COOKIE, HOST, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use service::http::{Code, ProblemResponse};

use crate::Gateway;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-none-match, last-event-id, synapse-proof, synapse-stream, traceparent, tracestate, \
     x-correlation-id, x-request-id",
);
const ANSWER_HEADERS: HeaderValue = HeaderValue::from_static(
    "etag, location, ratelimit, ratelimit-policy, retry-after, x-correlation-id, x-error-code, x-request-id",
);
/// How long browsers keep a preflight's answer, seconds.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("600");

/// Around every route.
pub(super) async fn around(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let origin = headers.get(ORIGIN).cloned();
    let is_allowed = origin
        .as_ref()
        .is_some_and(|origin| gateway.config.allowed_origins.iter().any(|known| known.as_bytes() == origin.as_bytes()));
    let is_preflight = request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight && origin.is_some() {
        preflight(is_allowed)
    } else if let Some(origin) = origin.as_ref().filter(|_| !is_allowed)
        && abuses_cookie(request.method(), headers, origin)
    {
        let detail = "a page of this origin may not use the cookie here; add it to the gateway's allowed_origins";
        ProblemResponse::new(Code::Forbidden).detail(detail).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    // Also without an origin: a cache must not hand this answer to a page.
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin.filter(|_| is_allowed) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS);
    }
    response
}

fn preflight(is_allowed: bool) -> Response {
    if !is_allowed {
        let detail = "this origin may not call here; add it to the gateway's allowed_origins";
        return ProblemResponse::new(Code::Forbidden).detail(detail).into_response();
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
    let asked = "access-control-request-method, access-control-request-headers";
    headers.append(VARY, HeaderValue::from_static(asked));
    response
}

/// Whether a page of a strange origin would change something with nothing but the user's cookie (browsers send simple
/// requests without asking first).
fn abuses_cookie(method: &Method, headers: &HeaderMap, origin: &HeaderValue) -> bool {
    let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let by_cookie = headers.contains_key(COOKIE) && !headers.contains_key(AUTHORIZATION);
    changes && by_cookie && !is_own(headers, origin)
}

/// Whether the page comes from where it calls.
fn is_own(headers: &HeaderMap, origin: &HeaderValue) -> bool {
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    authority.is_some() && authority == host
}
