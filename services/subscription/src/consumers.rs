//! Events that the subscription service reads.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus::Envelope;
use contracts::events::webhook::StripeSubscriptionChangedV1;
use contracts::{Contract, SubscriptionId};
use outbox::{Consumer, Effects, Failure, Order, RetryPolicy, Subscription, Unit};
use serde::Deserialize;

use crate::commands::refresh;
use crate::{NAME, Subscriptions};

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

/// What is needed of [`StripeSubscriptionChangedV1`]: everything else is read from Stripe itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Hint {
    pub(crate) subscription_id: SubscriptionId,
    pub(crate) stripe_subscription_id: String,
    /// For the log.
    pub(crate) stripe_event_id: String,
    #[serde(default)]
    pub(crate) hinted_status: Option<String>,
}

pub(crate) struct Events(pub(crate) Arc<Subscriptions>);

#[async_trait]
impl Consumer for Events {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        if event.kind == StripeSubscriptionChangedV1::KIND {
            let hint: Hint = outbox::read(NAME, event)?;
            return refresh::on_hint(&self.0, &event.tenant, &hint, &event.follow(), unit).await;
        }
        Ok(())
    }
}
