use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use contracts::http::{ApiKeyIssued, ApiKeyPage, ApiKeyStatus, ApiKeyView, CreateApiKey, RotateApiKey};
use http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use service::http::{Code, ProblemResponse};
use store::{Cursor, StoreError, StoreErrorKind};

use super::extract::json;
use super::guard::Caller;
use crate::Gateway;
use crate::keys::ChangeRefusal;
use crate::operations::Operation;

/// Keys a page unless asked otherwise, and at most.
const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 100;
const MAX_NAME_CHARS: usize = 100;
const MAX_REQUESTS_PER_MINUTE: u32 = 1_000_000;
/// How long the secret before a rotation stays good unless asked otherwise, and at most, milliseconds.
const DEFAULT_OVERLAP_MS: u64 = 86_400_000;
const MAX_OVERLAP_MS: u64 = 7 * 86_400_000;

/// `POST /v1/api-keys`: makes a key and shows its secret, once.
pub(super) async fn create(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, ProblemResponse> {
    let mut wanted: CreateApiKey = json(&headers, &body)?;
    wanted.scopes.sort_unstable();
    wanted.scopes.dedup();
    check(&wanted, gateway.platform.clock.now_ms())?;
    let principal = &caller.identity.principal;
    let issued = gateway.keys.create(&principal.tenant, &principal.user, wanted).await;
    let issued = told(&caller, Operation::CreateApiKey, "", issued)?;
    let location = format!("/v1/api-keys/{}", issued.key.key_id);
    // It carries the secret.
    let headers = [(LOCATION, location), (CACHE_CONTROL, "no-store".to_owned())];
    Ok((StatusCode::CREATED, headers, Json(issued)))
}

/// Every rule that the wish for a key breaks.
fn check(wanted: &CreateApiKey, now_ms: u64) -> Result<(), ProblemResponse> {
    let mut problem = ProblemResponse::new(Code::Validation);
    let mut is_good = true;
    let mut violated = |field: &str, rule: String| {
        is_good = false;
        problem = problem.clone().violation(field, rule);
    };
    let chars = wanted.name.chars().count();
    if !(1..=MAX_NAME_CHARS).contains(&chars) || wanted.name.chars().any(char::is_control) {
        violated(
            "name",
            format!("has {chars} characters or control characters; use 1 to {MAX_NAME_CHARS} printable ones"),
        );
    }
    if wanted.scopes.is_empty() {
        violated("scopes", "is empty; name what the key may be used for".to_owned());
    }
    if let Some(at_ms) = wanted.expires_at_ms.filter(|at_ms| *at_ms <= now_ms) {
        violated("expires_at_ms", format!("{at_ms} is over already; give Unix milliseconds that lie ahead"));
    }
    let range = 1..=MAX_REQUESTS_PER_MINUTE;
    if let Some(limit) = wanted.requests_per_minute.filter(|limit| !range.contains(limit)) {
        violated("requests_per_minute", format!("{limit} is not from 1 to {MAX_REQUESTS_PER_MINUTE}"));
    }
    if is_good { Ok(()) } else { Err(problem) }
}

/// Which page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    limit: Option<u32>,
    after: Option<String>,
}

/// `GET /v1/api-keys`: the tenant's keys.
pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<ApiKeyPage>, ProblemResponse> {
    let bad = |field, rule: String| ProblemResponse::new(Code::Validation).violation(field, rule);
    let Query(page) = query.map_err(|rejection| {
        bad("query", format!("{}; known are limit (1 to {MAX_LIMIT}) and after", rejection.body_text()))
    })?;
    let limit = page.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(bad("limit", format!("{limit} is not from 1 to {MAX_LIMIT}")));
    }
    let unknown = || bad("after", "is not the next of a page of these; leave it out to begin anew".to_owned());
    let after = page.after.as_deref().map(Cursor::parse).transpose().map_err(|_| unknown())?;
    let page = gateway.keys.list(&caller.identity.principal.tenant, limit, after).await;
    // A cursor of another listing fits none of ours.
    let page = page.map_err(|error| if error.kind() == StoreErrorKind::Invalid { unknown() } else { stored(error) });
    Ok(Json(page?))
}

/// `GET /v1/api-keys/{id}`.
pub(super) async fn get(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(key_id): Path<String>,
) -> Result<Json<ApiKeyView>, ProblemResponse> {
    let key = gateway.keys.get(&caller.identity.principal.tenant, valid(&key_id)?).await;
    Ok(Json(key.map_err(refused)?))
}

/// `DELETE /v1/api-keys/{id}`: void here at once, everywhere within `api_key_cache_ms`.
pub(super) async fn revoke(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(key_id): Path<String>,
) -> Result<StatusCode, ProblemResponse> {
    let revoked = gateway.keys.revoke(&caller.identity.principal.tenant, valid(&key_id)?).await;
    told(&caller, Operation::RevokeApiKey, &key_id, revoked)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/api-keys/{id}/rotate`: another secret; the one before stays good for a while.
pub(super) async fn rotate(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(key_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, ProblemResponse> {
    let wanted: RotateApiKey = if body.is_empty() { RotateApiKey::default() } else { json(&headers, &body)? };
    let overlap_ms = wanted.overlap_ms.unwrap_or(DEFAULT_OVERLAP_MS);
    if overlap_ms > MAX_OVERLAP_MS {
        let rule = format!("{overlap_ms} is not from 0 to {MAX_OVERLAP_MS}");
        return Err(ProblemResponse::new(Code::Validation).violation("overlap_ms", rule));
    }
    let rotated = gateway.keys.rotate(&caller.identity.principal.tenant, valid(&key_id)?, overlap_ms).await;
    let issued: ApiKeyIssued = told(&caller, Operation::RotateApiKey, &key_id, rotated)?;
    Ok(([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(issued)))
}

/// What became of a change, written down.
fn told<T>(
    caller: &Caller,
    operation: Operation,
    key_id: &str,
    outcome: Result<T, ChangeRefusal>,
) -> Result<T, ProblemResponse> {
    let outcome = outcome.map_err(refused);
    let code = outcome.as_ref().err().map(ProblemResponse::code);
    caller.identity.audit_change(operation, code, key_id, &caller.trail.correlation_id);
    outcome
}

fn valid(key_id: &str) -> Result<&str, ProblemResponse> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if (1..=100).contains(&key_id.len()) && key_id.bytes().all(good) {
        return Ok(key_id);
    }
    let rule = "must be a key's key_id: 1 to 100 characters of A-Z, a-z, 0-9 and '_'";
    Err(ProblemResponse::new(Code::Validation).violation("id", rule))
}

fn refused(refusal: ChangeRefusal) -> ProblemResponse {
    match refusal {
        ChangeRefusal::TooMany(most) => ProblemResponse::new(Code::Conflict)
            .detail(format!("the tenant has {most} API keys, as many as it may; revoke one first")),
        ChangeRefusal::NotFound => ProblemResponse::new(Code::NotFound),
        ChangeRefusal::Over(status) => {
            let over = if status == ApiKeyStatus::Revoked { "was revoked" } else { "has expired" };
            ProblemResponse::new(Code::Conflict).detail(format!("the key {over}; make a new one"))
        }
        ChangeRefusal::Busy => {
            let detail = "others change the same at the same time";
            ProblemResponse::new(Code::Unavailable).detail(detail).retry_after_s(1)
        }
        ChangeRefusal::Store(error) => stored(error),
    }
}

#[allow(clippy::needless_pass_by_value)] // so that it fits map_err
fn stored(error: StoreError) -> ProblemResponse {
    let code = if error.is_retryable() { Code::Unavailable } else { Code::Internal };
    let problem = ProblemResponse::new(code).detail("API keys can't be read or written").debug(error.to_string());
    if error.is_retryable() { problem.retry_after_s(1) } else { problem }
}
