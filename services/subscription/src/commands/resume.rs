use std::sync::Arc;

use bus::Asked;
use contracts::requests::subscription::{ResumeRefusal, ResumeV1, SubscriptionView};
use service::Rejection;

use super::change::{Asker, No, change};
use crate::Subscriptions;
use crate::wish::Wish;

/// Takes a cancellation back that has not happened yet, or wakes up a paused subscription.
pub(crate) async fn resume(
    service: Arc<Subscriptions>,
    asked: Asked,
    ask: ResumeV1,
) -> Result<SubscriptionView, Rejection<ResumeRefusal>> {
    let asker = Asker { user: &ask.user_id, is_admin: ask.is_admin, subscription: &ask.subscription_id };
    let resumed = change(&service, &asked, asker, &Wish::Resume, None).await;
    resumed.map_err(|rejection| {
        rejection.map_refusal(|no| match no {
            No::NotFound => ResumeRefusal::NotFound,
            No::NotOwner => ResumeRefusal::NotOwner,
            No::Illegal(from) => ResumeRefusal::IllegalTransition { from },
            No::Payment(message) => ResumeRefusal::PaymentFailed { message },
        })
    })
}
