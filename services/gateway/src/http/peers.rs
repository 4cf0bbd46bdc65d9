use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use contracts::requests::presence::{CountV1, ListV1, LookupV1, PeerCounts, PeerFilter, PeerPage, PeerView};
use serde::Deserialize;
use service::http::{Code, ProblemResponse};

use super::extract::{Caller, id};
use crate::Gateway;
use crate::refusals::IntoProblem;

/// Peers a page unless asked otherwise.
const DEFAULT_LIMIT: u32 = 50;

/// Which page of which peers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    limit: Option<u32>,
    after: Option<String>,
    room: Option<String>,
    tag: Option<String>,
    capability: Option<String>,
    #[serde(default)]
    same_network: bool,
}

/// `GET /v1/peers`: who is here.
pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<PeerPage>, ProblemResponse> {
    let known = "limit (1 to 100), after, room, tag, capability and same_network (true or false)";
    let Query(page) = query.map_err(|rejection| unreadable(&rejection, known))?;
    let unknown_place = || {
        let rule = "can't be told: this request came without an address";
        ProblemResponse::new(Code::Validation).violation("same_network", rule)
    };
    let address = match caller.address {
        _ if !page.same_network => None,
        Some(address) => Some(address.to_string()),
        None => return Err(unknown_place()),
    };
    let filter = PeerFilter { room: page.room, tag: page.tag, capability: page.capability, network: None };
    let ask = ListV1 { limit: page.limit.unwrap_or(DEFAULT_LIMIT), after: page.after, filter, address };
    let page = gateway.ask(&caller.principal.tenant, &caller.trail, &ask).await;
    Ok(Json(page.map_err(IntoProblem::into_problem)?))
}

/// What to count.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CountQuery {
    room: Option<String>,
}

/// `GET /v1/presence`: how many are here.
pub(super) async fn count(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    query: Result<Query<CountQuery>, QueryRejection>,
) -> Result<Json<PeerCounts>, ProblemResponse> {
    let Query(CountQuery { room }) = query.map_err(|rejection| unreadable(&rejection, "room"))?;
    let counts = gateway.ask(&caller.principal.tenant, &caller.trail, &CountV1 { room, node_id: None }).await;
    Ok(Json(counts.map_err(IntoProblem::into_problem)?))
}

fn unreadable(rejection: &QueryRejection, known: &str) -> ProblemResponse {
    let rule = format!("{}; known are {known}", rejection.body_text());
    ProblemResponse::new(Code::Validation).violation("query", rule)
}

/// `GET /v1/peers/{id}`: where one peer stands.
pub(super) async fn get(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(path_id): Path<String>,
) -> Result<Json<PeerView>, ProblemResponse> {
    let ask = LookupV1 { peer_id: id(&path_id)? };
    let peer = gateway.ask(&caller.principal.tenant, &caller.trail, &ask).await;
    Ok(Json(peer.map_err(IntoProblem::into_problem)?))
}
