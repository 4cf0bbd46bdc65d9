//! The calls we make, written with async-stripe's request types.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sha2::{Digest, Sha256};
use stripe_billing::subscription::{
    CancelSubscription, CreateSubscription, CreateSubscriptionItems, CreateSubscriptionPaymentBehavior,
    ListSubscription, ListSubscriptionStatus, ResumeSubscription, RetrieveSubscription, UpdateSubscription,
    UpdateSubscriptionItems, UpdateSubscriptionPaymentBehavior, UpdateSubscriptionProrationBehavior,
};
use stripe_client_core::{RequestBuilder, StripeMethod, StripeRequest};
use stripe_core::customer::{CreateCustomer, ListCustomer};

/// Where Stripe counts requests by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Customers,
    ReadCustomers,
    PaymentMethods,
    CreateSubscription,
    RetrieveSubscription,
    ListSubscriptions,
    UpdateSubscription,
    CancelSubscription,
    ResumeSubscription,
    Checkout,
    Portal,
    Prices,
    ListEntitlements,
    SweepSubscriptions,
    ListEvents,
}

impl Endpoint {
    /// How many there are.
    pub(crate) const COUNT: usize = 15;

    /// For metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Customers => "customers.create",
            Self::ReadCustomers => "customers.read",
            Self::PaymentMethods => "payment_methods.attach",
            Self::CreateSubscription => "subscriptions.create",
            Self::RetrieveSubscription => "subscriptions.retrieve",
            Self::ListSubscriptions => "subscriptions.list",
            Self::UpdateSubscription => "subscriptions.update",
            Self::CancelSubscription => "subscriptions.cancel",
            Self::ResumeSubscription => "subscriptions.resume",
            Self::Checkout => "checkout.sessions.create",
            Self::Portal => "billing_portal.sessions.create",
            Self::Prices => "prices.retrieve",
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
    /// Keep it, incomplete, where the bank wants the payer to act.
    pub(crate) may_wait: bool,
}

/// Where an invoice says how its payment goes on. It moved in 2025-03-31.basil; a path that a version does not have is
/// refused.
pub(crate) fn payment_path(api_version: &str) -> &'static str {
    if api_version < "2025-03-31" { "latest_invoice.payment_intent" } else { "latest_invoice.confirmation_secret" }
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

/// Makes a subscription. With a payment method it is charged now or refused (402), unless it may wait for the payer;
/// without one the subscription waits for its first payment.
pub(crate) fn create_subscription(new: NewSubscription<'_>, expand: &str, key: String) -> Call {
    let item = CreateSubscriptionItems { price: Some(new.price_id.to_owned()), ..CreateSubscriptionItems::new() };
    let request = CreateSubscription::new().customer(new.customer).items(vec![item]).metadata(hash_map(new.metadata));
    let request = request.expand(vec![expand.to_owned()]);
    let request = match new.payment_method {
        Some(payment_method) => request.default_payment_method(payment_method).payment_behavior(if new.may_wait {
            CreateSubscriptionPaymentBehavior::AllowIncomplete
        } else {
            CreateSubscriptionPaymentBehavior::ErrorIfIncomplete
        }),
        None => request.payment_behavior(CreateSubscriptionPaymentBehavior::DefaultIncomplete),
    };
    post(Endpoint::CreateSubscription, request.build(), key)
}

/// Reads a subscription. `id` must have passed [`is_id`]: it becomes part of the path.
pub(crate) fn retrieve_subscription(id: &str) -> Call {
    get(Endpoint::RetrieveSubscription, RetrieveSubscription::new(id).build())
}

/// Reads a subscription with what is to be done about its latest invoice.
pub(crate) fn retrieve_payment(id: &str, expand: &str) -> Call {
    get(Endpoint::RetrieveSubscription, RetrieveSubscription::new(id).expand(vec![expand.to_owned()]).build())
}

/// Bills an item by another price. What it costs is paid now, or nothing changes.
pub(crate) fn change_price(id: &str, item: &str, price_id: &str, key: String) -> Call {
    let item = UpdateSubscriptionItems {
        id: Some(item.to_owned()),
        price: Some(price_id.to_owned()),
        ..UpdateSubscriptionItems::new()
    };
    let request = UpdateSubscription::new(id)
        .items(vec![item])
        .proration_behavior(UpdateSubscriptionProrationBehavior::AlwaysInvoice)
        .payment_behavior(UpdateSubscriptionPaymentBehavior::ErrorIfIncomplete);
    post(Endpoint::UpdateSubscription, request.build(), key)
}

/// Lets a subscription end with its period, or not.
pub(crate) fn end_with_period(id: &str, ends: bool, key: String) -> Call {
    post(Endpoint::UpdateSubscription, UpdateSubscription::new(id).cancel_at_period_end(ends).build(), key)
}

/// Ends a subscription now. Stripe takes no idempotency key here: what has ended is not found again.
pub(crate) fn cancel(id: &str) -> Call {
    Call { endpoint: Endpoint::CancelSubscription, request: CancelSubscription::new(id).build(), key: None }
}

/// Wakes up a paused subscription.
pub(crate) fn resume(id: &str, key: String) -> Call {
    post(Endpoint::ResumeSubscription, ResumeSubscription::new(id).build(), key)
}

/// A checkout page to be opened.
#[derive(Clone, Debug)]
pub(crate) struct NewCheckout<'a> {
    pub(crate) customer: &'a str,
    pub(crate) price_id: &'a str,
    pub(crate) success_url: &'a str,
    pub(crate) cancel_url: &'a str,
    pub(crate) reference: &'a str,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Opens a checkout page. Session and subscription carry the same metadata.
pub(crate) fn create_checkout(new: &NewCheckout<'_>, key: String) -> Call {
    #[derive(Serialize)]
    struct Line<'a> {
        price: &'a str,
        quantity: u32,
    }
    #[derive(Serialize)]
    struct Subscription<'a> {
        metadata: &'a BTreeMap<String, String>,
    }
    #[derive(Serialize)]
    struct Session<'a> {
        mode: &'a str,
        customer: &'a str,
        client_reference_id: &'a str,
        success_url: &'a str,
        cancel_url: &'a str,
        line_items: [Line<'a>; 1],
        metadata: &'a BTreeMap<String, String>,
        subscription_data: Subscription<'a>,
    }
    // async-stripe has this request in a crate of its own, as large as those we have together.
    let session = Session {
        mode: "subscription",
        customer: new.customer,
        client_reference_id: new.reference,
        success_url: new.success_url,
        cancel_url: new.cancel_url,
        line_items: [Line { price: new.price_id, quantity: 1 }],
        metadata: &new.metadata,
        subscription_data: Subscription { metadata: &new.metadata },
    };
    post(Endpoint::Checkout, RequestBuilder::new(StripeMethod::Post, "/checkout/sessions").form(&session), key)
}

/// Opens the customer's own page.
pub(crate) fn create_portal(customer: &str, return_url: &str, key: String) -> Call {
    #[derive(Serialize)]
    struct Session<'a> {
        customer: &'a str,
        return_url: &'a str,
    }
    let session = Session { customer, return_url };
    post(Endpoint::Portal, RequestBuilder::new(StripeMethod::Post, "/billing_portal/sessions").form(&session), key)
}

/// Reads a price. `id` must have passed [`is_id`]: it becomes part of the path.
pub(crate) fn retrieve_price(id: &str) -> Call {
    get(Endpoint::Prices, RequestBuilder::new(StripeMethod::Get, format!("/prices/{id}")))
}

/// Reads a customer. `id` must have passed [`is_id`]: it becomes part of the path.
pub(crate) fn retrieve_customer(id: &str) -> Call {
    get(Endpoint::ReadCustomers, RequestBuilder::new(StripeMethod::Get, format!("/customers/{id}")))
}

/// Reads the newest hundred customers, of one address where there is one.
pub(crate) fn list_customers(email: Option<&str>) -> Call {
    let request = ListCustomer::new().limit(100);
    let request = match email {
        Some(email) => request.email(email),
        None => request,
    };
    get(Endpoint::ReadCustomers, request.build())
}

/// Reads a customer's newest hundred subscriptions, ended ones too.
pub(crate) fn list_subscriptions(customer: &str) -> Call {
    let request = ListSubscription::new().customer(customer).status(ListSubscriptionStatus::All).limit(100);
    get(Endpoint::ListSubscriptions, request.build())
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

pub(super) fn get(endpoint: Endpoint, request: RequestBuilder) -> Call {
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
            may_wait: false,
        };
        let path = payment_path("2025-11-17.clover");
        let call = create_subscription(new.clone(), path, "key".into());
        let body = call.request.body.unwrap_or_default();
        for part in [
            "customer=cus_1",
            "items[0][price]=price_1",
            "metadata[synapse_user]=ada+%26+co%3D%C3%BC",
            "payment_behavior=error_if_incomplete",
            "default_payment_method=pm_1",
            "expand[0]=latest_invoice.confirmation_secret",
        ] {
            assert!(plain(&body).contains(part), "{part} in {body}");
        }
        assert_eq!((call.request.path.as_str(), call.key.as_deref()), ("/subscriptions", Some("key")));
        let acting = create_subscription(NewSubscription { may_wait: true, ..new.clone() }, path, "key".into());
        assert!(acting.request.body.unwrap_or_default().contains("payment_behavior=allow_incomplete"));
        let waiting = create_subscription(NewSubscription { payment_method: None, ..new }, path, "key".into());
        assert!(waiting.request.body.unwrap_or_default().contains("payment_behavior=default_incomplete"));
    }

    fn plain(body: &str) -> String {
        body.replace("%5B", "[").replace("%5D", "]")
    }

    #[test]
    fn changes_and_pages_are_written_as_stripe_reads_them() {
        let metadata = BTreeMap::from([("synapse_tenant".to_owned(), "acme".to_owned())]);
        let checkout = create_checkout(
            &NewCheckout {
                customer: "cus_1",
                price_id: "price_1",
                success_url: "https://a.example/ok",
                cancel_url: "https://a.example/no",
                reference: "sub-1",
                metadata,
            },
            "key".into(),
        );
        let cases = [
            (change_price("sub_1", "si_1", "price_2", "key".into()), "items[0][id]=si_1"),
            (change_price("sub_1", "si_1", "price_2", "key".into()), "items[0][price]=price_2"),
            (change_price("sub_1", "si_1", "price_2", "key".into()), "payment_behavior=error_if_incomplete"),
            (end_with_period("sub_1", true, "key".into()), "cancel_at_period_end=true"),
            (create_portal("cus_1", "https://a.example/", "key".into()), "customer=cus_1"),
            (checkout, "subscription_data[metadata][synapse_tenant]=acme"),
        ];
        for (call, part) in cases {
            let body = plain(&call.request.body.unwrap_or_default());
            assert!(body.contains(part) && call.key.is_some(), "{part} in {body}");
        }
        let cancel = cancel("sub_1");
        assert_eq!((cancel.request.path.as_str(), cancel.key), ("/subscriptions/sub_1", None));
        assert_eq!(payment_path("2024-06-20"), "latest_invoice.payment_intent");
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
