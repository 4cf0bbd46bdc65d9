//! Events that the webhook service reads.

use std::sync::Arc;

use async_trait::async_trait;
use bus::Envelope;
use contracts::Contract;
use contracts::events::subscription::StatusChangedV1;
use outbox::{Consumer, Effects, Failure, Order, RetryPolicy, Subscription, Unit};

use crate::store::{Events, Ledger, Settled};
use crate::{NAME, Webhook};

/// What the webhook service reads, and how it deals with trouble. The status is all it needs, so it still reads the
/// older form of the fact.
pub const SUBSCRIPTIONS: &[Subscription] = &[Subscription {
    kind: StatusChangedV1::KIND,
    retry: RetryPolicy::DEFAULT,
    order: Order::LatestWins,
    effects: Effects::Local,
}];

pub(crate) struct Settlements(pub(crate) Arc<Webhook>);

#[async_trait]
impl Consumer for Settlements {
    /// Notes what the subscription service made of Stripe's hints.
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        if event.kind == StatusChangedV1::KIND {
            let changed: StatusChangedV1 = outbox::read(NAME, event)?;
            let (tenant, aggregate) = (&event.tenant, format!("subscription/{}", changed.subscription_id));
            let before = self.0.events.ledger(tenant, &aggregate).await?;
            let settled = Some(Settled { status: changed.status, sequence: event.sequence });
            Events::write(unit, tenant, &aggregate, &before, &Ledger { settled, ..before.ledger.clone() });
        }
        Ok(())
    }
}
