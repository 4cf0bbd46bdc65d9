//! Signaling: WebRTC sessions between peers.
//!
//! ```text
//! gateway ──open_session / send (requests)──▶ proof checked ──▶ target looked up at presence ──▶ session.rs decides
//!                                                state + fact in one transaction │
//!            target's gateway ◀──signaling.deliver (signal, addressed by node)───┘
//! presence.peer_went_offline ──▶ the peer's sessions end
//! ```
//!
//! Invariants:
//! - Nothing is passed on for a sender without a good proof, or to a peer that is not here.
//! - `from` and `polite` are stamped here, never taken from a sender.
//! - Of two peers exactly one is polite; colliding offers are both passed on.
//! - A signal of an older negotiation never reaches the other side.

mod commands;
mod config;
mod consumers;
mod sdp;
mod session;
mod store;

pub use config::Config;
pub use consumers::SUBSCRIPTIONS;

use std::sync::Arc;
use std::time::Duration;

use auth::ProofRules;
use axum::Router;
use service::{PeerBook, PeerBookOptions, Platform, ProofBook};

use crate::store::Sessions;

/// The service's name.
pub const NAME: &str = "signaling";

/// Every setting and its default.
pub const DEFAULTS: &str = include_str!("../config.toml");

/// How often silent sessions are looked for; they are minutes old, so seconds don't matter.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Starts signaling: reads its events, serves its requests, ends silent sessions. It has no public HTTP.
///
/// # Errors
/// When the bus or the store can't be reached.
pub async fn start(config: Config, platform: Platform) -> anyhow::Result<Router> {
    let rules = ProofRules { max_revocations: config.max_revocations, ..service::proof_rules() };
    let proofs = ProofBook::start(&platform, rules).await?;
    let options = PeerBookOptions {
        max_peers: config.max_cached_peers,
        ttl: Duration::from_millis(config.peer_cache_ttl_ms),
        timeout: Duration::from_millis(config.lookup_timeout_ms),
    };
    let peers = PeerBook::start(&platform, options).await?;
    let sessions = Sessions::new(platform.outbox.clone());
    let signaling = Arc::new(Signaling { config, proofs, peers, sessions, platform });
    let platform = &signaling.platform;
    platform.consume(SUBSCRIPTIONS, Arc::new(consumers::Events(Arc::clone(&signaling)))).await?;
    platform.serve(&signaling, signaling.config.max_requests, commands::open_session::open_session).await?;
    platform.serve(&signaling, signaling.config.max_requests, commands::send::send).await?;
    let sweeper = Arc::clone(&signaling);
    platform.lifecycle.spawn("signaling.sweep", async move { sweeper.sweep_for_ever().await });
    Ok(Router::new())
}

pub(crate) struct Signaling {
    config: Config,
    proofs: Arc<ProofBook>,
    peers: Arc<PeerBook>,
    sessions: Sessions,
    platform: Platform,
}

impl Signaling {
    async fn sweep_for_ever(&self) {
        let stop = self.platform.lifecycle.token();
        while stop.run_until_cancelled(self.platform.clock.sleep(SWEEP_INTERVAL)).await.is_some() {
            if let Err(error) = commands::end::sweep(self).await {
                tracing::warn!(%error, "silent sessions could not be swept; the next sweep tries again");
            }
        }
    }
}
