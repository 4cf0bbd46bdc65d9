//! Rate limits for operators, on the admin listener.
//!
//! | call | does |
//! |---|---|
//! | `GET /limits?hours=` | every policy, and what became of its calls in the last hours (24; up to 720) |
//! | `GET /limits/{policy}?hours=` | the same of one, hour by hour |
//! | `GET /limits/{policy}/bucket?key=` | what a key has left |
//! | `POST /limits/{policy}/reset?key=` | fills a key's bucket; other processes follow within a second |
//! | `POST /limits/{policy}/reset-statistics` | forgets what was counted |

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use clock::Clock;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Counts, Limiter, Policy};
use crate::OperatorError;

const HOUR_MS: u64 = 3_600_000;
const DEFAULT_HOURS: u64 = 24;
/// As long as statistics are kept.
const MAX_HOURS: u64 = 720;

struct Desk {
    limiter: Limiter,
    policies: Vec<Policy>,
    clock: Clock,
}

/// The routes above, for these policies.
pub fn limits_desk(limiter: Limiter, policies: Vec<Policy>, clock: Clock) -> Router {
    Router::new()
        .route("/limits", get(all))
        .route("/limits/{policy}", get(one))
        .route("/limits/{policy}/bucket", get(bucket))
        .route("/limits/{policy}/reset", post(reset))
        .route("/limits/{policy}/reset-statistics", post(reset_statistics))
        .with_state(Arc::new(Desk { limiter, policies, clock }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Period {
    hours: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    key: Option<String>,
}

impl Desk {
    fn policy(&self, name: &str) -> Result<Policy, OperatorError> {
        self.policies.iter().find(|policy| policy.name == name).copied().ok_or_else(|| {
            let known: Vec<_> = self.policies.iter().map(|policy| policy.name).collect();
            OperatorError::missing(format!("policy: {name:?} is not in force; in force are: {}", known.join(", ")))
        })
    }

    async fn report(&self, policy: Policy, hours: u64) -> Result<(Value, Value), OperatorError> {
        let statistics = self.limiter.statistics();
        // What this process has counted is in it.
        statistics.flush().await?;
        let from_ms = self.clock.now_ms().saturating_sub(hours * HOUR_MS) / HOUR_MS * HOUR_MS;
        let hours = statistics.hours(policy.name, from_ms).await?;
        let sum = hours.iter().fold(Counts::default(), |sum, hour| Counts {
            allowed: sum.allowed + hour.counts.allowed,
            blocked: sum.blocked + hour.counts.blocked,
            errors: sum.errors + hour.counts.errors,
        });
        let policy =
            json!({ "policy": policy.name, "quota": policy.quota, "window_ms": policy.window_ms, "calls": sum });
        Ok((policy, json!(hours)))
    }
}

fn hours(period: &Period) -> Result<u64, OperatorError> {
    let hours = period.hours.unwrap_or(DEFAULT_HOURS);
    if (1..=MAX_HOURS).contains(&hours) {
        return Ok(hours);
    }
    Err(OperatorError::bad(format!("hours: {hours} is outside 1 to {MAX_HOURS}; statistics are kept for 30 days")))
}

fn key(named: Named) -> Result<String, OperatorError> {
    let missing = "key: is missing; give the address, or the user as <tenant>/<user>";
    named.key.filter(|key| !key.is_empty()).ok_or_else(|| OperatorError::bad(missing))
}

async fn all(State(desk): State<Arc<Desk>>, Query(period): Query<Period>) -> Result<Json<Value>, OperatorError> {
    let (hours, mut listed) = (hours(&period)?, Vec::new());
    for policy in &desk.policies {
        listed.push(desk.report(*policy, hours).await?.0);
    }
    Ok(Json(json!({ "hours": hours, "policies": listed, "keys_here": desk.limiter.keys() })))
}

async fn one(
    State(desk): State<Arc<Desk>>,
    Path(policy): Path<String>,
    Query(period): Query<Period>,
) -> Result<Json<Value>, OperatorError> {
    let (mut report, by_hour) = desk.report(desk.policy(&policy)?, hours(&period)?).await?;
    report["hours"] = by_hour;
    Ok(Json(report))
}

async fn bucket(
    State(desk): State<Arc<Desk>>,
    Path(policy): Path<String>,
    Query(named): Query<Named>,
) -> Result<Json<Value>, OperatorError> {
    let (policy, key) = (desk.policy(&policy)?, key(named)?);
    let (left, leased) = desk.limiter.look(&policy, &key).await?;
    Ok(Json(json!({ "policy": policy.name, "key": key, "quota": policy.quota, "left": left, "leased": leased })))
}

async fn reset(
    State(desk): State<Arc<Desk>>,
    Path(policy): Path<String>,
    Query(named): Query<Named>,
) -> Result<Json<Value>, OperatorError> {
    let (policy, key) = (desk.policy(&policy)?, key(named)?);
    desk.limiter.reset(&policy, &key).await?;
    tracing::warn!(policy = policy.name, key, "a rate limit was reset by an operator");
    Ok(Json(json!({ "policy": policy.name, "reset": key })))
}

async fn reset_statistics(
    State(desk): State<Arc<Desk>>,
    Path(policy): Path<String>,
) -> Result<Json<Value>, OperatorError> {
    let policy = desk.policy(&policy)?;
    let removed = desk.limiter.statistics().reset(policy.name).await?;
    tracing::warn!(policy = policy.name, removed, "statistics of a rate limit were reset by an operator");
    Ok(Json(json!({ "policy": policy.name, "removed": removed })))
}
