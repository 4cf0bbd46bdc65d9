//! Problems: the one form of an error in a public answer (RFC 9457), with stable codes.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use clock::{Clock, Entropy};
use contracts::http::{Problem, Violation};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::RequestContext;
pub use super::problem_table::Code;
use crate::config::Mode;
use crate::time::rfc3339;

/// Where the codes are explained; the code is appended. A relative reference (RFC 9457 §3.1.1 allows it): it leads to
/// the documentation of whatever installation answers.
const TYPE_BASE: &str = "/docs/errors#";

/// The media type.
pub(super) const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

const X_ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");

/// Most violations that are told at once.
const MAX_VIOLATIONS: usize = 100;

impl Code {
    /// The code as programs see it.
    pub const fn as_str(self) -> &'static str {
        self.entry().code
    }

    /// The HTTP status it goes with.
    pub const fn status(self) -> u16 {
        self.entry().status
    }

    /// What it means, in a few words.
    pub const fn title(self) -> &'static str {
        self.entry().title
    }

    /// What the caller can do.
    pub const fn suggestion(self) -> &'static str {
        self.entry().suggestion
    }
}

/// An error answer in the making. As a response it is filled in by the [`super::Shell`] around the router (ids, time,
/// mode); for a WebSocket frame call [`ProblemResponse::into_body`].
#[derive(Clone, Debug)]
pub struct ProblemResponse {
    code: Code,
    detail: Option<String>,
    retry_after_s: Option<u64>,
    violations: Vec<Violation>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Few have it, and a result with a large error costs on the good way too.
    extra: Option<Box<Extra>>,
}

#[derive(Clone, Debug, Default)]
struct Extra {
    debug: Option<String>,
    members: BTreeMap<String, Value>,
}

impl ProblemResponse {
    /// A problem of this kind.
    pub fn new(code: Code) -> Self {
        Self { code, detail: None, retry_after_s: None, violations: Vec::new(), headers: Vec::new(), extra: None }
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The answer's own headers, for whoever renders the body by himself.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// What happened this time; shown to the caller, so nothing internal.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// When trying again makes sense, seconds; also sent as `Retry-After`.
    #[must_use]
    pub fn retry_after_s(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// A rule that was broken; call it once for each. At most 100 are told.
    #[must_use]
    pub fn violation(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(Violation { field: field.into(), message: message.into() });
        }
        self
    }

    /// Internals for developers; shown in development mode only.
    #[must_use]
    pub fn debug(mut self, debug: impl Into<String>) -> Self {
        self.extra.get_or_insert_default().debug = Some(debug.into());
        self
    }

    /// Something that this code says besides, under a name of its own (RFC 9457 §3.2). Not one of the problem's own
    /// members: those win.
    #[must_use]
    pub fn member(mut self, name: &str, value: Value) -> Self {
        self.extra.get_or_insert_default().members.insert(name.to_owned(), value);
        self
    }

    /// A header of the answer (`WWW-Authenticate`, `RateLimit`, …).
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The body. Details of a 500 and debug information are left out in production.
    pub fn into_body(self, context: &RequestContext, mode: Mode, clock: &Clock, entropy: &Entropy) -> Problem {
        let entry = self.code.entry();
        let now_ms = clock.now_ms();
        let development = mode == Mode::Development;
        let Extra { debug, members } = self.extra.map(|extra| *extra).unwrap_or_default();
        Problem {
            kind: format!("{TYPE_BASE}{}", entry.code),
            title: entry.title.to_owned(),
            status: entry.status,
            detail: self.detail.filter(|_| development || self.code != Code::Internal),
            code: entry.code.to_owned(),
            error_id: entropy.uuid_v7(now_ms).to_string(),
            correlation_id: context.correlation_id.clone(),
            timestamp: rfc3339(now_ms),
            suggestion: Some(entry.suggestion.to_owned()),
            retry_after_s: self.retry_after_s,
            violations: self.violations,
            debug: debug.filter(|_| development),
            members,
        }
    }

    /// The complete answer.
    pub(super) fn render(self, context: &RequestContext, mode: Mode, clock: &Clock, entropy: &Entropy) -> Response {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        let (code, debug) = (self.code, self.extra.as_ref().and_then(|extra| extra.debug.clone()));
        let problem = self.into_body(context, mode, clock, entropy);
        headers.insert(CONTENT_TYPE, MEDIA_TYPE);
        headers.insert(X_ERROR_CODE, HeaderValue::from_static(code.as_str()));
        if let Some(seconds) = problem.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if code.status() >= 500 {
            let (error_id, cause) = (&problem.error_id, debug.unwrap_or_default());
            let correlation_id = &context.correlation_id;
            tracing::error!(code = code.as_str(), error_id, correlation_id, cause, "request failed");
        }
        let body = serde_json::to_vec(&problem).expect("a problem is texts and numbers");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status(code);
        *response.headers_mut() = headers;
        response
    }
}

/// Leaves the problem in the response's extensions: the shell knows ids, time and mode, and writes the body.
impl IntoResponse for ProblemResponse {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status(self.code);
        response.headers_mut().insert(X_ERROR_CODE, HeaderValue::from_static(self.code.as_str()));
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Code> for ProblemResponse {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

fn status(code: Code) -> StatusCode {
    StatusCode::from_u16(code.status()).expect("the table has statuses from 400 to 599")
}

/// The page of all codes (Markdown), from the same table the answers are made of.
pub fn codes_page() -> String {
    let mut page = String::from(
        "# Errors\n\n\
         Every error is `application/problem+json` (RFC 9457). Programs decide by `code` (also in the header\n\
         `X-Error-Code`), which never changes its meaning. `error_id` names the occurrence, `correlation_id` everything\n\
         that one call caused; quote them to support. `detail`, `violations` and `retry_after_s` are there where they\n\
         apply; `debug` only in development mode.\n\n\
         | code | status | meaning | what to do |\n|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let entry = code.entry();
        let name = entry.code;
        page +=
            &format!("| <a id=\"{name}\"></a>`{name}` | {} | {} | {} |\n", entry.status, entry.title, entry.suggestion);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_have_an_error_status_and_a_suggestion() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            let entry = code.entry();
            assert!(seen.insert(entry.code), "{} is there twice", entry.code);
            assert!((400..600).contains(&entry.status));
            assert!(entry.suggestion.ends_with('.') && !entry.title.is_empty());
            assert!(entry.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            assert!(codes_page().contains(&format!("| {} | {} |", entry.status, entry.title)));
        }
    }

    #[test]
    fn internals_are_shown_in_development_only() {
        let body = |mode, code| {
            let problem = ProblemResponse::new(code).detail("d").debug("stack").violation("f", "m");
            problem.into_body(&RequestContext::sample(), mode, &Clock::manual(0).0, &Entropy::seeded(1))
        };
        let shown = body(Mode::Development, Code::Internal);
        assert_eq!((shown.detail.as_deref(), shown.debug.as_deref()), (Some("d"), Some("stack")));
        let hidden = body(Mode::Production, Code::Internal);
        assert_eq!((hidden.detail, hidden.debug), (None, None));
        let refusal = body(Mode::Production, Code::NotFound);
        assert_eq!((refusal.detail.as_deref(), refusal.debug), (Some("d"), None));
        assert_eq!((refusal.code.as_str(), refusal.status, refusal.correlation_id.as_str()), ("not_found", 404, "c-1"));
        assert_eq!(refusal.violations.len(), 1);
    }
}
