use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use contracts::http::{CreateSubscription, VerifySubscription};
use contracts::requests::billing::{UsageV1, UsageView};
use contracts::requests::subscription::{CreateV1, GetV1, ProofIssued, SubscriptionView, VerifyV1};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use service::http::{Code, ProblemResponse};

use super::extract::{Caller, id, idempotency_key, json};
use crate::Gateway;
use crate::refusals::IntoProblem;

/// `POST /v1/subscriptions`: the same Idempotency-Key gives the same subscription.
pub(super) async fn create(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, ProblemResponse> {
    caller.may_write()?;
    let idempotency_key = idempotency_key(&headers)?;
    let body: CreateSubscription = json(&headers, &body)?;
    let ask = CreateV1 {
        user_id: caller.principal.user.clone(),
        price_id: body.price_id,
        payment_method_id: body.payment_method_id,
        email: body.email,
        metadata: body.metadata,
        idempotency_key,
    };
    let created = gateway.ask(&caller.principal.tenant, &caller.trail, &ask).await;
    let created = created.map_err(IntoProblem::into_problem)?;
    let location = format!("/v1/subscriptions/{}", created.subscription_id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(created)))
}

/// `GET /v1/subscriptions/{id}`.
pub(super) async fn get(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(path_id): Path<String>,
) -> Result<Json<SubscriptionView>, ProblemResponse> {
    let ask = GetV1 { subscription_id: id(&path_id)? };
    let view = gateway.ask(&caller.principal.tenant, &caller.trail, &ask).await.map_err(IntoProblem::into_problem)?;
    let sees = caller.principal.role == auth::Role::Admin || view.user_id == caller.principal.user;
    if sees { Ok(Json(view)) } else { Err(ProblemResponse::new(Code::NotFound)) }
}

/// `GET /v1/subscriptions/{id}/usage`: what was used of what the plan allows.
pub(super) async fn usage(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(path_id): Path<String>,
) -> Result<Json<UsageView>, ProblemResponse> {
    let ask = UsageV1 { subscription_id: id(&path_id)? };
    let view = gateway.ask(&caller.principal.tenant, &caller.trail, &ask).await.map_err(IntoProblem::into_problem)?;
    let sees = caller.principal.role == auth::Role::Admin || view.user_id == caller.principal.user;
    if sees { Ok(Json(view)) } else { Err(ProblemResponse::new(Code::NotFound)) }
}

/// `POST /v1/subscriptions/{id}/verify`: a signed proof for a peer.
pub(super) async fn verify(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(path_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ProofIssued>, ProblemResponse> {
    caller.may_write()?;
    let body: VerifySubscription = json(&headers, &body)?;
    let ask = VerifyV1 {
        subscription_id: id(&path_id)?,
        peer_id: body.peer_id,
        user_id: caller.principal.user.clone(),
        peer_key: body.peer_key.map(thumbprint).transpose()?,
    };
    let issued = gateway.ask(&caller.principal.tenant, &caller.trail, &ask).await;
    Ok(Json(issued.map_err(IntoProblem::into_problem)?))
}

/// A JWK thumbprint as RFC 7638 makes them with SHA-256.
fn thumbprint(text: String) -> Result<String, ProblemResponse> {
    if text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        return Ok(text);
    }
    let rule = "must be a SHA-256 JWK thumbprint (RFC 7638): 43 characters of base64url without padding";
    Err(ProblemResponse::new(Code::Validation).violation("peer_key", rule))
}
