//! The HTTP side of the public API.

mod api_keys;
mod cors;
mod docs;
mod extract;
mod guard;
mod ice_servers;
mod jwks;
mod peers;
mod streams;
mod subscriptions;
mod tickets;

pub(crate) use extract::address;
pub(crate) use guard::token;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post};

use crate::operations::{Operation, Surface};
use crate::{Gateway, edge, socket};
use guard::{Guard, guard};

/// Every public route: the rows of the table that are asked for over HTTP, each behind its guard.
pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    let mut router = Router::new();
    for operation in Operation::ALL.iter().copied() {
        let (Surface::Http(_, path), Some(handler)) = (operation.rule().surface, handler(operation)) else { continue };
        let row = Guard { gateway: Arc::clone(&gateway), operation };
        router = router.route(path, handler.route_layer(from_fn_with_state(row, guard)));
    }
    router
        .layer(from_fn_with_state(Arc::clone(&gateway), edge::around))
        .layer(from_fn_with_state(Arc::clone(&gateway), cors::around))
        .with_state(gateway)
}

/// What does it; `None` for what is not asked for over HTTP by itself.
fn handler(operation: Operation) -> Option<MethodRouter<Arc<Gateway>>> {
    Some(match operation {
        Operation::ReadDocument => get(docs::document),
        Operation::ReadDocs | Operation::ReadErrorDocs => get(docs::page),
        Operation::ReadDocsStyle => get(docs::style),
        Operation::ReadDocsScript => get(docs::script),
        Operation::ReadProofKeys => get(jwks::jwks),
        Operation::ListPlans => get(subscriptions::plans),
        Operation::CheckPlans => post(subscriptions::check_plans),
        Operation::CreateSubscription => post(subscriptions::create),
        Operation::ListSubscriptions => get(subscriptions::list),
        Operation::OpenCheckout => post(subscriptions::checkout),
        Operation::OpenPortal => post(subscriptions::portal),
        Operation::ChangePlan => post(subscriptions::change_plan),
        Operation::CancelSubscription => post(subscriptions::cancel),
        Operation::ResumeSubscription => post(subscriptions::resume),
        Operation::ReadSubscription => get(subscriptions::get),
        Operation::ReadUsage => get(subscriptions::usage),
        Operation::IssueProof => post(subscriptions::verify),
        Operation::ListPeers => get(peers::list),
        Operation::ReadPeer => get(peers::get),
        Operation::CountPeers => get(peers::count),
        Operation::ListIceServers => get(ice_servers::get),
        Operation::IssueTicket => post(tickets::issue),
        Operation::CreateApiKey => post(api_keys::create),
        Operation::ListApiKeys => get(api_keys::list),
        Operation::ReadApiKey => get(api_keys::get),
        Operation::RevokeApiKey => delete(api_keys::revoke),
        Operation::RotateApiKey => post(api_keys::rotate),
        Operation::OpenSocket => get(socket::upgrade),
        Operation::OpenStream => get(streams::open),
        Operation::PostFrames => post(streams::post),
        Operation::SeeOthersSubscriptions
        | Operation::Enter
        | Operation::Renew
        | Operation::Attend
        | Operation::SetStatus
        | Operation::Describe
        | Operation::OpenSession
        | Operation::Signal
        | Operation::AskIceServers
        | Operation::SendMessage
        | Operation::Broadcast
        | Operation::BroadcastToUser
        | Operation::BroadcastToTenant => return None,
    })
}
