//! The calls we make, written with async-stripe's request types.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sha2::{Digest, Sha256};
use stripe_billing::subscription::{
    CreateSubscription, CreateSubscriptionItems, CreateSubscriptionPaymentBehavior, ListSubscription,
    ListSubscriptionStatus, RetrieveSubscription,
};
use stripe_client_core::{RequestBuilder, StripeMethod, StripeRequest};
use stripe_core::customer::CreateCustomer;

/// Where Stripe counts requests by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Customers,
    PaymentMethods,
    CreateSubscription,
    RetrieveSubscription,
    ListSubscriptions,
    ListEntitlements,
    SweepSubscriptions,
    ListEvents,
}

impl Endpoint {
    /// How many there are.
    pub(crate) const COUNT: usize = 8;

    /// For metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Customers => "customers.create",
            Self::PaymentMethods => "payment_methods.attach",
            Self::CreateSubscription => "subscriptions.create",
            Self::RetrieveSubscription => "subscriptions.retrieve",
            Self::ListSubscriptions => "subscriptions.list",
            Self::ListEntitlements => "entitlements.list",
            Self::SweepSubscriptions => "subscriptions.sweep",
            Self::ListEvents => "events.list",
        }
    }
}

/// One call: where, what, and under which idempotency key (every POST has one).
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) endpoint: Endpoint,
    pub(crate) request: RequestBuilder,
    pub(crate) key: Option<String>,
}

/// A subscription to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewSubscription<'a> {
    pub(crate) customer: &'a str,
    pub(crate) price_id: &'a str,
    pub(crate) payment_method: Option<&'a str>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Makes a customer.
pub(crate) fn create_customer(email: Option<&str>, metadata: BTreeMap<String, String>, key: String) -> Call {
    let mut request = CreateCustomer::new().metadata(hash_map(metadata));
    if let Some(email) = email {
        request = request.email(email);
    }
    post(Endpoint::Customers, request.build(), key)
}

/// Gives a payment method to a customer. `payment_method` must have passed [`is_id`]: it becomes part of the path.
pub(crate) fn attach_payment_method(payment_method: &str, customer: &str, key: String) -> Call {
    #[derive(Serialize)]
    struct Attach<'a> {
        customer: &'a str,
    }
    // async-stripe has this request in a crate of its own, the size of which this one parameter doesn't justify.
    let path = format!("/payment_methods/{payment_method}/attach");
    post(Endpoint::PaymentMethods, RequestBuilder::new(StripeMethod::Post, path).form(&Attach { customer }), key)
}

/// Makes a subscription. With a payment method it is charged now or refused (402); without one the subscription waits
/// for its first payment.
pub(crate) fn create_subscription(new: NewSubscription<'_>, key: String) -> Call {
    let item = CreateSubscriptionItems { price: Some(new.price_id.to_owned()), ..CreateSubscriptionItems::new() };
    let request = CreateSubscription::new().customer(new.customer).items(vec![item]).metadata(hash_map(new.metadata));
    let request = match new.payment_method {
        Some(payment_method) => request
            .default_payment_method(payment_method)
            .payment_behavior(CreateSubscriptionPaymentBehavior::ErrorIfIncomplete),
        None => request.payment_behavior(CreateSubscriptionPaymentBehavior::DefaultIncomplete),
    };
    post(Endpoint::CreateSubscription, request.build(), key)
}

/// Reads a subscription. `id` must have passed [`is_id`]: it becomes part of the path.
pub(crate) fn retrieve_subscription(id: &str) -> Call {
    get(Endpoint::RetrieveSubscription, RetrieveSubscription::new(id).build())
}

/// Reads a customer's newest hundred subscriptions, ended ones too.
pub(crate) fn list_subscriptions(customer: &str) -> Call {
    let request = ListSubscription::new().customer(customer).status(ListSubscriptionStatus::All).limit(100);
    get(Endpoint::ListSubscriptions, request.build())
}

/// Reads a page of every subscription, ended ones too.
pub(crate) fn list_all_subscriptions(after: Option<&str>) -> Call {
    let request = ListSubscription::new().status(ListSubscriptionStatus::All).limit(100);
    let request = match after {
        Some(after) => request.starting_after(after),
        None => request,
    };
    get(Endpoint::SweepSubscriptions, request.build())
}

/// Reads a page of the events about subscriptions since a moment.
pub(crate) fn list_subscription_events(since_s: u64, after: Option<&str>) -> Call {
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
    let query =
        Query { r#type: "customer.subscription.*", created: Created { gte: since_s }, limit: 100, starting_after: after };
    // async-stripe has this request in a crate of its own.
    get(Endpoint::ListEvents, RequestBuilder::new(StripeMethod::Get, "/events").query(&query))
}

/// Reads a customer's active entitlements, a hundred of them.
pub(crate) fn list_entitlements(customer: &str) -> Call {
    #[derive(Serialize)]
    struct Query<'a> {
        customer: &'a str,
        limit: u8,
    }
    // async-stripe has this request in a crate of its own.
    let request = RequestBuilder::new(StripeMethod::Get, "/entitlements/active_entitlements");
    get(Endpoint::ListEntitlements, request.query(&Query { customer, limit: 100 }))
}

/// Whether this may be an id of Stripe's with one of these prefixes (`sub_`): safe in a path.
pub(crate) fn is_id(id: &str, prefixes: &[&str]) -> bool {
    let rest = prefixes.iter().find_map(|prefix| id.strip_prefix(prefix));
    rest.is_some_and(|rest| {
        (1..=250).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// An idempotency key that follows from what it is for, so that whoever tries again after a crash uses the same one.
/// Stripe's limit is 255 characters; this has 8 + name + 64.
pub(crate) fn derived_key(name: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // Lengths keep ("ab", "c") and ("a", "bc") apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    format!("synapse-{name}-{}", hex(&hash.finalize()))
}

/// Bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn post(endpoint: Endpoint, request: RequestBuilder, key: String) -> Call {
    Call { endpoint, request, key: Some(key) }
}

fn get(endpoint: Endpoint, request: RequestBuilder) -> Call {
    Call { endpoint, request, key: None }
}

fn hash_map(pairs: BTreeMap<String, String>) -> HashMap<String, String> {
    pairs.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_subscription_is_written_as_stripe_reads_it() {
        let new = NewSubscription {
            customer: "cus_1",
            price_id: "price_1",
            payment_method: Some("pm_1"),
            metadata: BTreeMap::from([("synapse_user".into(), "ada & co=ü".into())]),
        };
        let call = create_subscription(new.clone(), "key".into());
        let body = call.request.body.unwrap_or_default();
        for part in [
            "customer=cus_1",
            "items[0][price]=price_1",
            "metadata[synapse_user]=ada+%26+co%3D%C3%BC",
            "payment_behavior=error_if_incomplete",
            "default_payment_method=pm_1",
        ] {
            assert!(body.replace("%5B", "[").replace("%5D", "]").contains(part), "{part} in {body}");
        }
        assert_eq!((call.request.path.as_str(), call.key.as_deref()), ("/subscriptions", Some("key")));
        let waiting = create_subscription(NewSubscription { payment_method: None, ..new }, "key".into());
        assert!(waiting.request.body.unwrap_or_default().contains("payment_behavior=default_incomplete"));
    }

    #[test]
    fn reads_have_no_key_and_name_what_they_read() {
        let read = retrieve_subscription("sub_1");
        assert_eq!((read.request.path.as_str(), read.key), ("/subscriptions/sub_1", None));
        let list = list_subscriptions("cus_1").request.query.unwrap_or_default();
        assert!(list.contains("customer=cus_1") && list.contains("status=all") && list.contains("limit=100"), "{list}");
    }

    #[test]
    fn only_ids_of_stripes_get_into_a_path() {
        assert!(is_id("sub_1PgafmB7WZ01zgkW6dKueIc5", &["sub_"]));
        assert!(is_id("pm_card_visa", &["pm_", "card_"]));
        for bad in ["sub_", "sub_../customers", "sub_1?expand", "sub_1/x", "pm_1", "", "sub_é"] {
            assert!(!is_id(bad, &["sub_"]), "{bad}");
        }
    }

    #[test]
    fn derived_keys_are_stable_distinct_and_short() {
        let key = derived_key("subscription", &["acme", "sub-1", "1"]);
        assert_eq!(key, derived_key("subscription", &["acme", "sub-1", "1"]));
        assert_ne!(key, derived_key("subscription", &["acme", "sub-11", ""]));
        assert_ne!(derived_key("n", &["ab", "c"]), derived_key("n", &["a", "bc"]));
        assert!(key.len() <= 255);
    }
}
