use std::sync::Arc;

use bus::Asked;
use contracts::requests::subscription::{CreatePortalV1, Portal, PortalRefusal};
use service::Rejection;

use super::rejection;
use crate::store::Customer;
use crate::stripe::derived_key;
use crate::{Subscriptions, return_urls};

/// Opens the page on which a user manages payment methods, invoices and subscriptions.
pub(crate) async fn create_portal(
    service: Arc<Subscriptions>,
    asked: Asked,
    ask: CreatePortalV1,
) -> Result<Portal, Rejection<PortalRefusal>> {
    if let Some(violation) = return_urls::violation("return_url", &ask.return_url, &service.config.return_urls) {
        return Err(Rejection::Refused(PortalRefusal::Invalid { violations: vec![violation] }));
    }
    let known = service.records.customer(&asked.tenant, &ask.user_id).await?;
    let Some(Customer::Known { stripe_customer_id }) = known.map(|stored| stored.customer) else {
        return Err(Rejection::Refused(PortalRefusal::NoCustomer));
    };
    // The page is good for minutes and buys nothing by itself: each call may have its own.
    let once = service.platform.entropy.uuid_v7(service.platform.clock.now_ms()).to_string();
    let opened =
        service.stripe.create_portal(&stripe_customer_id, &ask.return_url, derived_key("portal", &[&once])).await;
    let session = opened.map_err(|failure| rejection(&failure))?;
    tracing::info!(target: "audit", tenant = %asked.tenant, user = %ask.user_id, session = session.id,
        correlation_id = asked.trail.correlation_id, "customer portal opened");
    Ok(Portal { url: session.url })
}
