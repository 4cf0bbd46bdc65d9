use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use contracts::events::subscription::Status;
use contracts::http::{
    CancelSubscription, ChangePlan, CreateCheckout, CreatePortal, CreateSubscription, VerifySubscription,
};
use contracts::requests::billing::{UsageV1, UsageView};
use contracts::requests::subscription::{
    CancelV1, ChangePlanV1, CheckPlansV1, CreateCheckoutV1, CreatePortalV1, CreateV1, GetV1, ListPlansV1, ListV1,
    Plans, PlansReport, Portal, ProofIssued, ResumeV1, SubscriptionPage, SubscriptionView, VerifyV1,
};
use contracts::{Request, UserId};
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use service::http::{Code, ProblemResponse};

use super::extract::{id, idempotency_key, json};
use super::guard::Caller;
use crate::Gateway;
use crate::operations::Operation;
use crate::refusals::IntoProblem;

/// Subscriptions a page unless asked otherwise.
const DEFAULT_LIMIT: u32 = 50;

/// Asks the subscription service on the caller's behalf.
async fn ask<R: Request>(gateway: &Gateway, caller: &Caller, ask: &R) -> Result<R::Reply, ProblemResponse>
where
    R::Refusal: IntoProblem,
{
    gateway.ask(&caller.identity.principal.tenant, &caller.trail, ask).await.map_err(IntoProblem::into_problem)
}

/// `GET /v1/plans`: what may be bought.
pub(super) async fn plans(State(gateway): State<Arc<Gateway>>, caller: Caller) -> Result<Json<Plans>, ProblemResponse> {
    ask(&gateway, &caller, &ListPlansV1 {}).await.map(Json)
}

/// `POST /v1/plans/check`: whether Stripe agrees with the catalogue. For administrators.
pub(super) async fn check_plans(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
) -> Result<Json<PlansReport>, ProblemResponse> {
    let mut report = ask(&gateway, &caller, &CheckPlansV1 {}).await?;
    // What other tenants are sold is nobody's business but the operator's.
    report.prices.retain(|price| {
        price.tenants.is_empty() || price.tenants.contains(&caller.identity.principal.tenant.to_string())
    });
    report.ok = report.prices.iter().all(|price| price.problems.is_empty());
    Ok(Json(report))
}

/// Which page of which subscriptions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<u32>,
    after: Option<String>,
    status: Option<Status>,
    user_id: Option<UserId>,
    /// The whole tenant's.
    all: Option<bool>,
}

/// `GET /v1/subscriptions`: the caller's own; an administrator may ask for another user's, or for all of the tenant's.
pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<SubscriptionPage>, ProblemResponse> {
    let Query(query) = query.map_err(|rejection| {
        let rule = format!("{}; known are limit (1 to 100), after, status, user_id, all", rejection.body_text());
        ProblemResponse::new(Code::Validation).violation("query", rule)
    })?;
    if query.status == Some(Status::Unknown) {
        let rule = "is not one of Stripe's: incomplete, incomplete_expired, trialing, active, past_due, unpaid, paused, canceled";
        return Err(ProblemResponse::new(Code::Validation).violation("status", rule));
    }
    let own = &caller.identity.principal.user;
    let all = query.all.unwrap_or_default();
    let is_others = all || query.user_id.as_ref().is_some_and(|user| user != own);
    if is_others {
        caller.may(Operation::SeeOthersSubscriptions)?;
    }
    let user_id = if all { query.user_id } else { Some(query.user_id.unwrap_or_else(|| own.clone())) };
    let (limit, after) = (query.limit.unwrap_or(DEFAULT_LIMIT), query.after);
    ask(&gateway, &caller, &ListV1 { user_id, status: query.status, limit, after }).await.map(Json)
}

/// `POST /v1/subscriptions/checkout`: a page of Stripe's on which the caller buys. The same Idempotency-Key gives the same
/// page.
pub(super) async fn checkout(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, ProblemResponse> {
    let idempotency_key = idempotency_key(&headers)?;
    let body: CreateCheckout = json(&headers, &body)?;
    let open = CreateCheckoutV1 {
        user_id: caller.identity.principal.user.clone(),
        price_id: body.price_id,
        success_url: body.success_url,
        cancel_url: body.cancel_url,
        email: body.email,
        metadata: body.metadata,
        idempotency_key,
    };
    Ok((StatusCode::CREATED, Json(ask(&gateway, &caller, &open).await?)))
}

/// `POST /v1/subscriptions/portal`: a page of Stripe's on which the caller manages what they bought.
pub(super) async fn portal(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Portal>), ProblemResponse> {
    let body: CreatePortal = json(&headers, &body)?;
    let open = CreatePortalV1 { user_id: caller.identity.principal.user.clone(), return_url: body.return_url };
    Ok((StatusCode::CREATED, Json(ask(&gateway, &caller, &open).await?)))
}

/// `POST /v1/subscriptions/{id}/plan`: bills by another price, once per Idempotency-Key.
pub(super) async fn change_plan(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(path_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<SubscriptionView>, ProblemResponse> {
    let idempotency_key = idempotency_key(&headers)?;
    let body: ChangePlan = json(&headers, &body)?;
    let change = ChangePlanV1 {
        subscription_id: id(&path_id)?,
        user_id: caller.identity.principal.user.clone(),
        is_admin: caller.identity.is_admin(),
        price_id: body.price_id,
        idempotency_key,
    };
    ask(&gateway, &caller, &change).await.map(Json)
}

/// `POST /v1/subscriptions/{id}/cancel`: now or with the paid period.
pub(super) async fn cancel(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(path_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<SubscriptionView>, ProblemResponse> {
    let body: CancelSubscription = json(&headers, &body)?;
    let (user_id, is_admin) = (caller.identity.principal.user.clone(), caller.identity.is_admin());
    let end = CancelV1 { subscription_id: id(&path_id)?, user_id, is_admin, at_period_end: body.at_period_end };
    ask(&gateway, &caller, &end).await.map(Json)
}

/// `POST /v1/subscriptions/{id}/resume`: takes a cancellation back, or wakes up a paused one.
pub(super) async fn resume(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(path_id): Path<String>,
) -> Result<Json<SubscriptionView>, ProblemResponse> {
    let (user_id, is_admin) = (caller.identity.principal.user.clone(), caller.identity.is_admin());
    ask(&gateway, &caller, &ResumeV1 { subscription_id: id(&path_id)?, user_id, is_admin }).await.map(Json)
}

/// `POST /v1/subscriptions`: the same Idempotency-Key gives the same subscription.
pub(super) async fn create(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, ProblemResponse> {
    let idempotency_key = idempotency_key(&headers)?;
    let body: CreateSubscription = json(&headers, &body)?;
    let create = CreateV1 {
        user_id: caller.identity.principal.user.clone(),
        price_id: body.price_id,
        payment_method_id: body.payment_method_id,
        email: body.email,
        metadata: body.metadata,
        idempotency_key,
    };
    let created = ask(&gateway, &caller, &create).await?;
    let location = format!("/v1/subscriptions/{}", created.subscription_id);
    // It may carry a payment's client secret.
    let headers = [(LOCATION, location), (CACHE_CONTROL, "no-store".to_owned())];
    Ok((StatusCode::CREATED, headers, Json(created)))
}

/// `GET /v1/subscriptions/{id}`.
pub(super) async fn get(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(path_id): Path<String>,
) -> Result<Json<SubscriptionView>, ProblemResponse> {
    let view = ask(&gateway, &caller, &GetV1 { subscription_id: id(&path_id)? }).await?;
    if caller.identity.sees(&view.user_id) { Ok(Json(view)) } else { Err(ProblemResponse::new(Code::NotFound)) }
}

/// `GET /v1/subscriptions/{id}/usage`: what was used of what the plan allows.
pub(super) async fn usage(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(path_id): Path<String>,
) -> Result<Json<UsageView>, ProblemResponse> {
    let view = ask(&gateway, &caller, &UsageV1 { subscription_id: id(&path_id)? }).await?;
    if caller.identity.sees(&view.user_id) { Ok(Json(view)) } else { Err(ProblemResponse::new(Code::NotFound)) }
}

/// `POST /v1/subscriptions/{id}/verify`: a signed proof for a peer.
pub(super) async fn verify(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(path_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ProofIssued>, ProblemResponse> {
    let body: VerifySubscription = json(&headers, &body)?;
    let wanted = VerifyV1 {
        subscription_id: id(&path_id)?,
        peer_id: body.peer_id,
        user_id: caller.identity.principal.user.clone(),
        peer_key: body.peer_key.map(thumbprint).transpose()?,
    };
    ask(&gateway, &caller, &wanted).await.map(Json)
}

/// A JWK thumbprint as RFC 7638 makes them with SHA-256.
fn thumbprint(text: String) -> Result<String, ProblemResponse> {
    if text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        return Ok(text);
    }
    let rule = "must be a SHA-256 JWK thumbprint (RFC 7638): 43 characters of base64url without padding";
    Err(ProblemResponse::new(Code::Validation).violation("peer_key", rule))
}
