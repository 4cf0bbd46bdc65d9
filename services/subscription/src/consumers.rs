//! Events that the subscription service reads.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus::Envelope;
use contracts::Contract;
use contracts::events::webhook::{
    StripeCatalogueChangedV1, StripeCheckoutChangedV1, StripeCustomerChangedV1, StripeSubscriptionChangedV1,
    WebhookEvent,
};
use outbox::{Consumer, Effects, Failure, Order, RetryPolicy, Subscription, Unit};

use crate::Subscriptions;
use crate::commands::refresh::{self, Hint};
use crate::commands::{customer, plans};

/// What the subscription service reads, and how it deals with trouble.
pub const SUBSCRIPTIONS: &[Subscription] = &[
    hint(StripeSubscriptionChangedV1::KIND),
    hint(StripeCheckoutChangedV1::KIND),
    hint(StripeCustomerChangedV1::KIND),
    hint(StripeCatalogueChangedV1::KIND),
];

const fn hint(kind: &'static str) -> Subscription {
    Subscription {
        kind,
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
    }
}

pub(crate) struct Events(pub(crate) Arc<Subscriptions>);

#[async_trait]
impl Consumer for Events {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        let (tenant, trail) = (&event.tenant, event.follow());
        match WebhookEvent::decode(&event.kind, &event.data) {
            Some(Ok(WebhookEvent::StripeSubscriptionChanged(changed))) => {
                let hint = Hint {
                    subscription_id: &changed.subscription_id,
                    stripe_subscription_id: &changed.stripe_subscription_id,
                    stripe_event_id: &changed.stripe_event_id,
                    status: changed.hinted_status.as_deref(),
                };
                refresh::on_hint(&self.0, tenant, hint, &trail, unit).await
            }
            Some(Ok(WebhookEvent::StripeCheckoutChanged(changed))) => {
                // Until the customer has paid there is nothing to look at.
                let Some(stripe_subscription_id) = &changed.stripe_subscription_id else { return Ok(()) };
                let hint = Hint {
                    subscription_id: &changed.subscription_id,
                    stripe_subscription_id,
                    stripe_event_id: &changed.event.stripe_event_id,
                    status: None,
                };
                refresh::on_hint(&self.0, tenant, hint, &trail, unit).await
            }
            Some(Ok(WebhookEvent::StripeCustomerChanged(changed))) => customer::on_hint(&self.0, &changed).await,
            Some(Ok(WebhookEvent::StripeCatalogueChanged(changed))) => plans::on_hint(&self.0, &changed).await,
            Some(Err(error)) => Err(Failure::Poison(format!("{}: {error}", event.kind))),
            // Not subscribed to: an invoice's event comes as a subscription's too.
            Some(Ok(_)) | None => Ok(()),
        }
    }
}
