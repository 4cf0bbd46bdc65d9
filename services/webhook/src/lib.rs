//! The webhook service: takes in what Stripe says.
//!
//! ```text
//! Stripe ──POST──▶ http.rs: read, bounded ──▶ signature.rs: is it Stripe's? ──no──▶ 400
//!                                                │ yes
//!                     event.rs: what is it ──▶ judge.rs: what follows ──▶ intake.rs
//!                     event + number + fact in one transaction ▼ ──▶ 200
//!                       webhook.stripe_subscription_changed (event) ──▶ subscription service, which asks Stripe
//! subscription.status_changed.v1 ──▶ consumers.rs: what it settled on
//! ```
//!
//! Invariants:
//! - Nothing is stored without a good signature; everything that has one is stored before it is answered.
//! - One event has at most one fact, however often it comes.
//! - After a good signature the answer is 200, unless it could not be stored (503, and Stripe sends it again).
//! - The answer waits for the store and for nobody else.
//! - Test money never acts in a live installation, nor the other way round.
//! - A fact is a hint: nobody decides from it without asking Stripe.

mod config;
mod consumers;
mod event;
mod http;
mod intake;
mod judge;
mod signature;
mod store;

pub use config::Config;
pub use consumers::SUBSCRIPTIONS;

use std::sync::Arc;

use axum::Router;
use service::Platform;
use service::config::Mode;
use tokio::sync::Semaphore;

use crate::intake::Turns;
use crate::signature::Verifier;
use crate::store::Events;

/// The service's name.
pub const NAME: &str = "webhook";

/// Every setting and its default.
pub const DEFAULTS: &str = include_str!("../config.toml");

/// Starts the webhook service and gives its public route, Stripe's endpoint.
///
/// # Errors
/// When no signing secret is set, or the bus can't be reached.
pub async fn start(config: Config, platform: Platform) -> anyhow::Result<Router> {
    let webhook = Arc::new(Webhook {
        verifier: Verifier::try_new(config.secrets.clone(), config.tolerance_s)?,
        events: Events::new(platform.outbox.clone(), config.memory_ms()),
        turns: Turns::new(),
        room: Semaphore::new(config.max_in_flight),
        live: platform.mode == Mode::Production,
        config,
        platform,
    });
    webhook.platform.consume(SUBSCRIPTIONS, Arc::new(consumers::Settlements(Arc::clone(&webhook)))).await?;
    // The verifier asks for the current ones with each body.
    webhook.platform.rotate(vec![("secrets", webhook.config.secrets.clone())], || {});
    Ok(http::router(webhook))
}

pub(crate) struct Webhook {
    config: Config,
    verifier: Verifier,
    events: Events,
    /// One subscription's events commit one after the other.
    turns: Turns,
    /// Requests under way.
    room: Semaphore,
    /// Whether events must be of real money.
    live: bool,
    platform: Platform,
}
