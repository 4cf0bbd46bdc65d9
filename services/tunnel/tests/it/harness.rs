//! The real edge and the real agent, an origin of every sort behind it, and a proxy between them that breaks on demand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use agent::{Agent, Options, Origin, Status};
use auth::{Entitlement, Grant, Role, TokenMinter};
use bus::{Bus, EmbeddedOptions};
use clock::{Clock, Entropy};
use contracts::plans::feature;
use reqwest::RequestBuilder;
use service::config::{self, Sources};
use service::{Host, PLATFORM, PLATFORM_DEFAULTS, PlatformConfig};
use tempfile::TempDir;
use testkit::TcpProxy;
use testkit::contract::Observer;

use crate::origin;

pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const SECRET: &str = "a secret of thirty-two bytes or so";
/// When a test with a clock of its own begins.
pub(crate) const START_MS: u64 = 1_790_000_000_000;
pub(crate) const ACME: &str = "acme";

pub(crate) struct World {
    pub(crate) edge: SocketAddr,
    pub(crate) origin: SocketAddr,
    /// Between agent and edge.
    pub(crate) proxy: TcpProxy,
    pub(crate) host: Host,
    /// What the edge tells.
    pub(crate) observer: Observer,
    pub(crate) http: reqwest::Client,
    folder: TempDir,
}

/// Settings that every test starts from; its own come after them.
const BASICS: &[(&str, &str)] = &[("token_secret", SECRET), ("proof_required", "false"), ("domain", "tunnels.test")];

pub(crate) async fn world() -> World {
    world_with(&[]).await
}

pub(crate) async fn world_with(settings: &[(&str, &str)]) -> World {
    world_in(TempDir::new().unwrap(), settings).await
}

/// A world on what an earlier one left in `folder`.
async fn world_in(folder: TempDir, settings: &[(&str, &str)]) -> World {
    let clock = Clock::system();
    // Nobody else is here: what only others read would wait for them.
    let read = tunnel::SUBSCRIPTIONS.iter().map(|line| (line.kind.to_owned(), vec![tunnel::NAME.to_owned()]));
    let options = EmbeddedOptions { routes: Some(read.collect()), ..EmbeddedOptions::default() };
    let bus = Bus::embedded(options, clock.clone());
    let observer = Observer::start(&bus, tunnel::NAME).await;
    let host = Host::on(platform_config(&folder), bus, clock, Entropy::system());
    let platform = host.platform(tunnel::NAME).await.unwrap();
    let public = tunnel::start(edge_config(settings), platform).await.unwrap();
    let edge = host.serve_public(tunnel::NAME, public).await.unwrap();
    let proxy = TcpProxy::start(edge).await;
    let http = reqwest::Client::builder().pool_max_idle_per_host(64).build().unwrap();
    World { edge, origin: origin::start().await, proxy, host, observer, http, folder }
}

pub(crate) fn platform_config(folder: &TempDir) -> PlatformConfig {
    let env = [
        ("SYNAPSE_PLATFORM__STORE".to_owned(), format!("sqlite:{}", folder.path().display())),
        ("SYNAPSE_PLATFORM__HTTP_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
    ];
    config::load(Sources { service: PLATFORM, defaults: PLATFORM_DEFAULTS, file: None, env: env.into_iter() }).unwrap()
}

pub(crate) fn edge_config(settings: &[(&str, &str)]) -> tunnel::Config {
    let name = |key: &str| format!("SYNAPSE_TUNNEL__{}", key.to_ascii_uppercase());
    let env = BASICS.iter().chain(settings).map(|(key, value)| (name(key), (*value).to_owned()));
    config::load(Sources { service: tunnel::NAME, defaults: &[tunnel::DEFAULTS], file: None, env }).unwrap()
}

pub(crate) fn token(user: &str) -> String {
    token_of(ACME, user, Role::User)
}

pub(crate) fn token_of(tenant: &str, user: &str, role: Role) -> String {
    token_at(tenant, user, role, Clock::system().now_ms())
}

pub(crate) fn token_at(tenant: &str, user: &str, role: Role, now_ms: u64) -> String {
    let minter = TokenMinter::hs256("synapse", "synapse-gateway", "hs-1", SECRET.into()).unwrap();
    let (tenant, user) = (tenant.parse().unwrap(), user.parse().unwrap());
    let grant = Grant { tenant, user, role, ttl_ms: 3_600_000, token_id: "t-1".into() };
    minter.mint(&grant, now_ms)
}

impl World {
    /// How an agent of the user `ada` reaches the edge: through the proxy.
    pub(crate) fn options(&self, agent_id: &str) -> Options {
        let origin = Origin::try_new(&self.origin.to_string()).unwrap();
        let edge = format!("http://{}", self.proxy.address());
        let pauses = (Duration::from_millis(20), Duration::from_millis(200));
        Options { pauses, ..Options::new(edge, token("ada"), agent_id.parse().unwrap(), origin) }
    }

    pub(crate) async fn agent(&self, agent_id: &str) -> Agent {
        agent::start(self.options(agent_id)).await.unwrap()
    }

    /// An agent whose tunnel is called `blue`.
    pub(crate) async fn blue(&self) -> Agent {
        agent::start(Options { name: Some("blue".into()), ..self.options("laptop") }).await.unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/t/blue{path}", self.edge)
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(self.url(path))
    }

    /// Asks until the answer has this status.
    pub(crate) async fn answers(&self, path: &str, status: u16) -> reqwest::Response {
        testkit::eventually(SOON, &format!("{status} at {path}"), async || {
            let answer = self.get(path).header("accept", "text/html").send().await.unwrap();
            if answer.status() == status { Ok(answer) } else { Err(answer.status().to_string()) }
        })
        .await
    }

    /// Ends this edge and starts another one on its store.
    pub(crate) async fn restarted(self, settings: &[(&str, &str)]) -> Self {
        tokio::time::timeout(SOON, self.host.drain()).await.expect("every task heeds the stop");
        world_in(self.folder, settings).await
    }

    pub(crate) async fn stop(self) {
        let drained = tokio::time::timeout(SOON, self.host.drain()).await;
        drained.expect("every task heeds the stop");
    }
}

/// The agent, as soon as the edge takes it.
pub(crate) async fn admitted(options: &Options) -> Agent {
    let start = async || agent::start(options.clone()).await.map_err(|error| error.to_string());
    testkit::eventually(SOON, "the edge to take the agent", start).await
}

/// What a proof of `peer` says.
pub(crate) fn entitlement(peer: &str, now_ms: u64) -> Entitlement {
    Entitlement {
        tenant: ACME.parse().unwrap(),
        peer: peer.parse().unwrap(),
        subscription: "sub-1".parse().unwrap(),
        ver: 2,
        plan: "team".into(),
        limits: BTreeMap::new(),
        features: vec![feature::TUNNELS.into()],
        entitled_until_ms: now_ms + 86_400_000,
        proof_id: "p-1".into(),
        peer_key: None,
    }
}

pub(crate) fn tunnel_id(agent: &Agent) -> String {
    match &*agent.status().borrow() {
        Status::Online { tunnel, .. } => tunnel.tunnel_id.to_string(),
        other => panic!("the agent should be online: {other:?}"),
    }
}
