//! The HTTP side of the public API.

mod cors;
mod docs;
mod extract;
mod ice_servers;
mod jwks;
mod peers;
mod streams;
mod subscriptions;
mod tickets;

pub(crate) use extract::{address, bearer};

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::{Gateway, edge, socket};

/// Every public route.
pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/openapi.json", get(docs::document))
        .route("/docs", get(docs::page))
        .route("/docs/errors", get(docs::page))
        .route("/docs/page.css", get(docs::style))
        .route("/docs/page.js", get(docs::script))
        .route("/.well-known/jwks.json", get(jwks::jwks))
        .route("/v1/plans", get(subscriptions::plans))
        .route("/v1/plans/check", post(subscriptions::check_plans))
        .route("/v1/subscriptions", post(subscriptions::create).get(subscriptions::list))
        .route("/v1/subscriptions/checkout", post(subscriptions::checkout))
        .route("/v1/subscriptions/portal", post(subscriptions::portal))
        .route("/v1/subscriptions/{id}/plan", post(subscriptions::change_plan))
        .route("/v1/subscriptions/{id}/cancel", post(subscriptions::cancel))
        .route("/v1/subscriptions/{id}/resume", post(subscriptions::resume))
        .route("/v1/subscriptions/{id}", get(subscriptions::get))
        .route("/v1/subscriptions/{id}/usage", get(subscriptions::usage))
        .route("/v1/subscriptions/{id}/verify", post(subscriptions::verify))
        .route("/v1/peers", get(peers::list))
        .route("/v1/peers/{id}", get(peers::get))
        .route("/v1/ice-servers", get(ice_servers::get))
        .route("/v1/presence", get(peers::count))
        .route("/v1/tickets", post(tickets::issue))
        .route("/v1/ws", get(socket::upgrade))
        .route("/v1/stream", get(streams::open))
        .route("/v1/frames", post(streams::post))
        .layer(from_fn_with_state(Arc::clone(&gateway), edge::around))
        .layer(from_fn_with_state(Arc::clone(&gateway), cors::around))
        .with_state(gateway)
}
