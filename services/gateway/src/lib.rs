//! The gateway: the public edge.
//!
//! ```text
//! client ──HTTP──▶ http/ ──request──▶ owner ──answer──▶ http/ ──▶ client
//! client ──frame──▶ socket/ ──request──▶ owner          refusals.rs turns every "no" into a problem
//!        ◀──frame── journal ◀── registry ◀──signal── presence, signaling, other gateways (nodes.rs)
//!        ◀──close── registry ◀──subscription.proof_revoked
//! ```
//!
//! Invariants:
//! - Nobody gets past `http/extract.rs` or `socket/peer.rs` without a good token; no peer without a good proof.
//! - A connection that is in the registry is removed from it, and presence is told, however it ends.
//! - Every client frame gets exactly one outcome.
//! - What is pushed to a peer goes through its journal, which numbers it: nothing reaches a client twice or out of order.
//! - A slow client costs at most what may wait in its journal; then it is closed.

mod config;
mod consumers;
mod edge;
mod fan_out;
mod http;
mod journal;
mod messages;
mod nodes;
pub mod openapi;
mod refusals;
mod registry;
mod socket;
mod streams;
mod tickets;

pub use config::Config;
pub use consumers::SUBSCRIPTIONS;
pub use edge::LimitsConfig;

use std::sync::Arc;
use std::time::Duration;

use auth::ProofRules;
use axum::Router;
use bus::Trail;
use contracts::{Request, TenantId};
use service::http::{ProblemResponse, RequestContext};
use service::{PeerBook, Platform, ProofBook, Rejection, Tokens, expect_reply};
use tokio::sync::Semaphore;

use crate::edge::Edge;
use crate::nodes::{Calls, Flush};
use crate::registry::Registry;
use crate::streams::Streams;
use crate::tickets::Tickets;

/// The service's name.
pub const NAME: &str = "gateway";

/// Every setting and its default.
pub const DEFAULTS: &str = include_str!("../config.toml");

/// Starts the gateway and gives its public routes.
///
/// # Errors
/// When no key for access tokens is configured, or bus or store can't be reached.
pub async fn start(config: Config, platform: Platform) -> anyhow::Result<Router> {
    let tokens = Tokens::start(&platform, &config.tokens).await?;
    let rules = ProofRules { max_revocations: config.max_revocations, ..service::proof_rules() };
    let proofs = ProofBook::start(&platform, rules).await?;
    let peers = PeerBook::new(&platform, config.peer_book());
    let connections = Arc::new(Semaphore::new(config.max_connections));
    let gateway = Arc::new(Gateway {
        registry: Registry::new(config.journal_limits(), config.max_rooms, config.max_detached),
        tickets: Tickets::new(platform.node_id.clone(), config.max_tickets, config.ticket_ttl_ms),
        calls: Calls::default(),
        flush: Flush::default(),
        edge: Edge::start(&config, &platform),
        streams: Arc::default(),
        config,
        tokens,
        proofs,
        peers,
        connections,
        platform,
    });
    gateway.platform.consume(SUBSCRIPTIONS, Arc::new(consumers::Events(Arc::clone(&gateway)))).await?;
    fan_out::start(&gateway).await?;
    Ok(http::router(gateway))
}

pub(crate) struct Gateway {
    config: Config,
    tokens: Arc<Tokens>,
    proofs: Arc<ProofBook>,
    /// Peers of other processes, as presence told them last.
    peers: PeerBook,
    registry: Registry,
    tickets: Tickets,
    streams: Arc<Streams>,
    /// What this process asked others of its kind.
    calls: Calls,
    flush: Flush,
    connections: Arc<Semaphore>,
    /// How much may come in.
    edge: Edge,
    platform: Platform,
}

impl Gateway {
    /// Asks a service for a tenant.
    async fn ask<R: Request>(
        &self,
        tenant: &TenantId,
        trail: &Trail,
        ask: &R,
    ) -> Result<R::Reply, Rejection<R::Refusal>> {
        let timeout = Duration::from_millis(self.config.request_timeout_ms);
        let answer = self.platform.bus.ask(&self.platform.sender, tenant, trail, ask, timeout).await?;
        expect_reply(answer)
    }

    fn new_id(&self) -> String {
        self.platform.entropy.uuid_v7(self.platform.clock.now_ms()).to_string()
    }

    /// Names a numbering of pushed frames; whoever hears it can tell which process has them.
    fn new_epoch(&self) -> String {
        let (node, random) = (&self.platform.node_id, self.platform.entropy.next_u64());
        format!("{node}.{random:016x}")
    }

    fn new_trail(&self) -> Trail {
        Trail::fresh(&self.platform.clock, &self.platform.entropy)
    }

    /// A problem as a frame carries it; its correlation id is the trail's.
    fn problem_body(&self, problem: ProblemResponse, trail: &Trail) -> contracts::http::Problem {
        let platform = &self.platform;
        let id = trail.correlation_id.clone();
        let context = RequestContext { request_id: id.clone(), correlation_id: id, caller_trace: None };
        problem.into_body(&context, platform.mode, &platform.clock, &platform.entropy)
    }
}
