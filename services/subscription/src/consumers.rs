//! Events that the subscription service reads.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus::Envelope;
use contracts::events::webhook::{
    StripeCatalogueChangedV1, StripeCheckoutChangedV1, StripeCustomerChangedV1, StripeEntitlementsChangedV1,
    StripeSubscriptionChangedV1,
};
use contracts::events::{gateway, tunnel};
use contracts::{Contract, SubscriptionId};
use outbox::{Consumer, Effects, Failure, Order, RetryPolicy, Subscription, Unit};
use serde::Deserialize;

use crate::commands::refresh::{self, Hint};
use crate::commands::{customer, plans};
use crate::{NAME, Subscriptions, features, usage};

/// What the subscription service reads, and how it deals with trouble.
pub const SUBSCRIPTIONS: &[Subscription] = &[
    hint(StripeSubscriptionChangedV1::KIND),
    hint(StripeCheckoutChangedV1::KIND),
    hint(StripeCustomerChangedV1::KIND),
    hint(StripeCatalogueChangedV1::KIND),
    hint(StripeEntitlementsChangedV1::KIND),
    used(gateway::UsageRecordedV1::KIND),
    used(tunnel::UsageRecordedV1::KIND),
];

/// Every report counts, in whatever order.
const fn used(kind: &'static str) -> Subscription {
    Subscription { kind, retry: RetryPolicy::DEFAULT, order: Order::Every, effects: Effects::Local }
}

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

/// What is needed of [`StripeSubscriptionChangedV1`]: everything else is read from Stripe itself.
#[derive(Debug, Deserialize)]
struct SubscriptionHint {
    subscription_id: SubscriptionId,
    stripe_subscription_id: String,
    /// For the log.
    stripe_event_id: String,
    #[serde(default)]
    hinted_status: Option<String>,
}

/// The same of [`StripeCheckoutChangedV1`].
#[derive(Debug, Deserialize)]
struct CheckoutHint {
    subscription_id: SubscriptionId,
    #[serde(default)]
    stripe_subscription_id: Option<String>,
    stripe_event_id: String,
}

pub(crate) struct Events(pub(crate) Arc<Subscriptions>);

#[async_trait]
impl Consumer for Events {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        let (service, tenant, trail) = (&self.0, &event.tenant, event.follow());
        match event.kind.as_str() {
            StripeSubscriptionChangedV1::KIND => {
                let changed: SubscriptionHint = outbox::read(NAME, event)?;
                let hint = Hint {
                    subscription_id: &changed.subscription_id,
                    stripe_subscription_id: &changed.stripe_subscription_id,
                    stripe_event_id: &changed.stripe_event_id,
                    status: changed.hinted_status.as_deref(),
                };
                refresh::on_hint(service, tenant, hint, &trail, unit).await
            }
            StripeCheckoutChangedV1::KIND => {
                let changed: CheckoutHint = outbox::read(NAME, event)?;
                // Until the customer has paid there is nothing to look at.
                let Some(stripe_subscription_id) = &changed.stripe_subscription_id else { return Ok(()) };
                let hint = Hint {
                    subscription_id: &changed.subscription_id,
                    stripe_subscription_id,
                    stripe_event_id: &changed.stripe_event_id,
                    status: None,
                };
                refresh::on_hint(service, tenant, hint, &trail, unit).await
            }
            StripeCustomerChangedV1::KIND => customer::on_hint(service, &outbox::read(NAME, event)?).await,
            StripeCatalogueChangedV1::KIND => plans::on_hint(service, &outbox::read(NAME, event)?).await,
            StripeEntitlementsChangedV1::KIND => {
                features::on_hint(service, tenant, &outbox::read(NAME, event)?, unit).await
            }
            gateway::UsageRecordedV1::KIND => {
                let used: gateway::UsageRecordedV1 = outbox::read(NAME, event)?;
                usage::record(service, tenant, &used.usage, &trail, unit).await
            }
            tunnel::UsageRecordedV1::KIND => {
                let used: tunnel::UsageRecordedV1 = outbox::read(NAME, event)?;
                usage::record(service, tenant, &used.usage, &trail, unit).await
            }
            // Not subscribed to: an invoice's event comes as a subscription's too.
            _ => Ok(()),
        }
    }
}
