//! The agents connected to this process, and the connections of each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use auth::Principal;
use axum::body::Body;
use axum::extract::ws::WebSocket;
use carrier::Carrier;
use contracts::PeerId;
use contracts::tunnels::TunnelView;
use hyper::client::conn::http2::SendRequest;
use tokio::sync::{Semaphore, mpsc};

use crate::metering::{Meter, Payer};

/// A connection for a carrier whose last one broke, and how many bytes the agent has.
pub(crate) type Resumption = (WebSocket, u64);

/// What entitles an agent, and who pays for it.
#[derive(Clone, Debug)]
pub(crate) struct Entitlement {
    pub(crate) payer: Payer,
    /// Of the proof.
    pub(crate) ver: u64,
    pub(crate) meter: Meter,
}

/// One connected agent.
pub(crate) struct Agent {
    pub(crate) session: String,
    pub(crate) agent_id: PeerId,
    pub(crate) principal: Principal,
    pub(crate) tunnel: TunnelView,
    /// What entitles it; `None` where no proof is demanded.
    pub(crate) entitlement: Option<Entitlement>,
    /// When its proof ends, Unix milliseconds.
    pub(crate) proved_until_ms: AtomicU64,
    /// Room for requests under way.
    pub(crate) room: Arc<Semaphore>,
    lines: RwLock<Vec<Arc<Line>>>,
}

/// One connection of an agent, as it lives on over its sockets.
pub(crate) struct Line {
    pub(crate) key: String,
    pub(crate) carrier: Carrier,
    pub(crate) requests: SendRequest<Body>,
    pub(crate) resumes: mpsc::Sender<Resumption>,
    pub(crate) connected: AtomicBool,
    pub(crate) under_way: AtomicUsize,
}

impl Agent {
    pub(crate) fn new(
        session: String,
        agent_id: PeerId,
        principal: Principal,
        tunnel: TunnelView,
        entitlement: Option<Entitlement>,
        proved_until_ms: u64,
        max_requests: usize,
    ) -> Self {
        Self {
            session,
            agent_id,
            principal,
            tunnel,
            entitlement,
            proved_until_ms: AtomicU64::new(proved_until_ms),
            room: Arc::new(Semaphore::new(max_requests)),
            lines: RwLock::default(),
        }
    }

    /// Whether this is the user who opened it.
    pub(crate) fn is_of(&self, principal: &Principal) -> bool {
        (&self.principal.tenant, &self.principal.user) == (&principal.tenant, &principal.user)
    }

    /// What its requests are counted with.
    pub(crate) fn meter(&self) -> Meter {
        self.entitlement.as_ref().map(|entitlement| entitlement.meter.clone()).unwrap_or_default()
    }

    /// The connection for the next request: one that is connected, with the least to do. Bulk goes to the last, so that
    /// small answers don't queue behind it.
    pub(crate) fn line(&self, bulk: bool) -> Option<Arc<Line>> {
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        let usable = lines.iter().filter(|line| !line.requests.is_closed());
        let mut usable: Vec<&Arc<Line>> = usable.collect();
        // While all are broken, one of them is waited for.
        if usable.iter().any(|line| line.connected.load(Ordering::Relaxed)) {
            usable.retain(|line| line.connected.load(Ordering::Relaxed));
        }
        if bulk {
            return usable.last().map(|line| Arc::clone(line));
        }
        usable.into_iter().min_by_key(|line| line.under_way.load(Ordering::Relaxed)).cloned()
    }

    pub(crate) fn lines(&self) -> Vec<Arc<Line>> {
        self.lines.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends all its connections for good.
    pub(crate) fn close(&self, code: u16, reason: &str) {
        self.lines().iter().for_each(|line| line.carrier.close(code, reason));
    }
}

/// Everybody who is connected here.
#[derive(Default)]
pub(crate) struct Agents {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    sessions: HashMap<String, Arc<Agent>>,
    carriers: HashMap<String, (Arc<Agent>, Arc<Line>)>,
    /// Tunnel ids and names.
    labels: HashMap<String, Vec<Arc<Agent>>>,
    turn: usize,
}

impl Agents {
    /// Adds a connection, and its agent with the first one: not before, for it takes the place of the same agent's
    /// earlier session, which is handed back, and no request is to find it without a connection.
    pub(crate) fn add_line(&self, agent: &Arc<Agent>, line: &Arc<Line>) -> Option<Arc<Agent>> {
        let mut lines = agent.lines.write().unwrap_or_else(PoisonError::into_inner);
        lines.push(Arc::clone(line));
        let is_first = lines.len() == 1;
        drop(lines);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.carriers.insert(line.key.clone(), (Arc::clone(agent), Arc::clone(line)));
        if !is_first {
            return None;
        }
        let same = |other: &&Arc<Agent>| other.agent_id == agent.agent_id && other.is_of(&agent.principal);
        let earlier = state.sessions.values().find(same).cloned();
        if let Some(earlier) = &earlier {
            state.remove(earlier);
        }
        state.sessions.insert(agent.session.clone(), Arc::clone(agent));
        for label in labels(agent) {
            state.labels.entry(label).or_default().push(Arc::clone(agent));
        }
        earlier
    }

    /// Removes a connection, and its agent with the last one. Whether the agent is gone.
    pub(crate) fn remove_line(&self, agent: &Arc<Agent>, line: &Line) -> bool {
        let mut lines = agent.lines.write().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|other| other.key != line.key);
        let last = lines.is_empty();
        drop(lines);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.carriers.remove(&line.key);
        if last {
            state.remove(agent);
        }
        last
    }

    pub(crate) fn session(&self, session: &str) -> Option<Arc<Agent>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).sessions.get(session).cloned()
    }

    pub(crate) fn carrier(&self, key: &str) -> Option<(Arc<Agent>, Arc<Line>)> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).carriers.get(key).cloned()
    }

    /// An agent behind a tunnel's id or name; several take turns.
    pub(crate) fn find(&self, label: &str) -> Option<Arc<Agent>> {
        let agents = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let candidates = agents.labels.get(label)?;
        if candidates.len() == 1 {
            return candidates.first().cloned();
        }
        drop(agents);
        let mut agents = self.state.write().unwrap_or_else(PoisonError::into_inner);
        agents.turn = agents.turn.wrapping_add(1);
        let turn = agents.turn;
        let candidates = agents.labels.get(label)?;
        candidates.get(turn % candidates.len().max(1)).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Agent>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).sessions.values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.state.read().unwrap_or_else(PoisonError::into_inner).sessions.len()
    }
}

impl State {
    fn remove(&mut self, agent: &Arc<Agent>) {
        self.sessions.remove(&agent.session);
        for label in labels(agent) {
            if let Some(agents) = self.labels.get_mut(&label) {
                agents.retain(|other| other.session != agent.session);
                if agents.is_empty() {
                    self.labels.remove(&label);
                }
            }
        }
    }
}

fn labels(agent: &Agent) -> impl Iterator<Item = String> {
    [Some(agent.tunnel.tunnel_id.to_string()), agent.tunnel.name.clone()].into_iter().flatten()
}
