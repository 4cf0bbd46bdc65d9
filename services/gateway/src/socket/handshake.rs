use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::Response;
use contracts::frames::SUBPROTOCOL;
use http::HeaderMap;
use http::header::{ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use service::http::{Code, ProblemResponse};

use super::connection;
use crate::Gateway;

/// Turns the request into a WebSocket, or says why not.
pub(crate) async fn upgrade(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Result<Response, ProblemResponse> {
    let headers = request.headers();
    check_origin(&gateway.config.allowed_origins, headers)?;
    check_protocol(headers)?;
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map_err(|rejection| {
        ProblemResponse::new(Code::MalformedRequest).detail(format!("{rejection}; open this address as a WebSocket"))
    })?;
    let permit = Arc::clone(&gateway.connections).try_acquire_owned().map_err(|_| {
        ProblemResponse::new(Code::Unavailable)
            .detail("this process has as many connections as it may")
            .retry_after_s(5)
    })?;
    let limit = gateway.config.max_frame_bytes;
    // Small buffers: a connection that is idle should cost next to nothing (axum's default is 128 KiB each).
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(512)
        .write_buffer_size(0)
        .max_write_buffer_size(limit * 2)
        .max_message_size(limit)
        .max_frame_size(limit);
    let host = Arc::clone(&gateway);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let lifecycle = host.platform.lifecycle.clone();
        // Tracked, so that draining waits for it: axum's own upgrade task is not.
        lifecycle.spawn("gateway.connection", connection::run(host, socket, permit));
    }))
}

fn check_origin(allowed: &[String], headers: &HeaderMap) -> Result<(), ProblemResponse> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    if allowed.iter().any(|known| known.as_bytes() == origin.as_bytes()) {
        return Ok(());
    }
    let detail = "this origin may not open WebSockets here; add it to the gateway's allowed_origins";
    Err(ProblemResponse::new(Code::Forbidden).detail(detail))
}

fn check_protocol(headers: &HeaderMap) -> Result<(), ProblemResponse> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    if offered.flat_map(|value| value.split(',')).any(|name| name.trim() == SUBPROTOCOL) {
        return Ok(());
    }
    let detail = format!("offer a supported protocol in Sec-WebSocket-Protocol; supported: {SUBPROTOCOL}");
    Err(ProblemResponse::new(Code::UnsupportedProtocol).detail(detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_supported_protocol_is_taken() {
        let offer = |text: &'static str| HeaderMap::from_iter([(SEC_WEBSOCKET_PROTOCOL, text.parse().unwrap())]);
        assert!(check_protocol(&offer("synapse.v9, synapse.v1")).is_ok());
        assert!(check_protocol(&offer("synapse.v2")).is_err());
        assert!(check_protocol(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_browser_needs_a_known_origin_and_others_none() {
        let from = |text: &'static str| HeaderMap::from_iter([(ORIGIN, text.parse().unwrap())]);
        let allowed = ["https://app.example.com".to_owned()];
        assert!(check_origin(&allowed, &HeaderMap::new()).is_ok());
        assert!(check_origin(&allowed, &from("https://app.example.com")).is_ok());
        assert!(check_origin(&allowed, &from("https://app.example.com.evil.test")).is_err());
        assert!(check_origin(&[], &from("null")).is_err());
    }
}
