//! The lists that are read page by page, written as [`super::requests`] are.

use serde::Serialize;
use stripe_billing::subscription::{ListSubscription, ListSubscriptionStatus};
use stripe_client_core::{RequestBuilder, StripeMethod, StripeRequest};

use super::requests::{Call, Endpoint, get};

/// Reads a page of every subscription, ended ones too.
pub(super) fn list_all_subscriptions(after: Option<&str>) -> Call {
    let request = ListSubscription::new().status(ListSubscriptionStatus::All).limit(100);
    let request = match after {
        Some(after) => request.starting_after(after),
        None => request,
    };
    get(Endpoint::SweepSubscriptions, request.build())
}

/// Reads a page of the events about subscriptions since a moment.
pub(super) fn list_subscription_events(since_s: u64, after: Option<&str>) -> Call {
    #[derive(Serialize)]
    struct Created {
        gte: u64,
    }
    #[derive(Serialize)]
    struct Query<'a> {
        r#type: &'a str,
        created: Created,
        limit: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        starting_after: Option<&'a str>,
    }
    let query = Query {
        r#type: "customer.subscription.*",
        created: Created { gte: since_s },
        limit: 100,
        starting_after: after,
    };
    // async-stripe has this request in a crate of its own.
    get(Endpoint::ListEvents, RequestBuilder::new(StripeMethod::Get, "/events").query(&query))
}

/// Reads a customer's active entitlements, a hundred of them.
pub(super) fn list_entitlements(customer: &str) -> Call {
    #[derive(Serialize)]
    struct Query<'a> {
        customer: &'a str,
        limit: u8,
    }
    // async-stripe has this request in a crate of its own.
    let request = RequestBuilder::new(StripeMethod::Get, "/entitlements/active_entitlements");
    get(Endpoint::ListEntitlements, request.query(&Query { customer, limit: 100 }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_asked_for_as_stripe_reads_it() {
        let query = |call: Call| call.request.query.unwrap().replace("%5B", "[").replace("%5D", "]");
        let page = query(list_all_subscriptions(Some("sub_9")));
        for part in ["status=all", "limit=100", "starting_after=sub_9"] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!query(list_all_subscriptions(None)).contains("starting_after"));
        let events = query(list_subscription_events(1_790_000_000, None));
        for part in ["type=customer.subscription.", "created[gte]=1790000000", "limit=100"] {
            assert!(events.contains(part), "{part} in {events}");
        }
        let entitlements = query(list_entitlements("cus_1"));
        assert!(entitlements.contains("customer=cus_1") && entitlements.contains("limit=100"), "{entitlements}");
    }
}
