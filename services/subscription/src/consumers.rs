//! Events that the subscription service reads.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus::{Envelope, Trail};
use contracts::events::gateway::{self, GatewayEvent};
use contracts::events::tunnel::{self, TunnelEvent};
use contracts::events::webhook::{
    StripeCatalogueChangedV1, StripeCheckoutChangedV1, StripeCustomerChangedV1, StripeEntitlementsChangedV1,
    StripeSubscriptionChangedV1, WebhookEvent,
};
use contracts::{Contract, TenantId};
use outbox::{Consumer, Effects, Failure, Order, RetryPolicy, Subscription, Unit};

use crate::commands::refresh::{self, Hint};
use crate::commands::{customer, plans};
use crate::{Subscriptions, features, usage};

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

pub(crate) struct Events(pub(crate) Arc<Subscriptions>);

#[async_trait]
impl Consumer for Events {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        let poison = |error: serde_json::Error| Failure::Poison(format!("{}: {error}", event.kind));
        let (service, tenant, trail) = (&self.0, &event.tenant, event.follow());
        if let Some(fact) = WebhookEvent::decode(&event.kind, &event.data) {
            return announced(service, tenant, fact.map_err(poison)?, &trail, unit).await;
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

async fn announced(
    service: &Subscriptions,
    tenant: &TenantId,
    fact: WebhookEvent,
    trail: &Trail,
    unit: &mut Unit,
) -> Result<(), Failure> {
    match fact {
        WebhookEvent::StripeSubscriptionChanged(changed) => {
            let hint = Hint {
                subscription_id: &changed.subscription_id,
                stripe_subscription_id: &changed.stripe_subscription_id,
                stripe_event_id: &changed.stripe_event_id,
                status: changed.hinted_status.as_deref(),
            };
            refresh::on_hint(service, tenant, hint, trail, unit).await
        }
        WebhookEvent::StripeCheckoutChanged(changed) => {
            // Until the customer has paid there is nothing to look at.
            let Some(stripe_subscription_id) = &changed.stripe_subscription_id else { return Ok(()) };
            let hint = Hint {
                subscription_id: &changed.subscription_id,
                stripe_subscription_id,
                stripe_event_id: &changed.event.stripe_event_id,
                status: None,
            };
            refresh::on_hint(service, tenant, hint, trail, unit).await
        }
        WebhookEvent::StripeCustomerChanged(changed) => customer::on_hint(service, &changed).await,
        WebhookEvent::StripeCatalogueChanged(changed) => plans::on_hint(service, &changed).await,
        WebhookEvent::StripeEntitlementsChanged(changed) => features::on_hint(service, tenant, &changed, unit).await,
        // Not subscribed to: an invoice's event comes as a subscription's too.
        WebhookEvent::StripeInvoiceChanged(_) => Ok(()),
    }
}
