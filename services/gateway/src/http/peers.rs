use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use contracts::requests::presence::{ListV1, LookupV1, PeerPage, PeerView};
use serde::Deserialize;
use service::http::{Code, ProblemResponse};

use super::extract::id;
use super::guard::Caller;
use crate::Gateway;
use crate::refusals::IntoProblem;

/// Peers a page unless asked otherwise.
const DEFAULT_LIMIT: u32 = 50;

/// Which page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    limit: Option<u32>,
    after: Option<String>,
}

/// `GET /v1/peers`: who is here.
pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    query: Result<Query<PageQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<PeerPage>, ProblemResponse> {
    let Query(page) = query.map_err(|rejection| {
        let rule = format!("{}; known are limit (1 to 100) and after", rejection.body_text());
        ProblemResponse::new(Code::Validation).violation("query", rule)
    })?;
    let ask = ListV1 { limit: page.limit.unwrap_or(DEFAULT_LIMIT), after: page.after };
    let page = gateway.ask(&caller.identity.principal.tenant, &caller.trail, &ask).await;
    Ok(Json(page.map_err(IntoProblem::into_problem)?))
}

/// `GET /v1/peers/{id}`: where one peer stands.
pub(super) async fn get(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(path_id): Path<String>,
) -> Result<Json<PeerView>, ProblemResponse> {
    let ask = LookupV1 { peer_id: id(&path_id)? };
    let peer = gateway.ask(&caller.identity.principal.tenant, &caller.trail, &ask).await;
    Ok(Json(peer.map_err(IntoProblem::into_problem)?))
}
