//! Repairs: always by asking Stripe for the object, never from what a page or an event carried.

use contracts::{SubscriptionId, TenantId};
use outbox::{Failure, Unit};
use store::StoreError;

use super::Stopped;
use super::run::Work;
use crate::commands::refresh;
use crate::metadata;
use crate::store::Record;
use crate::stripe::StripeFailure;
use crate::subscription::Reservation;

/// How often a repair decides anew while others change the same subscription.
const MAX_DECISIONS: usize = 8;

/// Why a difference stays.
pub(super) enum Unrepaired {
    /// The run can't go on now.
    Stop(Stopped),
    /// This one can't be repaired, for people.
    Failed(String),
}

impl From<StoreError> for Unrepaired {
    fn from(error: StoreError) -> Self {
        Self::Stop(error.into())
    }
}

impl From<StripeFailure> for Unrepaired {
    fn from(failure: StripeFailure) -> Self {
        // A refusal is about this one; everything else would meet the next one as well.
        match failure.code.as_deref() {
            Some("resource_missing") => Self::Failed(failure.to_string()),
            _ => Self::Stop(failure.into()),
        }
    }
}

/// Brings ours to what Stripe says.
pub(super) async fn repair(
    work: &Work<'_>,
    tenant: &TenantId,
    id: &SubscriptionId,
    stripe_id: &str,
) -> Result<(), Unrepaired> {
    let service = work.service;
    for _ in 0..MAX_DECISIONS {
        let stored = service.records.find(tenant, id).await?;
        let object = service.stripe.fetch_subscription(stripe_id).await?;
        let mut unit = Unit::new();
        match stored {
            Some(stored) => match stored.record.clone() {
                Record::Live(ours) if ours.stripe_subscription_id == object.id => {
                    refresh::apply(service, &mut unit, tenant, &work.trail, &stored, ours, &object);
                }
                Record::Reserved(reservation) => {
                    refresh::adopt(service, tenant, &stored, reservation, &object, &work.trail, &mut unit)
                        .map_err(failed)?;
                }
                _ => return Err(Unrepaired::Failed("it was changed meanwhile; look again".to_owned())),
            },
            None => {
                // Reserved first, then adopted like any creation that was cut off, in the next round.
                let reservation = reservation(work, tenant, id, &object)?;
                service.records.reserve_found(&mut unit, tenant, id, reservation);
                service.records.commit(unit).await?;
                continue;
            }
        }
        if service.records.commit(unit).await? {
            return Ok(());
        }
    }
    Err(Unrepaired::Failed("it is being changed by many at once; look again".to_owned()))
}

/// What was asked for when Stripe made it, from what it carries.
fn reservation(
    work: &Work<'_>,
    tenant: &TenantId,
    id: &SubscriptionId,
    object: &crate::stripe::SubscriptionObject,
) -> Result<Reservation, Unrepaired> {
    let missing = |what: &str| Unrepaired::Failed(format!("{what}; mend it at Stripe or cancel it there"));
    let user = object.metadata.get(metadata::USER).and_then(|user| user.parse().ok());
    let user_id = user.ok_or_else(|| missing("its metadata names no user (synapse_user)"))?;
    let price_id = object.price_id.clone().ok_or_else(|| missing("it has no price"))?;
    let plan = work.service.catalogue.plan_of_price(tenant, &price_id);
    let plan = plan.ok_or_else(|| missing(&format!("its price {price_id} is in no plan")))?.name.clone();
    let mine = |key: &String| !metadata::is_reserved(key);
    Ok(Reservation {
        subscription_id: id.clone(),
        user_id,
        plan,
        price_id,
        payment_method_id: None,
        email: None,
        metadata: object.metadata.iter().filter(|(key, _)| mine(key)).map(|(k, v)| (k.clone(), v.clone())).collect(),
        reserved_at_ms: work.now_ms(),
        attempt: 0,
        by_checkout: false,
    })
}

fn failed(failure: Failure) -> Unrepaired {
    match failure {
        Failure::Permanent(why) | Failure::Poison(why) => Unrepaired::Failed(why),
        other => Unrepaired::Failed(format!("{other:?}")),
    }
}
