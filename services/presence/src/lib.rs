//! Presence: who is here.
//!
//! ```text
//! gateway ──connect / describe / set_status / disconnect (requests)──▶ commands ──▶ peer.rs decides
//!         ──heartbeat (signal)──────────────────────────────────────▶    │
//!                        state, marks, counts and fact in one transaction ▼
//!           presence.peer_went_online / _offline / _status_changed / _described (events), presence.changed (signal)
//! gateway, signaling ──lookup / list / count (requests)──▶ queries
//! ```
//!
//! Invariants:
//! - A peer has at most one live connection, the newest; its number (generation) only grows.
//! - A leave or heartbeat of an older connection changes nothing.
//! - A peer whose lease ended goes offline within one sweep interval, once.
//! - Facts of a peer are numbered without gaps.
//! - Counts are exact: what changes who is here changes them in the same transaction.

mod commands;
mod config;
mod counts;
mod draft;
mod network;
mod peer;
mod places;
mod profile;
mod serve;
mod store;

pub use config::Config;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bus::Trail;
use contracts::TenantId;
use contracts::signals::presence::ChangedV1;
use outbox::Subscription;
use service::Platform;

use crate::network::Networks;
use crate::peer::Peer;
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
/// When the bus or the store can't be reached.
pub async fn start(config: Config, platform: Platform) -> anyhow::Result<Router> {
    let presence = Arc::new(Presence::open(config, platform).await?);
    serve::requests(&presence).await?;
    serve::heartbeats(&presence).await?;
    let sweeper = Arc::clone(&presence);
    presence.platform.lifecycle.spawn("presence.sweep", async move { sweeper.sweep_for_ever().await });
    Ok(Router::new())
}

pub(crate) struct Presence {
    config: Config,
    peers: Peers,
    networks: Networks,
    turns: places::Turns,
    platform: Platform,
}

impl Presence {
    async fn open(config: Config, platform: Platform) -> anyhow::Result<Self> {
        let peers = Peers::new(platform.outbox.clone(), config.memory_ms());
        let networks = Networks::open(peers.store(), &platform.entropy).await?;
        Ok(Self { config, peers, networks, turns: places::Turns::default(), platform })
    }

    async fn sweep_for_ever(&self) {
        let interval = Duration::from_millis(self.config.sweep_interval_ms);
        let stop = self.platform.lifecycle.token();
        let mut more = false;
        while more || stop.run_until_cancelled(self.platform.clock.sleep(interval)).await.is_some() {
            more = match commands::expire::sweep(self).await {
                // Not waited while many end at once, as when a gateway has died.
                Ok(swept) => swept.more && !stop.is_cancelled(),
                Err(error) => {
                    tracing::warn!(%error, "ended leases could not be swept; the next sweep tries again");
                    false
                }
            };
        }
    }

    /// Tells everybody who shows peers of this tenant. Best effort: the events are the truth.
    async fn tell_changed(&self, tenant: &TenantId, trail: &Trail, before: Option<&Peer>, now: &Peer) {
        let signal = ChangedV1 { peer: now.view(), marks: now.marks(), before: before.and_then(Peer::marks) };
        let sender = &self.platform.sender;
        if let Err(error) = self.platform.bus.tell(sender, tenant.as_str(), tenant, trail, &signal).await {
            tracing::debug!(%error, "a presence change was not announced");
        }
    }
}
