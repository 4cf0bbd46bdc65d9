//! What the public is told when there is no answer of an origin: a page for people, a problem for programs.

use axum::body::Body;
use axum::response::Response;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use service::http::{ProblemResponse, RequestContext};

use crate::Edge;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");

/// The whole answer.
pub(crate) fn answer(edge: &Edge, problem: ProblemResponse, context: &RequestContext, asked: &HeaderMap) -> Response {
    let fields = problem.headers().to_vec();
    let body = edge.problem_body(problem, context);
    let html = wants_html(asked);
    let text = if html { page(&body) } else { serde_json::to_string(&body).expect("a problem is plain data") };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(body.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let kind = if html { "text/html; charset=utf-8" } else { "application/problem+json" };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = body.retry_after_s {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    headers.extend(fields.into_iter().map(|(name, value)| (Some(name), value)));
    for (name, value) in [(X_REQUEST_ID, &context.request_id), (X_ERROR_CODE, &body.code)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}

/// Browsers name HTML; everything else gets what programs read.
fn wants_html(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|kind| kind.split(';').next().unwrap_or("").trim() == "text/html")
}

fn page(problem: &contracts::http::Problem) -> String {
    let detail = problem.detail.as_deref().unwrap_or("");
    let suggestion = problem.suggestion.as_deref().unwrap_or("");
    include_str!("answers.html")
        .replace("{status}", &problem.status.to_string())
        .replace("{title}", &escape(&problem.title))
        .replace("{detail}", &escape(detail))
        .replace("{suggestion}", &escape(suggestion))
        .replace("{code}", &escape(&problem.code))
        .replace("{request}", &escape(&problem.correlation_id))
        .replace("{time}", &escape(&problem.timestamp))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('{', "&#123;")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_a_page_and_programs_a_problem() {
        let asks = |accept: &'static str| HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        assert!(wants_html(&asks("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")));
        assert!(!wants_html(&asks("*/*")));
        assert!(!wants_html(&asks("application/json")));
        assert!(!wants_html(&HeaderMap::new()));
    }

    #[test]
    fn nothing_of_a_request_becomes_markup() {
        assert_eq!(escape("<script>\"&{title}"), "&lt;script&gt;&quot;&amp;&#123;title}");
    }
}
