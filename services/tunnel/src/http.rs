//! The public side: what agents connect to, and every request that belongs to a tunnel.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, put};
use http::HeaderMap;
use http::header::HOST;
use serde::{Deserialize, Serialize};
use service::http::{Code, ProblemResponse};
use service::{Front, Public};

use crate::{Edge, accept, answers, forward, names, open};

/// Routes of our own behind the shell, and tunnels in front of it: their requests are the origins' business.
pub(crate) fn public(edge: Arc<Edge>) -> Public {
    let routes = Router::new()
        .route("/v1/tunnels/connect", any(accept::upgrade))
        .route("/v1/tunnels/sessions/{session}/proof", put(renew_proof))
        .with_state(Arc::clone(&edge));
    let front: Front = Arc::new(move |request: Request| {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| request.uri().authority().map(http::uri::Authority::as_str));
        let Some(target) = names::target(&edge.config.domain, host, request.uri()) else {
            return Err(Box::new(request));
        };
        let edge = Arc::clone(&edge);
        Ok(Box::pin(async move { tunnelled(&edge, &target, request).await }))
    });
    Public { routes, front: Some(front) }
}

async fn tunnelled(edge: &Arc<Edge>, target: &names::Target, request: Request) -> Response {
    let context = edge.context(request.headers());
    let asked = request.headers().clone();
    let answered = forward::forward(edge, target, request, &context).await;
    let outcome = if answered.is_ok() { "answered" } else { "failed" };
    metrics::counter!("tunnel_requests_total", "outcome" => outcome).increment(1);
    answered.unwrap_or_else(|problem| answers::answer(edge, problem, &context, &asked))
}

#[derive(Deserialize)]
struct NewProof {
    proof: String,
}

#[derive(Serialize)]
struct Proved {
    proved_until_ms: u64,
}

async fn renew_proof(
    State(edge): State<Arc<Edge>>,
    Path(session): Path<String>,
    headers: HeaderMap,
    Json(body): Json<NewProof>,
) -> Result<Response, ProblemResponse> {
    let principal = edge.tokens.authenticate(&headers).await?;
    let agent = edge.agents.session(&session).filter(|agent| agent.is_of(&principal));
    let agent = agent.ok_or_else(|| ProblemResponse::new(Code::SessionUnknown))?;
    let proved_until_ms = open::renew_proof(&edge, &agent, &body.proof).await?;
    Ok(Json(Proved { proved_until_ms }).into_response())
}
