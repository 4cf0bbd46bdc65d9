//! Dead letters for operators, on the admin listener: what could not be handled, why, and what to do with it.
//!
//! | call | does |
//! |---|---|
//! | `GET /dead-letters` | the services of this process |
//! | `GET /dead-letters/{service}?limit=&after=` | a page, oldest first |
//! | `GET /dead-letters/{service}/{id}` | one, with its event |
//! | `POST /dead-letters/{service}/redrive?letter=&dry_run=` | handles a letter's key again, in order; all keys without `letter` |
//! | `DELETE /dead-letters/{service}/{id}?reason=` | drops one for good |

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use outbox::{DeadLetters, Selection};
use serde::Deserialize;
use serde_json::{Value, json};
use store::Cursor;

use crate::OperatorError;

/// Letters a page unless asked otherwise.
const DEFAULT_LIMIT: u32 = 50;
/// Most letters a page.
const MAX_LIMIT: u32 = 500;

/// The dead letters of every service in this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct DeadLetterDesk {
    services: Arc<RwLock<BTreeMap<&'static str, DeadLetters>>>,
}

impl DeadLetterDesk {
    /// Adds a service's.
    pub(crate) fn add(&self, service: &'static str, letters: DeadLetters) {
        self.services.write().unwrap_or_else(PoisonError::into_inner).insert(service, letters);
    }

    /// The routes above.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/dead-letters", get(services))
            .route("/dead-letters/{service}", get(list))
            .route("/dead-letters/{service}/redrive", post(redrive))
            .route("/dead-letters/{service}/{id}", get(show).delete(discard))
            .with_state(self.clone())
    }

    fn of(&self, service: &str) -> Result<DeadLetters, OperatorError> {
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        services.get(service).cloned().ok_or_else(|| {
            let known: Vec<_> = services.keys().copied().collect();
            OperatorError::missing(format!("service: {service:?} is not here; here are: {}", known.join(", ")))
        })
    }
}

#[derive(Deserialize)]
struct PageQuery {
    limit: Option<u32>,
    after: Option<String>,
}

#[derive(Deserialize)]
struct RedriveQuery {
    letter: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
struct DropQuery {
    reason: Option<String>,
}

async fn services(State(desk): State<DeadLetterDesk>) -> Json<Value> {
    let services = desk.services.read().unwrap_or_else(PoisonError::into_inner);
    Json(json!({ "services": services.keys().collect::<Vec<_>>() }))
}

async fn list(
    State(desk): State<DeadLetterDesk>,
    Path(service): Path<String>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Value>, OperatorError> {
    let bad = |what: String| OperatorError::bad(what);
    let limit = page.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(bad(format!("limit: {limit} is outside 1 to {MAX_LIMIT}")));
    }
    let after = page.after.as_deref().map(Cursor::parse).transpose().map_err(|error| bad(error.to_string()))?;
    let page = desk.of(&service)?.list(after, limit).await?;
    let next = page.next.as_ref().map(Cursor::as_str);
    Ok(Json(json!({ "letters": page.letters, "next": next })))
}

async fn show(
    State(desk): State<DeadLetterDesk>,
    Path((service, id)): Path<(String, String)>,
) -> Result<Json<Value>, OperatorError> {
    match desk.of(&service)?.show(&id).await? {
        Some(letter) => Ok(Json(json!(letter))),
        None => Err(OperatorError::missing(format!("id: there is no dead letter {id:?}"))),
    }
}

async fn redrive(
    State(desk): State<DeadLetterDesk>,
    Path(service): Path<String>,
    Query(query): Query<RedriveQuery>,
) -> Result<Json<Value>, OperatorError> {
    let selection = query.letter.map_or(Selection::All, Selection::Letter);
    let plan = desk.of(&service)?.redrive(selection, query.dry_run).await?;
    let keys: Vec<Value> = plan
        .keys
        .iter()
        .map(|key| {
            let letters: Vec<&str> = key.letters.iter().map(|letter| letter.id.as_str()).collect();
            json!({ "source": key.source, "key": key.key, "total": key.total, "letters": letters })
        })
        .collect();
    let refused: Vec<Value> = plan.refused.iter().map(|(id, why)| json!({ "letter": id, "why": why })).collect();
    Ok(Json(json!({ "dry_run": plan.dry_run, "keys": keys, "refused": refused, "more": plan.more })))
}

async fn discard(
    State(desk): State<DeadLetterDesk>,
    Path((service, id)): Path<(String, String)>,
    Query(query): Query<DropQuery>,
) -> Result<Json<Value>, OperatorError> {
    let Some(reason) = query.reason.filter(|reason| !reason.trim().is_empty()) else {
        return Err(OperatorError::bad("reason: is missing; say why, it is logged"));
    };
    if desk.of(&service)?.drop(&id, &reason).await? {
        tracing::warn!(service, id, reason, "a dead letter was dropped by an operator");
        return Ok(Json(json!({ "dropped": id })));
    }
    Err(OperatorError::missing(format!("id: there is no dead letter {id:?}")))
}
