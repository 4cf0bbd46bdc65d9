use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use contracts::http::TicketIssued;
use http::header::{CACHE_CONTROL, HeaderValue};
use http::{HeaderMap, StatusCode};
use service::http::{Code, ProblemResponse};

use super::extract::{Caller, bearer};
use crate::Gateway;
use crate::tickets::TICKET_TTL_MS;

/// `POST /v1/tickets`: a one-use ticket that stands for the caller's token for 30 s.
pub(super) async fn issue(
    State(gateway): State<Arc<Gateway>>,
    _caller: Caller,
    headers: HeaderMap,
) -> Result<impl axum::response::IntoResponse, ProblemResponse> {
    let platform = &gateway.platform;
    let now_ms = platform.clock.now_ms();
    let token = bearer(&headers).ok_or_else(|| ProblemResponse::new(Code::AuthenticationMissing))?;
    let ticket = gateway.tickets.issue(token, now_ms, &platform.entropy).ok_or_else(|| {
        ProblemResponse::new(Code::Unavailable).detail("too many tickets are open").retry_after_s(TICKET_TTL_MS / 1_000)
    })?;
    let issued = TicketIssued { ticket, expires_at_ms: now_ms + TICKET_TTL_MS };
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(issued)))
}
