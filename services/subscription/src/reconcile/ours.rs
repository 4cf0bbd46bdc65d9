//! The other direction: those of ours that Stripe did not name are asked for by their ids.

use contracts::TenantId;
use store::Cursor;

use super::page::Phase;
use super::run::Work;
use super::{Stopped, compare, desk};
use crate::subscription::Subscription;

/// Records a page.
const PAGE: u32 = 100;

/// A page of one tenant's records.
pub(super) async fn page(
    work: &mut Work<'_>,
    tenants_after: Option<String>,
    mut tenants: Vec<String>,
    records_after: Option<String>,
    is_last: bool,
) -> Result<Phase, Stopped> {
    let Some(first) = tenants.first() else {
        if is_last {
            return Ok(Phase::Done);
        }
        let after = tenants_after.as_deref().map(Cursor::parse).transpose()?;
        let (found, next) = desk::tenants(&work.desk.outbox, after).await?;
        return Ok(Phase::Ours {
            tenants_after: next.as_ref().map(|next| next.as_str().to_owned()),
            tenants: found.iter().map(TenantId::to_string).collect(),
            records_after: None,
            is_last: next.is_none(),
        });
    };
    let Ok(tenant) = first.parse::<TenantId>() else {
        tenants.remove(0);
        return Ok(Phase::Ours { tenants_after, tenants, records_after: None, is_last });
    };
    let after = records_after.as_deref().map(Cursor::parse).transpose()?;
    let (mut live, next) = work.service.records.list(&tenant, None, PAGE, after).await?;
    live.retain(|subscription| !compare::is_final(&subscription.status));
    look_for(work, &tenant, live).await?;
    let records_after = next.as_ref().map(|next| next.as_str().to_owned());
    if records_after.is_none() {
        tenants.remove(0);
    }
    Ok(Phase::Ours { tenants_after, tenants, records_after, is_last })
}

async fn look_for(work: &mut Work<'_>, tenant: &TenantId, live: Vec<Subscription>) -> Result<(), Stopped> {
    let (Some(first), Some(last)) = (live.first(), live.last()) else { return Ok(()) };
    let (first, last) = (first.subscription_id.as_str(), last.subscription_id.as_str());
    let seen = work.desk.seen(&work.run, tenant, first, last).await?;
    for ours in live.iter().filter(|ours| !seen.iter().any(|id| id == ours.subscription_id.as_str())) {
        work.run.counts.checked += 1;
        work.pace().await?;
        match work.service.stripe.fetch_subscription(&ours.stripe_subscription_id).await {
            // It was made while Stripe's pages were read, or its metadata was changed by hand.
            Ok(object) => {
                let named = compare::Named { tenant: tenant.clone(), id: ours.subscription_id.clone() };
                work.look_at(&named, &object).await?;
            }
            Err(failure) if failure.code.as_deref() == Some("resource_missing") => {
                let difference = compare::unknown_there(ours);
                work.differs(tenant, &ours.subscription_id, &ours.stripe_subscription_id, difference).await?;
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(())
}
