use std::sync::Arc;
use std::time::Duration;

use auth::{Entitlement, IssueError};
use bus::Asked;
use contracts::requests::subscription::{ProofIssued, VerifyRefusal, VerifyV1};
use service::Rejection;

use super::refresh;
use crate::subscription::{Subscription, Terms};
use crate::{Subscriptions, features};

/// Issues a proof that a peer may connect under a subscription. Goes on from stored state while Stripe is away.
pub(crate) async fn verify(
    service: Arc<Subscriptions>,
    asked: Asked,
    ask: VerifyV1,
) -> Result<ProofIssued, Rejection<VerifyRefusal>> {
    let find = async || service.records.find_live(&asked.tenant, &ask.subscription_id).await;
    let Some((mut subscription, _)) = find().await? else { return Err(Rejection::Refused(VerifyRefusal::NotFound)) };
    if subscription.user_id != ask.user_id {
        return Err(Rejection::Refused(VerifyRefusal::NotOwner));
    }
    service.note_tenant(&asked.tenant).await?;
    if subscription.is_overdue(service.platform.clock.now_ms()) {
        let refreshing = refresh::refresh(&service, &asked.tenant, &ask.subscription_id, &asked.trail);
        let limit = Duration::from_millis(service.config.proofs.refresh_wait_ms);
        match service.platform.clock.timeout(limit, refreshing).await {
            Some(Ok(fresh)) => subscription = fresh.unwrap_or(subscription),
            Some(Err(error)) => {
                tracing::warn!(%error, "an overdue subscription was not refreshed; stored state counts")
            }
            None => tracing::warn!("an overdue subscription was not refreshed in time; stored state counts"),
        }
    }
    issue(&service, &asked, &ask, subscription).await
}

async fn issue(
    service: &Subscriptions,
    asked: &Asked,
    ask: &VerifyV1,
    subscription: Subscription,
) -> Result<ProofIssued, Rejection<VerifyRefusal>> {
    let status = subscription.status.kind();
    let not_entitled = || Rejection::Refused(VerifyRefusal::NotEntitled { status });
    let Some(plan) = service.catalogue.plan(&asked.tenant, &subscription.plan) else {
        tracing::error!(plan = subscription.plan, "a sold plan is not in the catalogue; put it back");
        return Err(Rejection::broken("the subscription's plan is not configured; tell the operator"));
    };
    let terms = Terms { grace_ms: plan.grace_ms(), renewal_leeway_ms: service.config.proofs.renewal_leeway_ms };
    let entitled_until_ms = subscription.entitled_until_ms(terms).ok_or_else(not_entitled)?;
    let store = service.platform.outbox.store();
    let features = features::of(store, &asked.tenant, &subscription.stripe_customer_id, plan).await?;
    let now_ms = service.platform.clock.now_ms();
    let entitlement = Entitlement {
        tenant: asked.tenant.clone(),
        peer: ask.peer_id.clone(),
        subscription: subscription.subscription_id,
        ver: subscription.ver,
        plan: subscription.plan,
        limits: plan.limits.clone(),
        features,
        entitled_until_ms,
        proof_id: service.platform.entropy.uuid_v7(now_ms).to_string(),
        peer_key: ask.peer_key.clone(),
    };
    let mut issued = service.keys.issue(entitlement.clone());
    if matches!(issued, Err(IssueError::KeyRetired { .. })) {
        // The machine slept through a rotation.
        service.keys.maintain().await?;
        issued = service.keys.issue(entitlement);
    }
    issued.map_err(|error| match error {
        IssueError::NotEntitled => not_entitled(),
        IssueError::KeyRetired { .. } => {
            tracing::error!(%error, "no proof can be signed");
            Rejection::busy("no key to sign with at the moment; try again")
        }
    })
}
