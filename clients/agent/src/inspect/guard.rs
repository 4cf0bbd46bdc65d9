//! Who may call the page's server: a browser on this machine that shows the page itself.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Inner;

/// Proves that a call comes from the page: other sites can neither read the token nor send this header.
const TOKEN: HeaderName = HeaderName::from_static("x-inspect-token");

/// A refusal that says what to do.
pub(super) fn refusal(status: StatusCode, error: &str) -> Response {
    (status, axum::Json(json!({ "error": error }))).into_response()
}

/// Lets through what the page, curl and scripts on this machine ask, and nothing that another site makes a browser ask.
pub(super) async fn guard(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    let answer = match check(&inner, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => refusal(StatusCode::FORBIDDEN, error),
    };
    secured(answer)
}

fn check(inner: &Inner, request: &Request) -> Result<(), &'static str> {
    let headers = request.headers();
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(HOST).unwrap_or_default();
    if !is_ours(host, inner.address) {
        return Err("host: the page answers to 127.0.0.1, [::1] and localhost with its own port only");
    }
    if text(ORIGIN).is_some_and(|origin| origin.strip_prefix("http://").is_none_or(|ours| ours != host)) {
        return Err("origin: another site may not ask here");
    }
    let site = text(HeaderName::from_static("sec-fetch-site"));
    let is_page = request.uri().path() == "/";
    if !is_page && site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Err("sec-fetch-site: another site may not ask here");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) && !has_token(inner, headers) {
        return Err("x-inspect-token: must be the page's token; open the page anew if the tunnel was restarted");
    }
    Ok(())
}

/// Names of this machine with the page's port; whatever else resolves to it is somebody's trick (DNS rebinding).
fn is_ours(host: &str, address: SocketAddr) -> bool {
    let port = address.port();
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| host.eq_ignore_ascii_case(&format!("{name}:{port}")))
        || host == address.to_string()
}

/// Whether the caller has read the page.
pub(super) fn has_token(inner: &Inner, headers: &HeaderMap) -> bool {
    let given = headers.get(TOKEN).map(HeaderValue::as_bytes).unwrap_or_default();
    constant_time::verify_slices_are_equal(given, inner.token.as_bytes()).is_ok()
}

fn secured(mut answer: Response) -> Response {
    const HEADERS: [(&str, &str); 7] = [
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ];
    for (name, value) in HEADERS {
        answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_with_the_right_port_are_ours() {
        let address = "127.0.0.1:4040".parse().unwrap();
        for host in ["127.0.0.1:4040", "localhost:4040", "LOCALHOST:4040", "[::1]:4040"] {
            assert!(is_ours(host, address), "{host}");
        }
        for host in [
            "",
            "localhost",
            "127.0.0.1",
            "localhost:4041",
            "evil.test:4040",
            "localhost:4040.evil.test",
            "127.0.0.1.nip.io:4040",
        ] {
            assert!(!is_ours(host, address), "{host}");
        }
    }
}
