use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use contracts::http::TicketIssued;
use http::header::{CACHE_CONTROL, HeaderValue};
use http::{HeaderMap, StatusCode};
use service::http::{Code, ProblemResponse};

use super::guard::{Caller, token};
use crate::Gateway;

/// `POST /v1/tickets`: a one-use ticket that stands for the caller's token for a short time.
pub(super) async fn issue(
    State(gateway): State<Arc<Gateway>>,
    _caller: Caller,
    headers: HeaderMap,
) -> Result<impl axum::response::IntoResponse, ProblemResponse> {
    let platform = &gateway.platform;
    let now_ms = platform.clock.now_ms();
    let found = token(&gateway.config, &headers);
    let (token, _) = found.ok_or_else(|| ProblemResponse::new(Code::AuthenticationMissing))?;
    let (ticket, expires_at_ms) = gateway.tickets.issue(token, now_ms, &platform.entropy).ok_or_else(|| {
        let wait_s = gateway.config.ticket_ttl_ms.div_ceil(1_000);
        ProblemResponse::new(Code::Unavailable).detail("too many tickets are open").retry_after_s(wait_s)
    })?;
    let issued = TicketIssued { ticket, expires_at_ms };
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(issued)))
}
