//! Signaling: WebRTC sessions between peers.
//!
//! ```text
//! gateway ──open_session / send (requests)──▶ proof, signal, identity checked ──▶ target looked up at presence
//!                                     session.rs decides │ state + fact + what is kept in one transaction
//!            target's gateway ◀──signaling.deliver (signal, addressed by node)───┘
//!            target's gateway ───signaling.taken──▶ delivery.rs; not taken: into the mailbox
//! presence.peer_went_online ──▶ empty.rs: the mailbox, in order ──▶ receipts ──▶ the senders' mailboxes
//! presence.peer_went_offline ──▶ the peer's sessions wait for it, or end
//! ```
//!
//! Invariants:
//! - Nothing is passed on for a sender without a good proof, or to a peer whose entitlement is gone.
//! - `from` and `polite` are stamped here, never taken from a sender.
//! - Of each two peers exactly one is polite; colliding offers are both passed on.
//! - A signal of an older negotiation never reaches the other side.
//! - What was accepted reaches its peer, or its sender is told that it does not. Signals of one sender keep their order.

mod commands;
mod config;
mod consumers;
mod delivery;
mod ice;
mod mailbox;
mod session;
mod signal;
mod store;

pub use config::Config;
pub use consumers::SUBSCRIPTIONS;
pub use signal::{Checked, Limits, check as check_signal};

use std::sync::Arc;
use std::time::Duration;

use auth::ProofRules;
use axum::Router;
use service::{PeerBook, PeerBookOptions, Platform, ProofBook};

use crate::commands::empty::{self, Wakes};
use crate::delivery::Answers;
use crate::store::Sessions;

/// The service's name.
pub const NAME: &str = "signaling";

/// Every setting and its default.
pub const DEFAULTS: &str = include_str!("../config.toml");

/// How often sessions whose time is over are looked for; they are half a minute old at least, so seconds don't matter.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Starts signaling: reads its events, serves its requests, ends sessions, empties mailboxes. It has no public HTTP.
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
    let (wakes, woken) = Wakes::new();
    let answers = Answers::default();
    let signaling = Arc::new(Signaling { config, proofs, peers, sessions, wakes, answers, platform });
    let platform = &signaling.platform;
    delivery::start(&signaling).await?;
    platform.consume(SUBSCRIPTIONS, Arc::new(consumers::Events(Arc::clone(&signaling)))).await?;
    platform.serve(&signaling, signaling.config.max_requests, commands::open_session::open_session).await?;
    platform.serve(&signaling, signaling.config.max_requests, commands::send::send).await?;
    platform.serve(&signaling, signaling.config.max_requests, commands::ice_servers::ice_servers).await?;
    let config = &signaling.config;
    let secrets =
        vec![("turn_secret", config.turn_secret.clone()), ("turn_secret_next", config.turn_secret_next.clone())];
    platform.rotate(secrets, || {});
    platform.lifecycle.spawn("signaling.mailboxes", empty::run(Arc::clone(&signaling), woken));
    let sweeper = Arc::clone(&signaling);
    platform.lifecycle.spawn("signaling.sweep", async move { sweeper.sweep_for_ever().await });
    Ok(Router::new())
}

pub(crate) struct Signaling {
    config: Config,
    proofs: Arc<ProofBook>,
    peers: Arc<PeerBook>,
    sessions: Sessions,
    /// Mailboxes to look at now.
    wakes: Wakes,
    /// Who waits to hear what gateways took.
    answers: Answers,
    platform: Platform,
}

impl Signaling {
    fn new_id(&self) -> String {
        self.platform.entropy.uuid_v7(self.platform.clock.now_ms()).to_string()
    }

    async fn sweep_for_ever(&self) {
        let stop = self.platform.lifecycle.token();
        while stop.run_until_cancelled(self.platform.clock.sleep(SWEEP_INTERVAL)).await.is_some() {
            if let Err(error) = commands::end::sweep(self).await {
                tracing::warn!(%error, "sessions whose time is over could not be swept; the next sweep tries again");
            }
        }
    }
}
