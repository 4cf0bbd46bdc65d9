use std::sync::Arc;

use bus::Asked;
use contracts::requests::subscription::{CancelRefusal, CancelV1, SubscriptionView};
use service::Rejection;

use super::change::{Asker, No, change};
use crate::Subscriptions;
use crate::wish::Wish;

/// Ends a subscription, now or with its paid period.
pub(crate) async fn cancel(
    service: Arc<Subscriptions>,
    asked: Asked,
    ask: CancelV1,
) -> Result<SubscriptionView, Rejection<CancelRefusal>> {
    let wish = if ask.at_period_end { Wish::CancelAtPeriodEnd } else { Wish::Cancel };
    let asker = Asker { user: &ask.user_id, is_admin: ask.is_admin, subscription: &ask.subscription_id };
    match change(&service, &asked, asker, &wish, None).await {
        Ok(view) => Ok(view),
        Err(Rejection::Failed(failure)) => Err(Rejection::Failed(failure)),
        Err(Rejection::Refused(no)) => Err(match no {
            No::NotFound => Rejection::Refused(CancelRefusal::NotFound),
            No::NotOwner => Rejection::Refused(CancelRefusal::NotOwner),
            No::Illegal(from) => Rejection::Refused(CancelRefusal::IllegalTransition { from }),
            No::Payment(message) => Rejection::broken(message),
        }),
    }
}
