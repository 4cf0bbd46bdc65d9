//! Events that the subscription service reads.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus::Envelope;
use contracts::Contract;
use contracts::events::webhook::{StripeSubscriptionChangedV1, WebhookEvent};
use outbox::{Consumer, Effects, Failure, Order, RetryPolicy, Subscription, Unit};

use crate::Subscriptions;
use crate::commands::refresh;

/// What the subscription service reads, and how it deals with trouble.
pub const SUBSCRIPTIONS: &[Subscription] = &[Subscription {
    kind: StripeSubscriptionChangedV1::KIND,
    // Stripe may be away for minutes; a hint that is given up is made up for by the next one.
    retry: RetryPolicy {
        max_attempts: 12,
        initial: Duration::from_millis(500),
        max: Duration::from_secs(5 * 60),
        // One call to Stripe with all its tries (25 s), and the store.
        attempt_timeout: Duration::from_secs(28),
    },
    // Hints have no order; each is worth a look.
    order: Order::Every,
    effects: Effects::External { lease: Duration::from_secs(30) },
}];

pub(crate) struct Events(pub(crate) Arc<Subscriptions>);

#[async_trait]
impl Consumer for Events {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        match WebhookEvent::decode(&event.kind, &event.data) {
            Some(Ok(WebhookEvent::StripeSubscriptionChanged(hint))) => {
                refresh::on_hint(&self.0, &event.tenant, &hint, &event.follow(), unit).await
            }
            Some(Err(error)) => Err(Failure::Poison(format!("{}: {error}", event.kind))),
            // Not subscribed to.
            Some(Ok(_)) | None => Ok(()),
        }
    }
}
