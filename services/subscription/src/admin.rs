//! Billing for operators, on the admin listener. The only place of this service that names HTTP statuses.
//!
//! | call | does |
//! |---|---|
//! | `GET /billing/tenants?after=` | tenants that may have subscriptions |
//! | `GET /billing/subscriptions/{tenant}?user=&status=&limit=&after=` | a page as we last saw them at Stripe |
//! | `GET /billing/subscriptions/{tenant}/{id}` | one, with its record and its usage |
//! | `POST /billing/subscriptions/{tenant}/{id}/refresh` | looks at Stripe now |
//! | `GET /billing/usage/{tenant}/{id}` | what one used and may use |
//! | `GET /billing/plans/check` | the catalogue against Stripe's prices |
//! | `GET /billing/proof-keys` | the keys of proofs, and those withdrawn |
//! | `POST /billing/proof-keys/{kid}/withdraw?reason=` | trusts one no more, everywhere, and makes another |
//! | `GET /billing/reconcile?limit=&after=` | the run under way or the last, with a page of what it found |
//! | `POST /billing/reconcile?mode=&dry_run=` | begins one: `sweep` (default) or `backfill` |

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use bus::Trail;
use contracts::events::subscription::{ReconcileMode, Status};
use contracts::{SubscriptionId, TenantId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};
use service::OperatorError;
use store::Cursor;

use crate::commands::{plans, refresh};
use crate::reconcile::{Begun, Run};
use crate::{Subscriptions, reconcile, usage};

/// Lines a page unless asked otherwise.
const DEFAULT_LIMIT: u32 = 50;
/// Most lines a page.
const MAX_LIMIT: u32 = 500;
/// Longest reason, characters.
const MAX_REASON: usize = 200;

type Answered = Result<Json<Value>, OperatorError>;
type Service = State<Arc<Subscriptions>>;

/// The routes above.
pub(crate) fn router(service: Arc<Subscriptions>) -> Router {
    Router::new()
        .route("/billing/tenants", get(tenants))
        .route("/billing/subscriptions/{tenant}", get(list))
        .route("/billing/subscriptions/{tenant}/{id}", get(show))
        .route("/billing/subscriptions/{tenant}/{id}/refresh", post(look))
        .route("/billing/usage/{tenant}/{id}", get(used))
        .route("/billing/plans/check", get(check_plans))
        .route("/billing/proof-keys", get(proof_keys))
        .route("/billing/proof-keys/{kid}/withdraw", post(withdraw))
        .route("/billing/reconcile", get(last_run).post(begin))
        .with_state(service)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Paging {
    user: Option<String>,
    status: Option<Status>,
    limit: Option<u32>,
    after: Option<String>,
}

impl Paging {
    fn limit(&self) -> Result<u32, OperatorError> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if (1..=MAX_LIMIT).contains(&limit) {
            return Ok(limit);
        }
        Err(OperatorError::bad(format!("limit: {limit} is outside 1 to {MAX_LIMIT}")))
    }

    fn after(&self) -> Result<Option<Cursor>, OperatorError> {
        Ok(self.after.as_deref().map(Cursor::parse).transpose()?)
    }
}

fn id<T: std::str::FromStr<Err = contracts::IdError>>(text: &str) -> Result<T, OperatorError> {
    text.parse().map_err(|error: contracts::IdError| OperatorError::bad(error.to_string()))
}

fn text(cursor: Option<&Cursor>) -> Option<&str> {
    cursor.map(Cursor::as_str)
}

async fn tenants(State(service): Service, Query(paging): Query<Paging>) -> Answered {
    let (tenants, next) = reconcile::tenants(&service.platform.outbox, paging.after()?).await?;
    Ok(Json(json!({ "tenants": tenants, "next": text(next.as_ref()) })))
}

async fn list(State(service): Service, Path(tenant): Path<String>, Query(paging): Query<Paging>) -> Answered {
    let tenant: TenantId = id(&tenant)?;
    let user = paging.user.as_deref().map(id::<UserId>).transpose()?;
    let page = service.records.list(&tenant, user.as_ref(), paging.limit()?, paging.after()?).await?;
    let (mut subscriptions, next) = page;
    subscriptions.retain(|subscription| paging.status.is_none_or(|wanted| subscription.status.kind() == wanted));
    Ok(Json(json!({ "subscriptions": subscriptions, "next": text(next.as_ref()) })))
}

async fn show(State(service): Service, Path((tenant, subscription)): Path<(String, String)>) -> Answered {
    let (tenant, id): (TenantId, SubscriptionId) = (id(&tenant)?, id(&subscription)?);
    let stored = service.records.find(&tenant, &id).await?;
    let stored = stored.ok_or_else(|| OperatorError::missing(format!("{tenant} has no subscription {id}")))?;
    let usage = usage::view(&service, &tenant, &id).await?;
    Ok(Json(json!({ "record": stored.record, "usage": usage })))
}

async fn look(State(service): Service, Path((tenant, subscription)): Path<(String, String)>) -> Answered {
    let (tenant, id): (TenantId, SubscriptionId) = (id(&tenant)?, id(&subscription)?);
    let trail = Trail::fresh(&service.platform.clock, &service.platform.entropy);
    match refresh::refresh(&service, &tenant, &id, &trail).await {
        Ok(Some(fresh)) => Ok(Json(json!({ "record": fresh }))),
        Ok(None) => Err(OperatorError::missing(format!("{tenant} has no live subscription {id}"))),
        Err(error) => Err(OperatorError(StatusCode::BAD_GATEWAY, error.to_string())),
    }
}

async fn used(State(service): Service, Path((tenant, subscription)): Path<(String, String)>) -> Answered {
    let (tenant, id): (TenantId, SubscriptionId) = (id(&tenant)?, id(&subscription)?);
    let usage = usage::view(&service, &tenant, &id).await?;
    let usage = usage.ok_or_else(|| OperatorError::missing(format!("{tenant} has no live subscription {id}")))?;
    Ok(Json(json!(usage)))
}

async fn check_plans(State(service): Service) -> Answered {
    match plans::report(&service).await {
        Ok(report) => Ok(Json(json!(report))),
        Err(failure) => Err(OperatorError(StatusCode::BAD_GATEWAY, failure.to_string())),
    }
}

async fn proof_keys(State(service): Service) -> Answered {
    let (keys, withdrawn) = (service.keys.views().await?, service.keys.withdrawn().await?);
    Ok(Json(json!({ "keys": keys, "withdrawn": withdrawn })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Withdrawal {
    reason: Option<String>,
}

async fn withdraw(State(service): Service, Path(kid): Path<String>, Query(query): Query<Withdrawal>) -> Answered {
    let reason = query.reason.filter(|reason| !reason.trim().is_empty());
    let reason = reason.ok_or_else(|| OperatorError::bad("reason: is missing; say why, everybody is told"))?;
    if reason.chars().count() > MAX_REASON {
        return Err(OperatorError::bad(format!("reason: more than {MAX_REASON} characters; shorten it")));
    }
    let trail = Trail::fresh(&service.platform.clock, &service.platform.entropy);
    if service.keys.withdraw(&kid, &reason, &trail).await? {
        return Ok(Json(json!({ "withdrawn": kid })));
    }
    Err(OperatorError::missing(format!("kid: there is no key {kid:?}; `proof-keys` lists them")))
}

async fn last_run(State(service): Service, Query(paging): Query<Paging>) -> Answered {
    let desk = service.desk();
    let Some(run) = desk.run().await? else { return Ok(Json(json!({ "run": null, "rows": [], "next": null }))) };
    let (rows, next) = desk.rows(&run.id, paging.limit()?, paging.after()?).await?;
    let rows: Vec<_> = rows.into_iter().map(|(_, row)| row).collect();
    Ok(Json(json!({ "run": shown(&run, &service), "rows": rows, "next": text(next.as_ref()) })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    mode: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

async fn begin(
    State(service): Service,
    Query(wanted): Query<Wanted>,
) -> Result<(StatusCode, Json<Value>), OperatorError> {
    let mode = match wanted.mode.as_deref() {
        None | Some("sweep") => ReconcileMode::Sweep,
        Some("backfill") => ReconcileMode::Backfill,
        Some(other) => return Err(OperatorError::bad(format!("mode: {other:?} is none; use sweep or backfill"))),
    };
    let now_ms = service.platform.clock.now_ms();
    match service.desk().begin(mode, wanted.dry_run, now_ms).await? {
        Begun::Mine(run) => {
            let shown = shown(&run, &service);
            let worker = Arc::clone(&service);
            let lifecycle = service.platform.lifecycle.clone();
            lifecycle.spawn("subscription.reconcile.asked", async move { worker.reconcile(*run).await });
            Ok((StatusCode::ACCEPTED, Json(json!({ "run": shown }))))
        }
        Begun::Busy(run) => {
            let what = format!("run {} is under way since {}; look at it, or wait", run.id, run.started_at_ms);
            Err(OperatorError(StatusCode::CONFLICT, what))
        }
    }
}

fn shown(run: &Run, service: &Subscriptions) -> Value {
    json!({
        "id": run.id,
        "mode": run.mode_name(),
        "dry_run": run.dry_run,
        "started_at_ms": run.started_at_ms,
        "finished_at_ms": run.finished_at_ms,
        "under_way": run.is_held(service.platform.clock.now_ms()),
        "trouble": run.trouble,
        "counts": run.counts,
    })
}
