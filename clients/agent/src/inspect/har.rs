//! Exchanges as HAR 1.2, which browsers' developer tools and others read. Fields of ours begin with `_`, as it says.

use http::HeaderMap;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use serde_json::{Value, json};

use super::book::{Captured, Exchange};
use super::decode::decoded;
use super::view::{Eyes, base64, ms};
use crate::redact::REDACTED;

/// The whole file.
pub(super) fn log<'a>(exchanges: impl Iterator<Item = &'a Exchange>, eyes: Eyes<'_>, max_body: usize) -> Value {
    let creator = json!({ "name": "synapse tunnel", "version": env!("CARGO_PKG_VERSION") });
    let entries: Vec<Value> = exchanges.map(|exchange| entry(exchange, eyes, max_body)).collect();
    json!({ "log": { "version": "1.2", "creator": creator, "entries": entries } })
}

fn entry(exchange: &Exchange, eyes: Eyes<'_>, max_body: usize) -> Value {
    let wait = exchange.answered.map_or(0.0, ms);
    let whole = exchange.ended.map_or(wait, ms);
    let started = i64::try_from(exchange.began_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let mut entry = json!({
        "startedDateTime": started.unwrap_or_default().to_string(),
        "time": whole.max(wait),
        "request": request(exchange, eyes, max_body),
        "response": response(exchange, eyes, max_body),
        "cache": {},
        "timings": { "send": 0, "wait": wait, "receive": (whole - wait).max(0.0) },
        "_id": exchange.id,
    });
    if let Some(of) = exchange.replay_of {
        entry["_replayOf"] = of.into();
    }
    if !exchange.notes.is_empty() {
        entry["comment"] = exchange.notes.join("; ").into();
    }
    if exchange.kind() == "websocket" {
        // As Chromium writes them.
        let messages = exchange.messages.iter().filter(|message| matches!(message.heard.kind, "text" | "binary"));
        let messages = messages.map(|message| {
            let (is_text, payload) = (message.heard.kind == "text", &message.heard.payload);
            json!({
                "type": if message.from_public { "send" } else { "receive" },
                "time": exchange.began_ms as f64 / 1_000.0 + message.after.as_secs_f64(),
                "opcode": if is_text { 1 } else { 2 },
                "data": if is_text { String::from_utf8_lossy(payload).into_owned() } else { base64(payload) },
            })
        });
        entry["_webSocketMessages"] = messages.collect();
    }
    entry
}

fn request(exchange: &Exchange, eyes: Eyes<'_>, max_body: usize) -> Value {
    let path = eyes.path(&exchange.path);
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        json!({ "name": name, "value": value })
    });
    let mut request = json!({
        "method": exchange.method.as_str(),
        "url": format!("http://{}{path}", exchange.authority),
        "httpVersion": "HTTP/1.1",
        "cookies": cookies(&exchange.request_headers, eyes),
        "headers": headers(&exchange.request_headers, eyes),
        "queryString": pairs.collect::<Vec<_>>(),
        "headersSize": -1,
        "bodySize": exchange.request.total,
    });
    if exchange.request.total > 0 {
        let mut data = json!({ "mimeType": content_type(&exchange.request_headers) });
        let (text, encoding) = text(&exchange.request, &exchange.request_headers, max_body);
        data["text"] = text.into();
        if let Some(encoding) = encoding {
            // HAR has no word for it here, only for answers.
            data["_encoding"] = encoding.into();
        }
        note_cut(&mut data, &exchange.request);
        request["postData"] = data;
    }
    request
}

fn response(exchange: &Exchange, eyes: Eyes<'_>, max_body: usize) -> Value {
    let status = exchange.status;
    let location = exchange.response_headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (text, encoding) = text(&exchange.response, &exchange.response_headers, max_body);
    let size = if exchange.response.is_cut() { exchange.response.total } else { text.len() as u64 };
    let mut content = json!({ "size": size, "mimeType": content_type(&exchange.response_headers), "text": text });
    if let Some(encoding) = encoding {
        content["encoding"] = encoding.into();
        content["size"] = exchange.response.total.into();
    }
    note_cut(&mut content, &exchange.response);
    json!({
        // 0 is what browsers write where no answer came.
        "status": status.map_or(0, |status| status.as_u16()),
        "statusText": status.and_then(|status| status.canonical_reason()).unwrap_or_default(),
        "httpVersion": "HTTP/1.1",
        "cookies": set_cookies(&exchange.response_headers, eyes),
        "headers": headers(&exchange.response_headers, eyes),
        "content": content,
        "redirectURL": eyes.header("location", location),
        "headersSize": -1,
        "bodySize": exchange.response.total,
    })
}

fn headers(map: &HeaderMap, eyes: Eyes<'_>) -> Vec<Value> {
    eyes.headers(map).into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn cookies(map: &HeaderMap, eyes: Eyes<'_>) -> Vec<Value> {
    let lines = map.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| cookie(pair, eyes)).collect()
}

fn set_cookies(map: &HeaderMap, eyes: Eyes<'_>) -> Vec<Value> {
    let lines = map.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    lines.filter_map(|line| cookie(line.split(';').next()?, eyes)).collect()
}

fn cookie(pair: &str, eyes: Eyes<'_>) -> Option<Value> {
    let (name, value) = pair.trim().split_once('=')?;
    Some(json!({ "name": name, "value": if eyes.sees_secrets { value } else { REDACTED } }))
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/octet-stream")
}

/// The body without its coding, as text, or as base64.
fn text(body: &Captured, headers: &HeaderMap, max_body: usize) -> (String, Option<&'static str>) {
    let plain = decoded(headers, &body.bytes, max_body).unwrap_or_else(|| body.bytes.clone());
    match String::from_utf8(plain) {
        Ok(text) => (text, None),
        Err(error) => (base64(error.as_bytes()), Some("base64")),
    }
}

fn note_cut(value: &mut Value, body: &Captured) {
    if body.is_cut() {
        let kept = body.bytes.len();
        value["comment"] = format!("cut: the first {kept} of {} bytes were kept", body.total).into();
    }
}
