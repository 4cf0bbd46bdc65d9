//! Presence: who is here.
//!
//! ```text
//! gateway ──connect / disconnect / set_status / lookup / list (requests)──▶ commands ──▶ peer.rs decides
//!         ──heartbeat (signal)──────────────────────────────────────────▶    │
//!                                             state + fact in one transaction ▼
//!                     presence.peer_went_online / _offline / _status_changed (events), presence.changed (signal)
//! ```
//!
//! Invariants:
//! - A peer has at most one live connection, the newest; its number (generation) only grows.
//! - A leave or heartbeat of an older connection changes nothing.
//! - A peer whose lease ended goes offline within one sweep interval, once.
//! - Facts of a peer are numbered without gaps.

mod commands;
mod config;
mod peer;
mod places;
mod serve;
mod store;

pub use config::Config;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bus::Trail;
use contracts::TenantId;
use outbox::Subscription;
use service::Platform;

use crate::store::Peers;

/// The service's name.
pub const NAME: &str = "presence";

/// Every setting and its default.
pub const DEFAULTS: &str = include_str!("../config.toml");

/// Events presence reads: none. Gateways tell it everything by requests and heartbeats.
pub const SUBSCRIPTIONS: &[Subscription] = &[];

/// Starts presence: serves its requests, takes heartbeats, ends leases. It has no public HTTP.
///
/// # Errors
/// When the bus can't be reached.
pub async fn start(config: Config, platform: Platform) -> anyhow::Result<Router> {
    let presence = Arc::new(Presence::new(config, platform));
    serve::requests(&presence).await?;
    serve::heartbeats(&presence).await?;
    let sweeper = Arc::clone(&presence);
    presence.platform.lifecycle.spawn("presence.sweep", async move { sweeper.sweep_for_ever().await });
    Ok(Router::new())
}

pub(crate) struct Presence {
    config: Config,
    peers: Peers,
    turns: places::Turns,
    platform: Platform,
}

impl Presence {
    fn new(config: Config, platform: Platform) -> Self {
        let peers = Peers::new(platform.outbox.clone(), config.memory_ms());
        Self { config, peers, turns: places::Turns::default(), platform }
    }

    async fn sweep_for_ever(&self) {
        let interval = Duration::from_millis(self.config.sweep_interval_ms);
        let stop = self.platform.lifecycle.token();
        while stop.run_until_cancelled(self.platform.clock.sleep(interval)).await.is_some() {
            if let Err(error) = commands::expire::sweep(self).await {
                tracing::warn!(%error, "ended leases could not be swept; the next sweep tries again");
            }
        }
    }

    /// Tells everybody who shows peers of this tenant. Best effort: the events are the truth.
    async fn tell_changed(&self, tenant: &TenantId, trail: &Trail, peer: &peer::Peer) {
        let signal = contracts::signals::presence::ChangedV1 { peer: peer.view() };
        let sender = &self.platform.sender;
        if let Err(error) = self.platform.bus.tell(sender, tenant.as_str(), tenant, trail, &signal).await {
            tracing::debug!(%error, "a presence change was not announced");
        }
    }
}
