//! Exchanges as the page reads them.

use std::time::Duration;

use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::book::{Captured, Exchange, Message};
use crate::redact::Redaction;

/// Which exchanges to show. What is left out matches everything.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Filter {
    /// `GET`; case does not matter.
    pub(super) method: Option<String>,
    /// `404`, or a class: `4xx`.
    pub(super) status: Option<String>,
    /// A part of path and query.
    pub(super) path: Option<String>,
}

impl Filter {
    pub(super) fn matches(&self, exchange: &Exchange) -> bool {
        let status = exchange.status.map(|status| status.as_str().to_owned()).unwrap_or_default();
        let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        given(&self.method).is_none_or(|method| exchange.method.as_str().eq_ignore_ascii_case(&method))
            && given(&self.path).is_none_or(|path| exchange.path.contains(&path))
            && given(&self.status).is_none_or(|wanted| {
                let class = wanted.to_ascii_lowercase();
                class
                    .strip_suffix("xx")
                    .map_or(status == wanted, |first| !status.is_empty() && status.starts_with(first))
            })
    }
}

/// Hides secrets, or does not.
#[derive(Clone, Copy)]
pub(super) struct Eyes<'a> {
    pub(super) redaction: &'a Redaction,
    pub(super) sees_secrets: bool,
}

impl Eyes<'_> {
    pub(super) fn path(&self, path: &str) -> String {
        if self.sees_secrets { path.to_owned() } else { self.redaction.path(path).into_owned() }
    }

    pub(super) fn header(&self, name: &str, value: &str) -> String {
        if self.sees_secrets { value.to_owned() } else { self.redaction.header(name, value).into_owned() }
    }

    /// Names and values in the order they came.
    pub(super) fn headers(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.iter().map(|(name, value)| (name.to_string(), self.header(name.as_str(), &text(value)))).collect()
    }
}

/// A line of the list.
pub(super) fn summary(exchange: &Exchange, eyes: Eyes<'_>) -> Value {
    json!({
        "id": exchange.id,
        "tunnel": exchange.source,
        "kind": exchange.kind(),
        "method": exchange.method.as_str(),
        "path": eyes.path(&exchange.path),
        "status": exchange.status.map(|status| status.as_u16()),
        "began_ms": exchange.began_ms,
        "first_byte_ms": exchange.answered.map(ms),
        "took_ms": exchange.ended.map(ms),
        "request_bytes": exchange.request.total,
        "response_bytes": exchange.response.total,
        "messages": exchange.message_count,
        "replay_of": exchange.replay_of,
        "notes": exchange.notes,
    })
}

/// Everything but the bodies, with the messages after number `after`.
pub(super) fn detail(exchange: &Exchange, eyes: Eyes<'_>, after: u64) -> Value {
    let mut view = summary(exchange, eyes);
    let first = exchange.messages.front().map_or(exchange.message_count, |message| message.number - 1);
    view["host"] = exchange.authority.clone().into();
    view["request"] = json!({
        "headers": eyes.headers(&exchange.request_headers),
        "body": body(&exchange.request, &exchange.request_headers),
    });
    view["response"] = json!({
        "headers": eyes.headers(&exchange.response_headers),
        "trailers": eyes.headers(&exchange.trailers),
        "body": body(&exchange.response, &exchange.response_headers),
    });
    view["messages_skipped"] = first.into();
    let newer = exchange.messages.iter().filter(|message| message.number > after);
    view["message_list"] = newer.map(message).collect();
    view
}

fn body(body: &Captured, headers: &HeaderMap) -> Value {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    json!({
        "bytes": body.total,
        "kept_bytes": body.bytes.len(),
        "is_cut": body.is_cut(),
        "is_whole": body.is_whole(),
        "content_type": text(http::header::CONTENT_TYPE),
        "content_encoding": text(http::header::CONTENT_ENCODING),
    })
}

fn message(message: &Message) -> Value {
    let heard = &message.heard;
    let is_text = matches!(heard.kind, "text" | "event" | "close" | "ping" | "pong");
    let payload = match std::str::from_utf8(close_reason(heard.kind, &heard.payload)) {
        Ok(text) if is_text => json!({ "text": text }),
        _ => json!({ "base64": base64(&heard.payload) }),
    };
    let code = (heard.kind == "close" && heard.payload.len() >= 2)
        .then(|| u16::from_be_bytes([heard.payload[0], heard.payload[1]]));
    json!({
        "number": message.number,
        "after_ms": ms(message.after),
        "from_public": message.from_public,
        "kind": heard.kind,
        "name": heard.name,
        "code": code,
        "bytes": heard.total,
        "is_cut": heard.total > heard.payload.len() as u64,
        "payload": payload,
    })
}

/// A close frame's text stands after its code (RFC 6455 §5.5.1).
fn close_reason<'a>(kind: &str, payload: &'a [u8]) -> &'a [u8] {
    if kind == "close" { payload.get(2..).unwrap_or_default() } else { payload }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Milliseconds with a thousandth.
pub(super) fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;

    #[test]
    fn filters_narrow_the_list_by_method_status_and_path() {
        let mut exchange = Exchange::new(1, 0, Method::POST, "/orders?page=2".into());
        exchange.status = Some(StatusCode::NOT_FOUND);
        let filter = |method: &str, status: &str, path: &str| Filter {
            method: Some(method.into()),
            status: Some(status.into()),
            path: Some(path.into()),
        };
        for (filter, matches) in [
            (Filter::default(), true),
            (filter("", "", ""), true),
            (filter("post", "404", "orders"), true),
            (filter("POST", "4xx", "page=2"), true),
            (filter("GET", "", ""), false),
            (filter("", "5xx", ""), false),
            (filter("", "40", ""), false),
            (filter("", "", "customers"), false),
        ] {
            assert_eq!(filter.matches(&exchange), matches, "{filter:?}");
        }
        exchange.status = None;
        assert!(!filter("", "4xx", "").matches(&exchange), "an exchange without an answer has no status");
    }

    #[test]
    fn a_close_says_its_code_and_its_reason() {
        let heard = super::super::book::Heard { kind: "close", name: None, payload: b"\x03\xe8bye".to_vec(), total: 5 };
        let view = message(&Message { number: 1, after: Duration::from_micros(1_500), from_public: true, heard });
        assert_eq!((view["code"].as_u64(), view["payload"]["text"].as_str()), (Some(1_000), Some("bye")));
        assert_eq!(view["after_ms"], 1.5);
    }
}
