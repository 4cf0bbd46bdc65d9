//! Where a run stands, and what it reads of Stripe's lists.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stripe::{Class, StripeFailure, SubscriptionObject};

/// Where a run stands: what it reads next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reads", rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Stripe's subscriptions behind this one.
    Stripes { after: Option<String> },
    /// Our subscriptions of the tenants from this cursor on.
    Ours {
        /// Tenants before it are done.
        tenants_after: Option<String>,
        /// The tenants of the page at hand that are not done, the first one under way.
        tenants: Vec<String>,
        /// Where in the first tenant's records it stands.
        records_after: Option<String>,
        /// Whether `tenants` was the last page.
        is_last: bool,
    },
    /// Stripe's events before this one: they come newest first.
    Events {
        after: Option<String>,
        /// Subscriptions whose newest event was looked at.
        looked_at: Vec<String>,
    },
    /// Nothing is left.
    Done,
}

impl Phase {
    pub(crate) const STRIPES: Self = Self::Stripes { after: None };
    pub(crate) const OURS: Self =
        Self::Ours { tenants_after: None, tenants: Vec::new(), records_after: None, is_last: false };
    pub(crate) const EVENTS: Self = Self::Events { after: None, looked_at: Vec::new() };
}

/// A page of one of Stripe's lists.
#[derive(Debug)]
pub(crate) struct Listed<T> {
    pub(crate) found: Vec<T>,
    /// Where the next page begins, while there is one.
    pub(crate) next: Option<String>,
}

/// An event as far as a backfill needs it.
#[derive(Debug)]
pub(crate) struct EventObject {
    /// What it is about, as it was then.
    pub(crate) object: SubscriptionObject,
}

/// Reads a page of subscriptions. Objects that can't be read are told and left out.
pub(crate) fn subscriptions(answer: &Value) -> Result<Listed<SubscriptionObject>, StripeFailure> {
    listed(answer, SubscriptionObject::read)
}

/// Reads a page of events about subscriptions.
pub(crate) fn events(answer: &Value) -> Result<Listed<EventObject>, StripeFailure> {
    listed(answer, |value| Ok(EventObject { object: SubscriptionObject::read(&value["data"]["object"])? }))
}

fn listed<T>(answer: &Value, read: impl Fn(&Value) -> Result<T, String>) -> Result<Listed<T>, StripeFailure> {
    let unreadable = |what: &str| StripeFailure::new(Class::Unreadable, what.to_owned());
    let data = answer["data"].as_array().ok_or_else(|| unreadable("the list has no data"))?;
    let mut found = Vec::with_capacity(data.len());
    for value in data {
        match read(value) {
            Ok(one) => found.push(one),
            Err(missing) => {
                tracing::warn!(id = value["id"].as_str(), missing, "an object of Stripe's list can't be read")
            }
        }
    }
    let last = data.last().and_then(|value| value["id"].as_str());
    let next = match (answer["has_more"].as_bool().unwrap_or_default(), last) {
        (false, _) => None,
        (true, Some(last)) => Some(last.to_owned()),
        (true, None) => return Err(unreadable("the list says there is more and does not say where")),
    };
    Ok(Listed { found, next })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_is_read_and_says_where_the_next_begins() {
        let good = json!({"id": "sub_1", "customer": "cus_1", "status": "active"});
        let page = json!({"data": [good, {"id": "sub_2"}], "has_more": true});
        let read = subscriptions(&page).unwrap();
        assert_eq!((read.found.len(), read.next.as_deref()), (1, Some("sub_2")));
        assert_eq!(subscriptions(&json!({"data": [], "has_more": false})).unwrap().next, None);
        assert!(subscriptions(&json!({"data": [], "has_more": true})).is_err(), "it would turn in circles");
        assert!(subscriptions(&json!({"error": {}})).is_err());
        let event = json!({"id": "evt_1", "data": {"object": {"id": "sub_1", "customer": "c", "status": "active"}}});
        assert_eq!(events(&json!({"data": [event]})).unwrap().found[0].object.id, "sub_1");
    }
}
