//! Events that the subscription service reads.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus::Envelope;
use contracts::Contract;
use contracts::events::gateway::{self, GatewayEvent};
use contracts::events::tunnel::{self, TunnelEvent};
use contracts::events::webhook::{StripeEntitlementsChangedV1, StripeSubscriptionChangedV1, WebhookEvent};
use outbox::{Consumer, Effects, Failure, Order, RetryPolicy, Subscription, Unit};

use crate::commands::refresh;
use crate::{Subscriptions, features, usage};

/// Stripe may be away for minutes; a hint that is given up is made up for by the next one.
const HINTS: RetryPolicy = RetryPolicy {
    max_attempts: 12,
    initial: Duration::from_millis(500),
    max: Duration::from_secs(5 * 60),
    // One call to Stripe with all its tries (25 s), and the store.
    attempt_timeout: Duration::from_secs(28),
};

const ASKS_STRIPE: Effects = Effects::External { lease: Duration::from_secs(30) };

/// What the subscription service reads, and how it deals with trouble.
pub const SUBSCRIPTIONS: &[Subscription] = &[
    Subscription {
        kind: StripeSubscriptionChangedV1::KIND,
        retry: HINTS,
        // Hints have no order; each is worth a look.
        order: Order::Every,
        effects: ASKS_STRIPE,
    },
    Subscription {
        kind: StripeEntitlementsChangedV1::KIND,
        retry: HINTS,
        order: Order::Every,
        effects: ASKS_STRIPE,
    },
    used(gateway::UsageRecordedV1::KIND),
    used(tunnel::UsageRecordedV1::KIND),
];

/// Every report counts, in whatever order.
const fn used(kind: &'static str) -> Subscription {
    Subscription { kind, retry: RetryPolicy::DEFAULT, order: Order::Every, effects: Effects::Local }
}

pub(crate) struct Events(pub(crate) Arc<Subscriptions>);

#[async_trait]
impl Consumer for Events {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        let poison = |error: serde_json::Error| Failure::Poison(format!("{}: {error}", event.kind));
        let (service, tenant, trail) = (&self.0, &event.tenant, event.follow());
        if let Some(fact) = WebhookEvent::decode(&event.kind, &event.data) {
            return match fact.map_err(poison)? {
                WebhookEvent::StripeSubscriptionChanged(hint) => {
                    refresh::on_hint(service, tenant, &hint, &trail, unit).await
                }
                WebhookEvent::StripeEntitlementsChanged(hint) => {
                    features::on_hint(service, tenant, &hint, unit).await
                }
                // Not subscribed to.
                _ => Ok(()),
            };
        }
        if let Some(fact) = GatewayEvent::decode(&event.kind, &event.data) {
            let GatewayEvent::UsageRecorded(used) = fact.map_err(poison)?;
            return usage::record(service, tenant, &used.usage, &trail, unit).await;
        }
        if let Some(fact) = TunnelEvent::decode(&event.kind, &event.data) {
            let TunnelEvent::UsageRecorded(used) = fact.map_err(poison)?;
            return usage::record(service, tenant, &used.usage, &trail, unit).await;
        }
        Ok(())
    }
}
