use std::sync::Arc;

use bus::Asked;
use contracts::requests::subscription::{GetRefusal, GetV1, SubscriptionView};
use service::Rejection;

use crate::Subscriptions;

/// Tells a subscription as we last saw it at Stripe.
pub(crate) async fn get(
    service: Arc<Subscriptions>,
    asked: Asked,
    ask: GetV1,
) -> Result<SubscriptionView, Rejection<GetRefusal>> {
    let found = service.records.find_live(&asked.tenant, &ask.subscription_id).await?;
    found.map(|(subscription, _)| subscription.view()).ok_or(Rejection::Refused(GetRefusal::NotFound))
}
