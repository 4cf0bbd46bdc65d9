//! The tunnel service: a public URL for a machine that nobody can reach.
//!
//! ```text
//! agent ══ WebSocket ══▶ accept.rs ─▶ carrier ─▶ HTTP/2 (the edge asks, the agent answers)
//! public ──HTTP──▶ names.rs: which tunnel ──▶ forward.rs ──stream──▶ agent ──▶ origin
//!                                             answers.rs: a page or a problem where there is no answer
//! subscription.proof_revoked ──▶ agents without entitlement are closed
//! what passes ──▶ metering.rs ──▶ tunnel.usage_recorded ──▶ subscription.quota_exceeded ──▶ quotas.rs refuses
//! ```
//!
//! Invariants:
//! - Bodies go through as they come, in both directions; nothing here holds a whole one.
//! - A request that reached an agent's connection survives that connection's breaks for `resume_within_ms`.
//! - Nothing that a stranger says about where a request comes from reaches an origin.
//! - A vanity name has one owner at a time, in all replicas.
//! - Use is told at most once, and all of it unless the process is killed.

mod accept;
mod agents;
mod answers;
mod config;
mod consumers;
mod forward;
mod guard;
mod headers;
mod http;
mod metering;
mod names;
mod open;
mod quotas;
mod store;

pub use config::Config;
pub use consumers::SUBSCRIPTIONS;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::http::HeaderMap;
use ::store::StoreError;
use auth::ProofRules;
use contracts::TunnelId;
use contracts::tunnels::close;
use service::http::{Code, ProblemResponse, RequestContext};
use service::{Platform, ProofBook, Public, Tokens};

use crate::agents::{Agent, Agents, Entitlement};
use crate::metering::Metering;
use crate::quotas::Quotas;
use crate::store::Tunnels;

/// The service's name.
pub const NAME: &str = "tunnel";

/// Every setting and its default.
pub const DEFAULTS: &str = include_str!("../config.toml");

/// How often proofs that ended are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How long requests whose agent was closed may take to end.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// Starts the tunnel service and gives its public side.
///
/// # Errors
/// When no key for access tokens is configured, or bus or store can't be reached.
pub async fn start(config: Config, platform: Platform) -> anyhow::Result<Public> {
    let tokens = Tokens::start(&platform, &config.tokens).await?;
    let rules = ProofRules { max_revocations: config.max_revocations, ..service::proof_rules() };
    let proofs = ProofBook::start(&platform, rules).await?;
    let tunnels = Tunnels::new(platform.outbox.clone());
    let quotas = Quotas::load(platform.outbox.clone(), config.max_used_up, platform.clock.now_ms()).await?;
    let metering = Metering::new(platform.clone());
    let agents = Agents::default();
    let edge = Arc::new(Edge { config, tokens, proofs, tunnels, agents, quotas, metering, platform });
    edge.platform.consume(SUBSCRIPTIONS, Arc::new(consumers::Events(Arc::clone(&edge)))).await?;
    let sweeper = Arc::clone(&edge);
    edge.platform.lifecycle.spawn("tunnel.sweep", async move { sweeper.sweep_until_stopped().await });
    let metered = Arc::clone(&edge);
    edge.platform.lifecycle.spawn("tunnel.usage", async move {
        metered.metering.flush_until_stopped(Duration::from_millis(metered.config.usage_interval_ms)).await;
    });
    let limited = Arc::clone(&edge);
    edge.platform.lifecycle.spawn("tunnel.quotas", async move { limited.reload_quotas_until_stopped().await });
    Ok(http::public(edge))
}

pub(crate) struct Edge {
    config: Config,
    tokens: Arc<Tokens>,
    proofs: Arc<ProofBook>,
    tunnels: Tunnels,
    agents: Agents,
    quotas: Quotas,
    metering: Metering,
    platform: Platform,
}

impl Edge {
    /// What a request for a tunnel is told that has no agent here.
    async fn absent(&self, label: &str) -> ProblemResponse {
        match self.tunnels.is_known(label, self.platform.clock.now_ms()).await {
            Ok(true) => {
                let detail = format!("the agent of {label:?} is not connected");
                ProblemResponse::new(Code::AgentOffline).detail(detail)
            }
            Ok(false) => ProblemResponse::new(Code::TunnelUnknown).detail(format!("nobody has a tunnel {label:?}")),
            Err(error) => self.store_problem(&error),
        }
    }

    fn store_problem(&self, error: &StoreError) -> ProblemResponse {
        ProblemResponse::new(Code::Unavailable).retry_after_s(1).debug(error.to_string())
    }

    /// Closes agents whose proofs are void; how many.
    fn close_revoked(&self) -> usize {
        let void = |entitlement: &Entitlement| self.proofs.is_revoked(&entitlement.payer.1, entitlement.ver);
        let lost = self.agents.all().into_iter().filter(|agent| agent.entitlement.as_ref().is_some_and(void));
        lost.map(|agent| agent.close(close::ENTITLEMENT_LOST, "the subscription no longer entitles")).count()
    }

    /// Closes agents whose proof ended without a newer one or was revoked elsewhere; at the end, all of them.
    async fn sweep_until_stopped(&self) {
        let stop = self.platform.lifecycle.token();
        while stop.run_until_cancelled(self.platform.clock.sleep(SWEEP_INTERVAL)).await.is_some() {
            self.close_revoked();
            let now_ms = self.platform.clock.now_ms();
            for agent in self.agents.all() {
                if agent.proved_until_ms.load(Ordering::Relaxed) <= now_ms {
                    agent.close(close::PROOF_ENDED, "the proof ended and no newer one came");
                }
            }
        }
        // Requests under way end first, then their agents go elsewhere.
        let agents = self.agents.all();
        self.idle(&agents, Duration::from_millis(self.config.drain_ms)).await;
        agents.iter().for_each(|agent| agent.close(close::RESTART, "the edge restarts"));
        // Requests that were cut off count what they carried.
        self.idle(&agents, LAST_REQUESTS).await;
        self.metering.flush().await;
    }

    /// Waits until no request of these agents is under way, but not longer than `limit`.
    async fn idle(&self, agents: &[Arc<Agent>], limit: Duration) {
        let most = u32::try_from(self.config.max_requests_per_agent).unwrap_or(u32::MAX);
        let idle = futures::future::join_all(agents.iter().map(|agent| agent.room.acquire_many(most)));
        let _ = self.platform.clock.timeout(limit, idle).await;
    }

    /// What other processes of this service were told of quotas.
    async fn reload_quotas_until_stopped(&self) {
        let (stop, interval) = (self.platform.lifecycle.token(), Duration::from_millis(self.config.quota_reload_ms));
        while stop.run_until_cancelled(self.platform.clock.sleep(interval)).await.is_some() {
            if let Err(error) = self.quotas.reload(self.platform.clock.now_ms()).await {
                tracing::warn!(%error, "quotas could not be read again");
            }
        }
    }

    fn context(&self, headers: &HeaderMap) -> RequestContext {
        RequestContext::new(headers, &self.platform.clock, &self.platform.entropy)
    }

    fn problem_body(&self, problem: ProblemResponse, context: &RequestContext) -> contracts::http::Problem {
        problem.into_body(context, self.platform.mode, &self.platform.clock, &self.platform.entropy)
    }

    /// 128 random bits as text: whoever knows it may use what it names.
    fn new_key(&self) -> String {
        format!("{:016x}{:016x}", self.platform.entropy.next_u64(), self.platform.entropy.next_u64())
    }

    /// 20 characters that fit into a host name: 100 random bits.
    fn new_tunnel_id(&self) -> TunnelId {
        const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut bytes = [0; 20];
        self.platform.entropy.fill(&mut bytes);
        let text: String = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
        text.parse().expect("letters and digits are a valid id")
    }
}
