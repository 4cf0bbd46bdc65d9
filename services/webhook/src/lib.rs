//! The webhook service: takes in what Stripe says.
//!
//! ```text
//! Stripe ──POST──▶ http.rs: read, bounded ──▶ signature.rs: is it Stripe's? ──no──▶ 400
//!                                                │ yes
//!          event.rs, object.rs: what is it ──▶ judge.rs: what follows ──▶ intake.rs: whose is it
//!                   event + numbers + facts in one transaction ▼ ──▶ 200
//!                       webhook.stripe_…_changed (events) ──▶ subscription service, which asks Stripe
//! subscription.status_changed.v1 ──▶ consumers.rs: what it settled on
//! operators ──▶ admin.rs ──▶ listing.rs: what came, replay.rs: publish it again
//! ```
//!
//! Invariants:
//! - Nothing is stored without a good signature; everything that has one is stored before it is answered.
//! - One event's facts are published once, however often it comes; their ids follow from its id.
//! - An event is known when all that follows from it is durable, and not before.
//! - After a good signature the answer is 200, unless it could not be stored (503, and Stripe sends it again).
//! - The answer waits for the store and for nobody else.
//! - Test money never acts where an endpoint is for real money, nor the other way round.
//! - A Stripe object that belonged to one tenant never acts for another.
//! - A fact is a hint: nobody decides from it without asking Stripe.

mod admin;
mod config;
mod consumers;
mod endpoint;
mod event;
mod http;
mod intake;
mod judge;
mod listing;
mod object;
mod record;
mod replay;
mod signature;
mod store;

pub use config::{Config, EndpointConfig, StripeMode};
pub use consumers::SUBSCRIPTIONS;
pub use event::Event;
pub use signature::{Refused, Verifier};

use std::sync::Arc;

use axum::Router;
use contracts::TenantId;
use service::Platform;
use tokio::sync::Semaphore;

use crate::endpoint::Endpoint;
use crate::intake::Turns;
use crate::store::Events;

/// The service's name.
pub const NAME: &str = "webhook";

/// Every setting and its default.
pub const DEFAULTS: &str = include_str!("../config.toml");

/// Starts the webhook service and gives its public routes, Stripe's endpoints. The operators' routes are added to the
/// admin listener.
///
/// # Errors
/// When an endpoint has no signing secret, or the bus can't be reached.
pub async fn start(config: Config, platform: Platform) -> anyhow::Result<Router> {
    let endpoints = Endpoint::all(&config, platform.mode)?;
    let webhook = Arc::new(Webhook {
        endpoints: endpoints.into_iter().map(Arc::new).collect(),
        events: Events::new(platform.outbox.clone(), config.memory_ms()),
        turns: Turns::new(),
        room: Semaphore::new(config.max_in_flight),
        installation: service::platform_tenant(),
        config,
        platform,
    });
    webhook.platform.consume(SUBSCRIPTIONS, Arc::new(consumers::Settlements(Arc::clone(&webhook)))).await?;
    // The verifiers ask for the current ones with each body.
    let secrets = webhook.endpoints.iter().map(|endpoint| ("secrets", endpoint.secrets()));
    webhook.platform.rotate(secrets.collect(), || {});
    webhook.platform.add_admin_routes(admin::router(Arc::clone(&webhook)));
    Ok(http::router(&webhook))
}

pub(crate) struct Webhook {
    config: Config,
    /// The first one's settings stand at the top of the configuration.
    endpoints: Vec<Arc<Endpoint>>,
    events: Events,
    /// One aggregate's events commit one after the other.
    turns: Turns,
    /// Requests under way.
    room: Semaphore,
    /// The tenant of facts that are about no customer.
    installation: TenantId,
    platform: Platform,
}

impl Webhook {
    /// The endpoint of this name; the first one where it was removed meanwhile.
    pub(crate) fn endpoint(&self, name: &str) -> &Endpoint {
        self.endpoints.iter().find(|endpoint| endpoint.name == name).unwrap_or(&self.endpoints[0])
    }
}
