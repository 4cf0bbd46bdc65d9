//! The API's document, and pages that show it: nothing on them comes from elsewhere.

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use crate::openapi;

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

/// `GET /openapi.json`.
pub(super) async fn document() -> Response {
    file("application/json", openapi::document_text())
}

/// `GET /docs` and `GET /docs/errors`: one page; which one it is, it reads in the address.
pub(super) async fn page() -> Response {
    let mut response = file("text/html; charset=utf-8", include_str!("docs/page.html"));
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// `GET /docs/page.css`.
pub(super) async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("docs/page.css"))
}

/// `GET /docs/page.js`.
pub(super) async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("docs/page.js"))
}

fn file(media_type: &'static str, text: &'static str) -> Response {
    // A new version of the gateway is seen at once; the files are small.
    ([(CONTENT_TYPE, media_type), (CACHE_CONTROL, "no-cache")], text).into_response()
}
