//! Plans, subscriptions that follow Stripe's truth, and the proofs of them.
//!
//! ```text
//! gateway ──create / checkout / change / … (requests)──▶ commands ──▶ reservation or status machine ──▶ Stripe
//! anybody ──list_proof_keys (request)──────────────────▶    │                                          ▲    │
//! webhook.stripe_…_changed (events) ────────────────────────┴── a hint: fetch the object ──────────────┘    │
//!                                            state + facts in one transaction ◀────────────────────────────┘
//!        subscription.created / status_changed / transition_rejected / proof_revoked / proof_key_published (events)
//! ```
//!
//! Invariants:
//! - One Idempotency-Key of a user makes one subscription, however often, in parallel and across crashes.
//! - A webhook never sets a state; what Stripe answers when asked afterwards does. An older answer never replaces a
//!   newer one.
//! - A status we don't know entitles to nothing. Each loss of the entitlement voids every proof issued before it.
//! - A key is published before anything is signed with it; no proof outlives its key or its entitlement.
//! - Facts of a subscription are numbered without gaps.

mod admin;
mod catalogue;
mod commands;
mod config;
mod consumers;
mod features;
mod keys;
mod metadata;
mod reconcile;
mod return_urls;
mod revocations;
mod shares;
mod status;
mod store;
mod stripe;
mod subscription;
mod turns;
mod usage;
mod vault;
mod wish;

pub use catalogue::{Plan, PriceIds};
pub use config::{Config, ProofConfig, StripeConfig};
pub use consumers::SUBSCRIPTIONS;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use contracts::TenantId;
use service::Platform;

use crate::catalogue::Catalogue;
use crate::commands::{
    cancel, change_plan, checkout, create, get, list, list_proof_keys, plans, portal, proof_snapshot, resume, verify,
};
use crate::keys::Keys;
use crate::store::Records;
use crate::stripe::Stripe;
use crate::turns::Turns;

/// The service's name.
pub const NAME: &str = "subscription";

/// Every setting and its default.
pub const DEFAULTS: &str = include_str!("../config.toml");

/// Starts the subscription service: makes its first proof key, reads hints, serves its requests, rotates keys. It has
/// no public HTTP.
///
/// # Errors
/// When the Stripe key or the catalogue does not fit the mode, or the bus or the store can't be reached.
pub async fn start(config: Config, platform: Platform) -> anyhow::Result<Router> {
    let catalogue = config.check_mode(platform.mode)?;
    let (clock, entropy) = (platform.clock.clone(), platform.entropy.clone());
    let keys = Keys::new(platform.outbox.clone(), clock.clone(), entropy.clone(), config.proofs.clone());
    keys.maintain().await?;
    let stripe = Stripe::try_new(config.stripe.clone(), clock, entropy)?;
    let shared = shares::is_shared(platform.outbox.store());
    if shared {
        let (now_ms, interval_ms) = (platform.clock.now_ms(), config.stripe.share_interval_ms);
        stripe.share(shares::look(platform.outbox.store(), &platform.node_id, now_ms, interval_ms).await?);
    }
    let service = Arc::new(Subscriptions {
        records: Records::new(platform.outbox.clone()),
        stripe,
        turns: Turns::default(),
        keys,
        noted_tenants: Mutex::default(),
        catalogue,
        config,
        platform,
    });
    let (platform, max) = (&service.platform, service.config.max_requests);
    platform.consume(SUBSCRIPTIONS, Arc::new(consumers::Events(Arc::clone(&service)))).await?;
    platform.serve(&service, max, create::create).await?;
    platform.serve(&service, max, get::get).await?;
    platform.serve(&service, max, verify::verify).await?;
    platform.serve(&service, max, list_proof_keys::list_proof_keys).await?;
    platform.serve(&service, max, proof_snapshot::proof_snapshot).await?;
    platform.serve(&service, max, usage::usage).await?;
    platform.serve(&service, max, list::list).await?;
    platform.serve(&service, max, change_plan::change_plan).await?;
    platform.serve(&service, max, cancel::cancel).await?;
    platform.serve(&service, max, resume::resume).await?;
    platform.serve(&service, max, checkout::create_checkout).await?;
    platform.serve(&service, max, portal::create_portal).await?;
    platform.serve(&service, max, plans::list_plans).await?;
    platform.serve(&service, max, plans::check_plans).await?;
    platform.add_admin_routes(admin::router(Arc::clone(&service)));
    if shared {
        let sharer = Arc::clone(&service);
        platform.lifecycle.spawn("subscription.shares", async move {
            shares::keep(&sharer.platform, &sharer.stripe, sharer.config.stripe.share_interval_ms).await;
        });
    }
    let keeper = Arc::clone(&service);
    platform.lifecycle.spawn("subscription.keys", async move { keeper.keep_keys().await });
    let sweeper = Arc::clone(&service);
    platform.lifecycle.spawn("subscription.quotas", async move { sweeper.keep_quotas().await });
    let reconciler = Arc::clone(&service);
    platform.lifecycle.spawn("subscription.reconcile", async move { reconciler.keep_reconciled().await });
    // Both are asked for at each use.
    let secrets = vec![
        ("stripe.secret_key", service.config.stripe.secret_key.clone()),
        ("proofs.sealing_secret", service.config.proofs.sealing_secret.clone()),
    ];
    platform.rotate(secrets, || {});
    Ok(Router::new())
}

pub(crate) struct Subscriptions {
    config: Config,
    catalogue: Catalogue,
    records: Records,
    stripe: Stripe,
    turns: Turns,
    keys: Keys,
    noted_tenants: Mutex<HashSet<TenantId>>,
    platform: Platform,
}

impl Subscriptions {
    async fn keep_quotas(&self) {
        let interval = Duration::from_millis(self.config.usage.sweep_interval_ms);
        let (stop, mut after) = (self.platform.lifecycle.token(), None);
        while stop.run_until_cancelled(self.platform.clock.sleep(interval)).await.is_some() {
            match usage::sweep(self, after.take()).await {
                Ok((_, next)) => after = next,
                Err(error) => {
                    tracing::warn!(%error, "exceeded quotas could not be looked at; the next sweep tries again")
                }
            }
        }
    }

    async fn keep_keys(&self) {
        let interval = Duration::from_millis(self.config.proofs.check_interval_ms);
        let stop = self.platform.lifecycle.token();
        while stop.run_until_cancelled(self.platform.clock.sleep(interval)).await.is_some() {
            if let Err(error) = self.keys.maintain().await {
                tracing::warn!(%error, "proof keys could not be looked after; the next look tries again");
            }
        }
    }
}
