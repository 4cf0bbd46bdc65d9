use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::Response;
use contracts::frames::{SUBPROTOCOL, SUBPROTOCOL_CBOR, TICKET_PREFIX};
use http::header::{ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, Uri};
use service::http::{Code, ProblemResponse};
use tokio::sync::OwnedSemaphorePermit;

use super::codec::Codec;
use super::connection::{self, Arrival};
use super::papers::Credential;
use super::transport::Transport;
use crate::Gateway;
use crate::http::{address, bearer};

/// Names that secrets are put into addresses by.
const SECRETS: [&str; 7] = ["token", "access_token", "ticket", "proof", "jwt", "authorization", "stream_key"];

/// Turns the request into a WebSocket, or says why not.
pub(crate) async fn upgrade(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Result<Response, ProblemResponse> {
    let headers = request.headers();
    let (codec, ticket) = negotiate(headers)?;
    check(&gateway, request.uri(), headers)?;
    let credential = ticket.or_else(|| bearer(headers).map(|token| Credential::Token(token.to_owned())));
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map_err(|rejection| {
        ProblemResponse::new(Code::MalformedRequest).detail(format!("{rejection}; open this address as a WebSocket"))
    })?;
    gateway.edge.count_connection(&parts.extensions).await?;
    let permit = room(&gateway)?;
    let address = address(&parts.extensions);
    let limit = gateway.config.max_frame_bytes;
    // Small buffers: a connection that is idle should cost next to nothing (axum's default is 128 KiB each).
    let upgrade = upgrade
        .protocols([codec.protocol()])
        .read_buffer_size(512)
        .write_buffer_size(0)
        .max_write_buffer_size(limit * 2)
        .max_message_size(limit)
        .max_frame_size(limit);
    let host = Arc::clone(&gateway);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let lifecycle = host.platform.lifecycle.clone();
        let transport = Transport::Socket { socket: Box::new(socket), codec };
        let arrival = Arrival { transport, credential, resume: None, address, permit };
        // Tracked, so that draining waits for it: axum's own upgrade task is not.
        lifecycle.spawn("gateway.connection", connection::run(host, arrival));
    }))
}

/// What every road into the gateway demands of a request.
pub(crate) fn check(gateway: &Gateway, uri: &Uri, headers: &HeaderMap) -> Result<(), ProblemResponse> {
    check_query(uri)?;
    check_origin(&gateway.config.allowed_origins, headers)
}

/// Room for one connection more.
pub(crate) fn room(gateway: &Gateway) -> Result<OwnedSemaphorePermit, ProblemResponse> {
    Arc::clone(&gateway.connections).try_acquire_owned().map_err(|_| {
        ProblemResponse::new(Code::Unavailable)
            .detail("this process has as many connections as it may")
            .retry_after_s(5)
    })
}

/// Addresses end up in logs and histories: no secret may stand in one.
fn check_query(uri: &Uri) -> Result<(), ProblemResponse> {
    let named = uri.query().unwrap_or("").split('&').map(|pair| pair.split('=').next().unwrap_or(""));
    let mut secrets = named.filter(|name| SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret))).peekable();
    if secrets.peek().is_none() {
        return Ok(());
    }
    let rule = "no secret goes into an address, where logs keep it; consider this one known, get another and send it in \
                the auth frame, in the Authorization header or as a ticket in Sec-WebSocket-Protocol";
    Err(secrets.fold(ProblemResponse::new(Code::Validation), |problem, name| problem.violation(name, rule)))
}

fn check_origin(allowed: &[String], headers: &HeaderMap) -> Result<(), ProblemResponse> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    if allowed.iter().any(|known| known.as_bytes() == origin.as_bytes()) {
        return Ok(());
    }
    let detail = "this origin may not open connections here; add it to the gateway's allowed_origins";
    Err(ProblemResponse::new(Code::Forbidden).detail(detail))
}

/// The first protocol on the client's list that is supported, and the ticket among them.
fn negotiate(headers: &HeaderMap) -> Result<(Codec, Option<Credential>), ProblemResponse> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let (mut codec, mut ticket) = (None, None);
    for name in offered.flat_map(|value| value.split(',')).map(str::trim) {
        codec = codec.or_else(|| Codec::ALL.into_iter().find(|codec| codec.protocol() == name));
        ticket =
            ticket.or_else(|| name.strip_prefix(TICKET_PREFIX).map(|ticket| Credential::Ticket(ticket.to_owned())));
    }
    let unsupported = || {
        let detail = format!(
            "offer a supported protocol in Sec-WebSocket-Protocol; supported: {SUBPROTOCOL}, {SUBPROTOCOL_CBOR}"
        );
        ProblemResponse::new(Code::UnsupportedProtocol).detail(detail)
    };
    Ok((codec.ok_or_else(unsupported)?, ticket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_first_supported_protocol_is_taken() {
        let offer = |text: &'static str| {
            let headers = HeaderMap::from_iter([(SEC_WEBSOCKET_PROTOCOL, text.parse().unwrap())]);
            negotiate(&headers).map(|(codec, ticket)| (codec, ticket.is_some()))
        };
        assert_eq!(offer("synapse.v9, synapse.v1").unwrap(), (Codec::Json, false));
        assert_eq!(offer("synapse.v1.cbor, synapse.v1").unwrap(), (Codec::Cbor, false));
        assert_eq!(offer("ticket.node-1.00, synapse.v1").unwrap(), (Codec::Json, true));
        assert!(offer("synapse.v2").is_err() && offer("ticket.node-1.00").is_err());
        assert!(negotiate(&HeaderMap::new()).is_err());
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

    #[test]
    fn secrets_in_addresses_are_refused_by_name() {
        for bad in ["/v1/ws?token=a.b.c", "/v1/ws?x=1&Access_Token=a", "/v1/stream?ticket"] {
            assert!(check_query(&bad.parse().unwrap()).is_err(), "{bad}");
        }
        assert!(check_query(&"/v1/ws?version=2".parse().unwrap()).is_ok());
    }
}
