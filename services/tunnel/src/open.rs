//! Opening a tunnel: who may, which tunnel it is, under which name.

use std::sync::Arc;
use std::time::Duration;

use auth::{Principal, Role};
use contracts::plans::feature;
use contracts::tunnels::{AgentFrame, CarrierKey, CarrierTerms, EdgeFrame, TunnelView, VERSIONS};
use contracts::{PeerId, SubscriptionId, TunnelId};
use service::http::{Code, ProblemResponse};

use crate::Edge;
use crate::agents::{Agent, Entitlement};
use crate::names::{self, PATH_PREFIX};
use crate::store::{Claim, Tunnel};

/// Longest description of an agent's program that is kept.
const MAX_PROGRAM_CHARS: usize = 200;

/// Takes an agent in that said [`AgentFrame::Open`].
pub(crate) async fn open(
    edge: &Arc<Edge>,
    principal: &Principal,
    host: &str,
    frame: AgentFrame,
) -> Result<Arc<Agent>, ProblemResponse> {
    let AgentFrame::Open { versions, program, agent_id, proof, name, .. } = frame else {
        return Err(ProblemResponse::new(Code::MalformedRequest).detail("the first frame must be open, join or resume"));
    };
    if !versions.iter().any(|version| VERSIONS.contains(version)) {
        let detail = format!("versions: {versions:?} are not spoken here; supported: {VERSIONS:?}");
        return Err(ProblemResponse::new(Code::UnsupportedProtocol).detail(detail));
    }
    if principal.role == Role::ReadOnly {
        return Err(ProblemResponse::new(Code::Forbidden).detail("this token may only read"));
    }
    if edge.agents.len() >= edge.config.max_agents {
        let problem = ProblemResponse::new(Code::Unavailable).detail("this edge has as many agents as it may");
        return Err(problem.retry_after_s(5));
    }
    let (proved, proved_until_ms) = prove(edge, principal, &agent_id, proof.as_deref()).await?;
    let tunnel = edge.tunnels.of_agent(Tunnel {
        tunnel_id: edge.new_tunnel_id(),
        tenant: principal.tenant.clone(),
        owner: principal.user.clone(),
        agent_id: agent_id.clone(),
    });
    let tunnel = tunnel.await.map_err(|error| edge.store_problem(&error))?;
    if tunnel.owner != principal.user && principal.role != Role::Admin {
        let detail = "agent_id: another user of this tenant has an agent of this id; choose another";
        return Err(ProblemResponse::new(Code::Forbidden).detail(detail));
    }
    let name = match name {
        Some(name) => Some(claim(edge, &tunnel, &name).await?),
        None => None,
    };
    let view =
        TunnelView { tunnel_id: tunnel.tunnel_id.clone(), urls: urls(edge, host, &tunnel.tunnel_id, &name), name };
    let entitlement = proved.map(|(subscription, ver)| {
        let payer = (principal.tenant.clone(), subscription);
        Entitlement { meter: edge.metering.of(&payer), payer, ver }
    });
    let room = edge.config.max_requests_per_agent;
    let session = edge.new_key();
    let agent = Agent::new(session, agent_id, principal.clone(), view, entitlement, proved_until_ms, room);
    let agent = Arc::new(agent);
    let program: String = program.chars().filter(|c| !c.is_control()).take(MAX_PROGRAM_CHARS).collect();
    tracing::info!(tunnel_id = %tunnel.tunnel_id, tenant = %principal.tenant, program, "a tunnel opened");
    if agent.tunnel.name.is_some() {
        renew_name(edge, &agent, tunnel);
    }
    Ok(agent)
}

/// The answer to a good open.
pub(crate) fn opened(edge: &Edge, agent: &Agent, carrier: CarrierKey) -> EdgeFrame {
    let config = &edge.config;
    EdgeFrame::Opened {
        version: VERSIONS[0],
        capabilities: Vec::new(),
        session: agent.session.clone(),
        connections: config.connections,
        terms: CarrierTerms {
            window_bytes: config.window_bytes as u64,
            resume_within_ms: config.resume_within_ms,
            ping_every_ms: config.ping_every_ms,
            dead_after_ms: config.dead_after_ms,
        },
        carrier,
        tunnel: agent.tunnel.clone(),
    }
}

/// A good proof's subscription and version; `None` where no proof is demanded.
type Proved = Option<(SubscriptionId, u64)>;

async fn prove(
    edge: &Edge,
    principal: &Principal,
    agent_id: &PeerId,
    proof: Option<&str>,
) -> Result<(Proved, u64), ProblemResponse> {
    if !edge.config.proof_required {
        return Ok((None, u64::MAX));
    }
    let Some(proof) = proof else {
        let detail = "proof: ask POST /v1/subscriptions/{id}/verify for one whose peer_id is the agent_id";
        return Err(ProblemResponse::new(Code::ProofRefused).detail(detail));
    };
    let verdict = edge.proofs.verify(&principal.tenant, agent_id, proof).await;
    let good = verdict.map_err(|error| ProblemResponse::new(Code::ProofRefused).detail(error.to_string()))?;
    if !good.features.iter().any(|named| named == feature::TUNNELS) {
        let detail = format!("proof: the plan {:?} has no tunnels; change to one that includes them", good.plan);
        return Err(ProblemResponse::new(Code::Forbidden).detail(detail));
    }
    Ok((Some((good.subscription.clone(), good.ver)), good.expires_at_ms))
}

/// A new proof before the old one ends.
pub(crate) async fn renew_proof(edge: &Edge, agent: &Agent, proof: &str) -> Result<u64, ProblemResponse> {
    let (proved, until_ms) = prove(edge, &agent.principal, &agent.agent_id, Some(proof)).await?;
    let payer = agent.entitlement.as_ref().map(|entitlement| &entitlement.payer.1);
    if proved.as_ref().map(|(subscription, _)| subscription) != payer {
        let detail = "proof: it is of another subscription than the tunnel was opened with; open the tunnel anew";
        return Err(ProblemResponse::new(Code::ProofRefused).detail(detail));
    }
    agent.proved_until_ms.store(until_ms, std::sync::atomic::Ordering::Relaxed);
    Ok(until_ms)
}

async fn claim(edge: &Edge, tunnel: &Tunnel, name: &str) -> Result<String, ProblemResponse> {
    let parsed = names::parse(name);
    let name = parsed.map_err(|error| ProblemResponse::new(Code::Validation).violation("name", error.rule()))?;
    let now_ms = edge.platform.clock.now_ms();
    let claimed = edge.tunnels.claim(&name, tunnel, now_ms, now_ms + edge.config.name_grace_ms).await;
    match claimed.map_err(|error| edge.store_problem(&error))? {
        Claim::Held => Ok(name),
        Claim::Taken => {
            let detail = format!("name: {name:?} belongs to somebody else; choose another");
            Err(ProblemResponse::new(Code::Conflict).detail(detail))
        }
    }
}

/// Keeps the name while the agent is here.
fn renew_name(edge: &Arc<Edge>, agent: &Arc<Agent>, tunnel: Tunnel) {
    let (edge, session, name) =
        (Arc::clone(edge), agent.session.clone(), agent.tunnel.name.clone().unwrap_or_default());
    let lifecycle = edge.platform.lifecycle.clone();
    lifecycle.spawn("tunnel.name", async move {
        let grace_ms = edge.config.name_grace_ms;
        let stop = edge.platform.lifecycle.token();
        let clock = &edge.platform.clock;
        while stop.run_until_cancelled(clock.sleep(Duration::from_millis(grace_ms / 3))).await.is_some() {
            if edge.agents.session(&session).is_none() {
                return;
            }
            let now_ms = clock.now_ms();
            if let Err(error) = edge.tunnels.claim(&name, &tunnel, now_ms, now_ms + grace_ms).await {
                tracing::warn!(name, %error, "a name could not be renewed; tried again");
            }
        }
    });
}

fn urls(edge: &Edge, host: &str, id: &TunnelId, name: &Option<String>) -> Vec<String> {
    let base =
        if edge.config.public_url.is_empty() { format!("http://{host}") } else { edge.config.public_url.clone() };
    let label = name.as_deref().unwrap_or(id.as_str());
    let by_path = format!("{base}{PATH_PREFIX}{label}/");
    if edge.config.domain.is_empty() {
        return vec![by_path];
    }
    let (scheme, rest) = base.split_once("://").unwrap_or(("http", &base));
    let port = rest.rsplit_once(':').map_or(String::new(), |(_, port)| format!(":{port}"));
    vec![format!("{scheme}://{label}.{}{port}/", edge.config.domain), by_path]
}
