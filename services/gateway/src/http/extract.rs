//! What handlers need of a request, read and checked.

use std::net::IpAddr;
use std::sync::Arc;

use auth::{Principal, Role};
use axum::body::Bytes;
use axum::extract::FromRequestParts;
use bus::Trail;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::request::Parts;
use http::{Extensions, HeaderMap};
use serde::de::DeserializeOwned;
use service::Unauthenticated;
use service::http::{ClientAddress, Code, ProblemResponse, RequestContext};

use crate::Gateway;

/// The cookie that may carry the access token.
const TOKEN_COOKIE: &str = "synapse_token";
/// Longest Idempotency-Key, characters (Stripe's limit).
const MAX_KEY_CHARS: usize = 255;

/// Who calls, and what the call belongs to.
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    pub(crate) trail: Trail,
    pub(crate) address: Option<IpAddr>,
}

impl FromRequestParts<Arc<Gateway>> for Caller {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, ProblemResponse> {
        let token = bearer(&parts.headers).ok_or(Unauthenticated::Missing)?;
        let principal = gateway.tokens.verify(token).await?;
        gateway.edge.count_request(&principal, &parts.extensions).await?;
        let mut trail = gateway.new_trail();
        if let Some(context) = parts.extensions.get::<RequestContext>() {
            trail.correlation_id.clone_from(&context.correlation_id);
            if let Some(trace) = context.trace() {
                trail.traceparent = Some(trace.traceparent);
                trail.tracestate = trace.tracestate;
            }
        }
        Ok(Self { principal, trail, address: address(&parts.extensions) })
    }
}

impl Caller {
    /// Whether the caller may see and change what belongs to others of their tenant.
    pub(crate) fn is_admin(&self) -> bool {
        self.principal.role == Role::Admin
    }

    /// Refuses callers that may only look.
    pub(crate) fn may_write(&self) -> Result<(), ProblemResponse> {
        match self.principal.role {
            Role::Admin | Role::User => Ok(()),
            Role::ReadOnly => Err(ProblemResponse::new(Code::Forbidden).detail("this token may only read")),
        }
    }
}

/// The access token of a request: of its Authorization header, else of its cookie.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    if headers.contains_key(AUTHORIZATION) {
        return service::bearer(headers);
    }
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == TOKEN_COOKIE).map(|(_, value)| value)
}

/// Whom a request comes from, past trusted proxies.
pub(crate) fn address(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ClientAddress>().map(|client| client.0)
}

/// Reads a JSON body.
pub(crate) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, ProblemResponse> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !media_type.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json") {
        return Err(ProblemResponse::new(Code::UnsupportedMediaType));
    }
    let malformed = |error: serde_json::Error| {
        ProblemResponse::new(Code::MalformedRequest).detail(format!("the body is not JSON: {error}"))
    };
    let mut text = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut text).map_err(|error| {
        let (path, error) = (error.path().to_string(), error.into_inner());
        if !error.is_data() {
            return malformed(error);
        }
        let message = error.to_string();
        ProblemResponse::new(Code::Validation).violation(field(&path, &message), message)
    })?;
    text.end().map_err(malformed)?;
    Ok(value)
}

/// The field that an error is about. A missing one stands only in the message, and the path is that of its parent.
fn field(path: &str, message: &str) -> String {
    let parent = if path == "." { "body" } else { path };
    match message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
        Some((name, _)) if path == "." => name.to_owned(),
        Some((name, _)) => format!("{path}.{name}"),
        None => parent.to_owned(),
    }
}

/// The Idempotency-Key header: 1 to 255 printable ASCII characters.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<String, ProblemResponse> {
    let Some(value) = headers.get("idempotency-key") else {
        return Err(ProblemResponse::new(Code::IdempotencyKeyMissing));
    };
    let key = value.to_str().unwrap_or("");
    if (1..=MAX_KEY_CHARS).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(key.to_owned());
    }
    let rule = "must be 1 to 255 printable ASCII characters without spaces";
    Err(ProblemResponse::new(Code::Validation).violation("Idempotency-Key", rule))
}

/// An id from the path.
pub(crate) fn id<T: std::str::FromStr<Err = contracts::IdError>>(text: &str) -> Result<T, ProblemResponse> {
    text.parse()
        .map_err(|error: contracts::IdError| ProblemResponse::new(Code::Validation).violation("id", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_from_the_header_or_the_cookie() {
        let with = |name: http::HeaderName, text: &'static str| HeaderMap::from_iter([(name, text.parse().unwrap())]);
        assert_eq!(bearer(&with(AUTHORIZATION, "Bearer a.b.c")), Some("a.b.c"));
        assert_eq!(bearer(&with(AUTHORIZATION, "Basic abc")), None);
        assert_eq!(bearer(&with(COOKIE, "x=1; synapse_token=a.b.c")), Some("a.b.c"));
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn an_idempotency_key_is_needed_and_printable() {
        let with = |text: &str| HeaderMap::from_iter([("idempotency-key".parse().unwrap(), text.parse().unwrap())]);
        assert_eq!(idempotency_key(&with("k-1")).unwrap(), "k-1");
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap_err().code(), Code::IdempotencyKeyMissing);
        assert_eq!(idempotency_key(&with("a b")).unwrap_err().code(), Code::Validation);
        assert_eq!(idempotency_key(&with(&"k".repeat(256))).unwrap_err().code(), Code::Validation);
    }
}
