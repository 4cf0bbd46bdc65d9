use std::sync::Arc;

use bus::Asked;
use contracts::requests::subscription::{ListV1, SubscriptionListRefusal, SubscriptionPage};
use service::Rejection;
use store::Cursor;

use crate::Subscriptions;

/// Tells subscriptions as we last saw them at Stripe, page by page.
pub(crate) async fn list(
    service: Arc<Subscriptions>,
    asked: Asked,
    ask: ListV1,
) -> Result<SubscriptionPage, Rejection<SubscriptionListRefusal>> {
    let refused = |message: String| Rejection::Refused(SubscriptionListRefusal::InvalidPage { message });
    if !(1..=100).contains(&ask.limit) {
        return Err(refused(format!("limit: {} is outside 1 to 100", ask.limit)));
    }
    let bad_token = |_| refused("after: it is not the next of a page; start without it".to_owned());
    let after = ask.after.as_deref().map(Cursor::parse).transpose().map_err(bad_token)?;
    let page = service.records.list(&asked.tenant, ask.user_id.as_ref(), ask.limit, after).await;
    let (subscriptions, next) = match page {
        // A token of another list.
        Err(error) if error.kind() == store::StoreErrorKind::Invalid && ask.after.is_some() => {
            return Err(bad_token(error));
        }
        page => page?,
    };
    let wanted = |status| ask.status.is_none_or(|wanted| wanted == status);
    Ok(SubscriptionPage {
        subscriptions: subscriptions
            .iter()
            .filter(|subscription| wanted(subscription.status.kind()))
            .map(crate::subscription::Subscription::view)
            .collect(),
        next: next.map(|next| next.as_str().to_owned()),
    })
}
