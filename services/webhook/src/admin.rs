//! Stored events for operators, on the admin listener. Its errors are those of
//! every admin desk.
//!
//! | call | does |
//! |---|---|
//! | `GET /webhooks?type=&customer=&subscription=&state=&since_ms=&until_ms=&limit=&after=` | a page, newest first |
//! | `GET /webhooks/{id}` | one, with its facts and its body as it came |
//! | `POST /webhooks/{id}/replay?dry_run=&force=` | publishes one again |
//! | `POST /webhooks/replay?…the same filter…&limit=&after=&dry_run=&force=` | publishes those again, oldest first |

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use service::OperatorError;
use store::Cursor;

use crate::Webhook;
use crate::listing::{Filter, Wanted};
use crate::replay::{Manner, replay};
use crate::store::Stored;

/// Events a page unless asked otherwise.
const DEFAULT_LIMIT: usize = 50;
/// Most events a page.
const MAX_LIMIT: usize = 500;
/// Longest text that can be a name in a filter: Stripe's ids and types are shorter.
const MAX_NAME_BYTES: usize = 255;

/// The routes above.
pub(crate) fn router(webhook: Arc<Webhook>) -> Router {
    Router::new()
        .route("/webhooks", get(list))
        .route("/webhooks/replay", post(replay_many))
        .route("/webhooks/{id}", get(show))
        .route("/webhooks/{id}/replay", post(replay_one))
        .with_state(webhook)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(rename = "type")]
    kind: Option<String>,
    customer: Option<String>,
    subscription: Option<String>,
    state: Option<Wanted>,
    since_ms: Option<u64>,
    until_ms: Option<u64>,
    limit: Option<usize>,
    after: Option<String>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    force: bool,
}

impl Asked {
    fn filter(&self) -> Result<Filter, OperatorError> {
        let names = [("type", &self.kind), ("customer", &self.customer), ("subscription", &self.subscription)];
        for (field, name) in names {
            if name.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_NAME_BYTES) {
                return Err(OperatorError::bad(format!(
                    "{field}: it is empty or longer than {MAX_NAME_BYTES} bytes; give it whole"
                )));
            }
        }
        if let (Some(since), Some(until)) = (self.since_ms, self.until_ms)
            && since >= until
        {
            return Err(OperatorError::bad("until_ms: it does not lie after since_ms; swap the two"));
        }
        Ok(Filter {
            kind: self.kind.clone(),
            customer: self.customer.clone(),
            subscription: self.subscription.clone(),
            state: self.state,
            since_ms: self.since_ms,
            until_ms: self.until_ms,
        })
    }

    fn limit(&self, default: usize, max: usize) -> Result<usize, OperatorError> {
        let limit = self.limit.unwrap_or(default);
        if (1..=max).contains(&limit) {
            Ok(limit)
        } else {
            Err(OperatorError::bad(format!("limit: {limit} is outside 1 to {max}")))
        }
    }

    fn after(&self) -> Result<Option<Cursor>, OperatorError> {
        self.after
            .as_deref()
            .map(Cursor::parse)
            .transpose()
            .map_err(|error| OperatorError::bad(format!("after: {error}")))
    }

    fn manner(&self) -> Manner {
        Manner { dry_run: self.dry_run, force: self.force }
    }
}

type Query_ = Result<Query<Asked>, axum::extract::rejection::QueryRejection>;

fn asked(query: Query_) -> Result<Asked, OperatorError> {
    query.map(|Query(asked)| asked).map_err(|rejection| OperatorError::bad(rejection.body_text()))
}

fn view(event: &Stored) -> Value {
    let record = &event.record;
    let mut view = json!(record);
    view["id"] = json!(record.name());
    view["repeats"] = json!(event.repeats);
    view
}

async fn list(State(webhook): State<Arc<Webhook>>, query: Query_) -> Result<Json<Value>, OperatorError> {
    let asked = asked(query)?;
    if asked.dry_run || asked.force {
        return Err(OperatorError::bad("dry_run, force: they belong to a replay; leave them out"));
    }
    let limit = asked.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
    let page = webhook.events.list(&asked.filter()?, true, limit, asked.after()?).await?;
    let events: Vec<Value> = page.events.iter().map(view).collect();
    Ok(Json(json!({ "events": events, "next": page.next.as_ref().map(Cursor::as_str) })))
}

async fn find(webhook: &Webhook, id: &str) -> Result<Stored, OperatorError> {
    if id.len() > MAX_NAME_BYTES {
        return Err(OperatorError::bad(format!("id: it is longer than {MAX_NAME_BYTES} bytes")));
    }
    let found = webhook.events.named(id).await?;
    let days = webhook.config.memory_days;
    found.ok_or_else(|| {
        let what = format!("id: no event {id:?} is stored; it never came, or more than {days} days ago");
        OperatorError::missing(what)
    })
}

async fn show(State(webhook): State<Arc<Webhook>>, Path(id): Path<String>) -> Result<Json<Value>, OperatorError> {
    let event = find(&webhook, &id).await?;
    let body = webhook.events.body(&event.record).await?;
    let mut view = view(&event);
    match String::from_utf8(body) {
        Ok(text) => view["body"] = json!(text),
        Err(error) => view["body_base64"] = json!(STANDARD.encode(error.into_bytes())),
    }
    Ok(Json(view))
}

async fn replay_one(
    State(webhook): State<Arc<Webhook>>,
    Path(id): Path<String>,
    query: Query_,
) -> Result<Json<Value>, OperatorError> {
    let asked = asked(query)?;
    if asked.filter()? != Filter::default() || asked.limit.is_some() || asked.after.is_some() {
        return Err(OperatorError::bad("one event is named by its id; leave the filter out"));
    }
    let replayed = replay(&webhook, find(&webhook, &id).await?, asked.manner()).await?;
    tracing::warn!(event = id, manner = ?asked.manner(), action = ?replayed.action, "an operator replayed an event");
    Ok(Json(json!({ "dry_run": asked.dry_run, "events": [replayed], "next": null })))
}

async fn replay_many(State(webhook): State<Arc<Webhook>>, query: Query_) -> Result<Json<Value>, OperatorError> {
    let asked = asked(query)?;
    let filter = asked.filter()?;
    if filter == Filter::default() {
        return Err(OperatorError::bad("no filter: name a customer, a subscription, a type, a state or a time range"));
    }
    let max = usize::try_from(webhook.config.replay_max).unwrap_or(1);
    let limit = asked.limit(max.min(DEFAULT_LIMIT), max)?;
    let page = webhook.events.list(&filter, false, limit, asked.after()?).await?;
    let mut events = Vec::new();
    for event in page.events {
        events.push(replay(&webhook, event, asked.manner()).await?);
    }
    tracing::warn!(?filter, manner = ?asked.manner(), events = events.len(), "an operator replayed events");
    let next = page.next.as_ref().map(Cursor::as_str);
    Ok(Json(json!({ "dry_run": asked.dry_run, "events": events, "next": next })))
}
