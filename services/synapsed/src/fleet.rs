//! All services on one host.

use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use bus::Bus;
use clock::{Clock, Entropy};
use serde::Serialize;
use serde::de::DeserializeOwned;
use service::config::{self, Sources, Validate};
use service::{Host, PLATFORM, PLATFORM_DEFAULTS, PlatformConfig, Public};

/// Every service, running.
pub struct Fleet {
    /// The one public address.
    pub public: SocketAddr,
    /// Health, readiness and metrics.
    pub admin: SocketAddr,
    host: Host,
}

/// Settings given on top of files and environment, as environment variables.
pub type Overrides = Vec<(String, String)>;

/// Every service's settings, read and checked.
pub struct Settings {
    /// What all share.
    pub platform: PlatformConfig,
    gateway: gateway::Config,
    presence: presence::Config,
    signaling: signaling::Config,
    subscription: subscription::Config,
    tunnel: tunnel::Config,
    webhook: webhook::Config,
}

impl Settings {
    /// Reads defaults, files, environment, then `overrides`.
    ///
    /// # Errors
    /// All problems of all services together.
    pub fn load(overrides: &Overrides) -> anyhow::Result<Self> {
        let mut problems = Vec::new();
        let platform = load::<PlatformConfig>(PLATFORM, PLATFORM_DEFAULTS, overrides, &mut problems);
        let gateway = load(gateway::NAME, &[gateway::DEFAULTS], overrides, &mut problems);
        let presence = load(presence::NAME, &[presence::DEFAULTS], overrides, &mut problems);
        let signaling = load(signaling::NAME, &[signaling::DEFAULTS], overrides, &mut problems);
        let subscription = load(subscription::NAME, &[subscription::DEFAULTS], overrides, &mut problems);
        let tunnel = load(tunnel::NAME, &[tunnel::DEFAULTS], overrides, &mut problems);
        let webhook = load(webhook::NAME, &[webhook::DEFAULTS], overrides, &mut problems);
        let tunnel = tunnel.map(|tunnel| with_keys_of(tunnel, gateway.as_ref()));
        let all = || {
            Some(Self {
                platform: platform?,
                gateway: gateway?,
                presence: presence?,
                signaling: signaling?,
                subscription: subscription?,
                tunnel: tunnel?,
                webhook: webhook?,
            })
        };
        all().with_context(|| problems.join("\n"))
    }

    /// Lets pages of these origins connect, beside those that are configured.
    pub fn allow_origins(&mut self, origins: Vec<String>) {
        self.gateway.allowed_origins.extend(origins);
    }
}

/// In one process one key for access tokens is enough: without one of its own the tunnel service takes the gateway's.
fn with_keys_of(tunnel: tunnel::Config, gateway: Option<&gateway::Config>) -> tunnel::Config {
    match gateway.filter(|_| !tunnel.tokens.has_key()) {
        Some(gateway) => tunnel::Config { tokens: gateway.tokens.clone(), ..tunnel },
        None => tunnel,
    }
}

fn load<C: DeserializeOwned + Serialize + Validate>(
    name: &str,
    defaults: &[&str],
    overrides: &Overrides,
    problems: &mut Vec<String>,
) -> Option<C> {
    let file = config::process_file(name);
    let env = config::process_env().chain(overrides.iter().cloned());
    match config::load(Sources { service: name, defaults, file: file.as_deref(), env }) {
        Ok(config) => Some(config),
        Err(errors) => {
            problems.push(errors.to_string());
            None
        }
    }
}

impl Fleet {
    /// Starts every service and opens the ports.
    ///
    /// # Errors
    /// What could not be reached or opened.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        Self::start_with(settings, Router::new()).await
    }

    /// The same, with `more` public routes beside the services' own.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub async fn start_with(settings: Settings, more: Router) -> anyhow::Result<Self> {
        let host = Host::start(settings.platform, Clock::system(), Entropy::system()).await?;
        let (gateway, presence, signaling, subscription, tunnel, webhook) = tokio::try_join!(
            host.platform(gateway::NAME),
            host.platform(presence::NAME),
            host.platform(signaling::NAME),
            host.platform(subscription::NAME),
            host.platform(tunnel::NAME),
            host.platform(webhook::NAME),
        )?;
        let (routes, _, _, _, tunnels, intake) = tokio::try_join!(
            gateway::start(settings.gateway, gateway),
            presence::start(settings.presence, presence),
            signaling::start(settings.signaling, signaling),
            subscription::start(settings.subscription, subscription),
            tunnel::start(settings.tunnel, tunnel),
            webhook::start(settings.webhook, webhook),
        )
        .context("a service did not start")?;
        let public = Public { routes: routes.merge(intake).merge(tunnels.routes).merge(more), front: tunnels.front };
        let public = host.serve_public("synapsed", public).await?;
        let admin = host.serve_admin().await?;
        host.health.started();
        Ok(Self { public, admin, host })
    }

    /// The bus that all of them are on: who wants to see what they say needs it.
    pub fn bus(&self) -> Bus {
        self.host.bus.clone()
    }

    /// Ends everything in order; see [`Host::drain`].
    pub async fn drain(self) {
        self.host.drain().await;
    }
}
