//! What stands before every handler: who calls, and whether they may.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bus::Trail;
use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, Method};
use service::Unauthenticated;
use service::config::Mode;
use service::http::{Code, ProblemResponse, RequestContext};

use super::extract::address;
use crate::access::{Identity, Unknown, Via, decide, identify};
use crate::operations::Operation;
use crate::{Config, Gateway};

/// Who calls, and what the call belongs to. Handlers get it only where the table says that a caller must be known.
pub(crate) struct Caller {
    pub(crate) identity: Identity,
    pub(crate) trail: Trail,
    /// Where it comes from.
    pub(crate) address: Option<IpAddr>,
}

/// A route and its place in the table.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) gateway: Arc<Gateway>,
    pub(super) operation: Operation,
}

/// Lets a request through to its handler, with its caller.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    if !guard.operation.rule().needs_caller() {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    match admit(&guard.gateway, guard.operation, &parts).await {
        Ok(caller) => {
            // A cell, because what is in a request's extensions must be cloneable and a caller goes to one handler.
            parts.extensions.insert(Arc::new(caller));
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn admit(gateway: &Gateway, operation: Operation, parts: &Parts) -> Result<Caller, ProblemResponse> {
    let trail = trail(gateway, parts);
    let found = token(&gateway.config, &parts.headers);
    let via = found.map_or(Via::Nothing, |(_, via)| via);
    let identity = match found {
        None => Err(Unknown::Token(Unauthenticated::Missing)),
        Some((_, Via::Cookie)) if !cookie_may(gateway, parts) => Err(Unknown::CookieOrigin),
        Some((token, via)) => identify(gateway, token, via).await,
    };
    let identity = decide(identity, via, operation, "", &trail.correlation_id)?;
    gateway.edge.count_request(&identity.principal, &parts.extensions).await?;
    Ok(Caller { identity, trail, address: address(&parts.extensions) })
}

fn trail(gateway: &Gateway, parts: &Parts) -> Trail {
    let mut trail = gateway.new_trail();
    if let Some(context) = parts.extensions.get::<RequestContext>() {
        trail.correlation_id.clone_from(&context.correlation_id);
        if let Some(trace) = context.trace() {
            trail.traceparent = Some(trace.traceparent);
            trail.tracestate = trace.tracestate;
        }
    }
    trail
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ProblemResponse> {
        let caller = parts.extensions.remove::<Arc<Self>>().and_then(Arc::into_inner);
        caller
            .ok_or_else(|| ProblemResponse::new(Code::Internal).debug("this route's row in the table wants no caller"))
    }
}

impl Caller {
    /// Refuses what is not the caller's within what they may do.
    pub(crate) fn may(&self, operation: Operation) -> Result<(), ProblemResponse> {
        self.identity.may(operation, "", &self.trail.correlation_id)
    }
}

/// The credential of a request: of its Authorization header, else of the cookie.
pub(crate) fn token<'a>(config: &Config, headers: &'a HeaderMap) -> Option<(&'a str, Via)> {
    if headers.contains_key(AUTHORIZATION) {
        return service::bearer(headers).map(|token| (token, Via::Header));
    }
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let name = config.token_cookie.as_str();
    pairs.find(|(known, _)| !name.is_empty() && *known == name).map(|(_, value)| (value, Via::Cookie))
}

/// Whether a request may use its cookie, which browsers send along whoever made them ask (CSRF): it comes from our own
/// origin or an allowed one, or changes nothing and comes from no page.
fn cookie_may(gateway: &Gateway, parts: &Parts) -> bool {
    let headers = &parts.headers;
    if let Some(origin) = headers.get(ORIGIN) {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str));
        let origin = origin.to_str().unwrap_or("null");
        return gateway.config.allowed_origins.iter().any(|allowed| allowed == origin)
            || host.is_some_and(|host| is_same_origin(origin, host, gateway.platform.mode));
    }
    // Browsers that send no Origin (with a GET of their own) say here where the page was from.
    match headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes) {
        Some(b"same-origin" | b"none") => true,
        Some(_) => false,
        None => matches!(parts.method, Method::GET | Method::HEAD),
    }
}

/// Whether a page is from here. What stands before us may speak TLS for us, so the scheme is what it must be.
fn is_same_origin(origin: &str, host: &str, mode: Mode) -> bool {
    match origin.split_once("://") {
        Some(("https", authority)) => authority.eq_ignore_ascii_case(host),
        Some(("http", authority)) => mode == Mode::Development && authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_from_here_has_our_host_and_a_safe_scheme() {
        let same = |origin, mode| is_same_origin(origin, "api.example.com", mode);
        assert!(same("https://api.example.com", Mode::Production));
        assert!(same("http://api.example.com", Mode::Development));
        for other in
            ["http://api.example.com", "https://api.example.com:444", "https://example.com", "null", "", "https://"]
        {
            assert!(!same(other, Mode::Production), "{other}");
        }
    }
}
