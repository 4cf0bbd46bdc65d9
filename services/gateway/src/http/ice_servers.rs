use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use contracts::requests::signaling::{IceServers, IceServersV1};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use service::http::{Code, ProblemResponse};

use super::extract::{Caller, id};
use crate::Gateway;
use crate::refusals::IntoProblem;

/// The header with the peer's subscription proof; no secret stands in an address.
const PROOF_HEADER: &str = "synapse-proof";

/// For whom.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PeerQuery {
    peer_id: String,
}

/// `GET /v1/ice-servers?peer_id=`: STUN and TURN servers with credentials for this peer.
pub(super) async fn get(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    query: Result<Query<PeerQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<([(HeaderName, &'static str); 1], Json<IceServers>), ProblemResponse> {
    let Query(peer) = query.map_err(|rejection| {
        let rule = format!("{}; it has a peer_id and nothing else", rejection.body_text());
        ProblemResponse::new(Code::Validation).violation("query", rule)
    })?;
    let Some(proof) = headers.get(PROOF_HEADER).and_then(|value| value.to_str().ok()) else {
        let detail = "send the peer's subscription proof in the header Synapse-Proof";
        return Err(ProblemResponse::new(Code::ProofRefused).detail(detail));
    };
    let ask = IceServersV1 { peer_id: id(&peer.peer_id)?, proof: proof.to_owned() };
    let servers = gateway.ask(&caller.principal.tenant, &caller.trail, &ask).await;
    Ok(([(CACHE_CONTROL, "no-store")], Json(servers.map_err(IntoProblem::into_problem)?)))
}
