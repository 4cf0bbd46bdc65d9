//! What we read of Stripe's objects. Tolerant: fields we don't need may be missing, new or of any shape, and what
//! moved between API versions is looked for in both places.

use std::collections::BTreeMap;

use contracts::requests::subscription::PaymentStep;
use contracts::{SubscriptionId, TenantId};
use serde_json::Value;

use crate::metadata::{SUBSCRIPTION, TENANT};
use crate::status::StripeStatus;

/// A subscription as Stripe told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionObject {
    /// `sub_…`.
    pub(crate) id: String,
    /// `cus_…`.
    pub(crate) customer: String,
    /// As Stripe wrote it.
    pub(crate) status: StripeStatus,
    /// Real money.
    pub(crate) livemode: bool,
    /// It ends with its period.
    pub(crate) cancel_at_period_end: bool,
    /// Earliest end of a paid period, Unix milliseconds.
    pub(crate) current_period_end_ms: Option<u64>,
    /// The first item's price.
    pub(crate) price_id: Option<String>,
    /// The first item (`si_…`).
    pub(crate) item_id: Option<String>,
    /// Ours and the caller's.
    pub(crate) metadata: BTreeMap<String, String>,
    /// How the payment of its latest invoice goes on, where it was asked for and there is something to do.
    pub(crate) payment: Option<PaymentStep>,
}

/// What we read of a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PriceObject {
    /// It can be sold.
    pub(crate) is_active: bool,
    /// Real money.
    pub(crate) livemode: bool,
    /// It is paid again and again.
    pub(crate) is_recurring: bool,
}

impl PriceObject {
    /// Reads a price; what is missing counts against it.
    pub(crate) fn read(value: &Value) -> Self {
        Self {
            is_active: value["active"].as_bool().unwrap_or_default(),
            livemode: value["livemode"].as_bool().unwrap_or_default(),
            is_recurring: value["recurring"].is_object(),
        }
    }
}

impl SubscriptionObject {
    /// Reads a subscription; the error names what is missing.
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        let text = |field: &str| value[field].as_str().map(str::to_owned);
        let missing = |field: &str| format!("Stripe's subscription has no {field}");
        let items = value["items"]["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(Self {
            id: text("id").ok_or_else(|| missing("id"))?,
            customer: reference(&value["customer"]).ok_or_else(|| missing("customer"))?,
            status: text("status").map(StripeStatus::new).ok_or_else(|| missing("status"))?,
            livemode: value["livemode"].as_bool().unwrap_or_default(),
            cancel_at_period_end: value["cancel_at_period_end"].as_bool().unwrap_or_default(),
            current_period_end_ms: period_end_ms(value, items),
            price_id: items.first().and_then(|item| reference(&item["price"]).or_else(|| reference(&item["plan"]))),
            item_id: items.first().and_then(reference),
            metadata: metadata(value),
            payment: payment(&value["latest_invoice"]),
        })
    }

    /// Whether it is the one we created under this id for this tenant.
    pub(crate) fn is_ours(&self, tenant: &TenantId, subscription: &SubscriptionId) -> bool {
        let says = |key: &str, expected: &str| self.metadata.get(key).is_some_and(|value| value == expected);
        says(TENANT, tenant.as_str()) && says(SUBSCRIPTION, subscription.as_str())
    }
}

/// The id of an object that may be expanded.
pub(crate) fn reference(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value["id"].as_str()).map(str::to_owned)
}

/// On the items since 2025-03-31.basil, at top level before.
fn period_end_ms(value: &Value, items: &[Value]) -> Option<u64> {
    let of_items = items.iter().filter_map(|item| item["current_period_end"].as_u64()).min();
    of_items.or_else(|| value["current_period_end"].as_u64())?.checked_mul(1_000)
}

/// Behind `confirmation_secret` since 2025-03-31.basil, in the payment intent before.
fn payment(invoice: &Value) -> Option<PaymentStep> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let client_secret = text(&invoice["confirmation_secret"]["client_secret"])
        .or_else(|| text(&invoice["payment_intent"]["client_secret"]));
    let hosted_invoice_url = text(&invoice["hosted_invoice_url"]);
    let is_open = invoice["status"] == "open";
    is_open.then_some(PaymentStep { client_secret, hosted_invoice_url })
}

/// The caller's and our pairs of an object.
pub(crate) fn metadata(value: &Value) -> BTreeMap<String, String> {
    let pairs = value["metadata"].as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn basil() -> Value {
        json!({"id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "active", "livemode": false,
            "cancel_at_period_end": true, "metadata": {"synapse_tenant": "acme", "synapse_subscription": "s-1", "team": "blue"},
            "latest_invoice": {"status": "open", "hosted_invoice_url": "https://i", "confirmation_secret": {"client_secret": "pi_s"}},
            "items": {"data": [
                {"id": "si_1", "price": {"id": "price_a"}, "current_period_end": 1_800_000_100},
                {"price": {"id": "price_b"}, "current_period_end": 1_800_000_000}]}})
    }

    #[test]
    fn the_current_shape_is_read() {
        let read = SubscriptionObject::read(&basil()).unwrap();
        assert_eq!(read.current_period_end_ms, Some(1_800_000_000_000));
        assert_eq!(read.price_id.as_deref(), Some("price_a"));
        assert!(read.cancel_at_period_end);
        assert_eq!(read.item_id.as_deref(), Some("si_1"));
        let payment = read.payment.clone().unwrap();
        assert_eq!(
            (payment.client_secret.as_deref(), payment.hosted_invoice_url.as_deref()),
            (Some("pi_s"), Some("https://i"))
        );
        let (acme, other) = ("acme".parse().unwrap(), "other".parse().unwrap());
        assert!(read.is_ours(&acme, &"s-1".parse().unwrap()));
        assert!(!read.is_ours(&acme, &"s-2".parse().unwrap()) && !read.is_ours(&other, &"s-1".parse().unwrap()));
    }

    #[test]
    fn the_older_shape_is_read() {
        let old = json!({"id": "sub_1", "customer": {"id": "cus_1", "object": "customer"}, "status": "past_due",
            "current_period_end": 1_700_000_000,
            "latest_invoice": {"status": "open", "payment_intent": {"client_secret": "pi_old"}}, "items": {"data": [{"plan": {"id": "price_a"}}]}});
        let read = SubscriptionObject::read(&old).unwrap();
        assert_eq!((read.customer.as_str(), read.current_period_end_ms), ("cus_1", Some(1_700_000_000_000)));
        assert_eq!(read.price_id.as_deref(), Some("price_a"));
        assert_eq!(read.payment.unwrap().client_secret.as_deref(), Some("pi_old"));
    }

    #[test]
    fn unknown_fields_and_odd_shapes_do_no_harm_and_missing_ones_are_named() {
        let odd = json!({"id": "sub_1", "customer": "cus_1", "status": "frozen", "metadata": [1], "items": 7,
            "current_period_end": "soon", "new_in_2031": {"a": []}});
        let read = SubscriptionObject::read(&odd).unwrap();
        assert_eq!((read.current_period_end_ms, read.price_id, read.metadata.len()), (None, None, 0));
        for field in ["id", "customer", "status"] {
            let mut broken = basil();
            broken.as_object_mut().unwrap().remove(field);
            assert!(SubscriptionObject::read(&broken).unwrap_err().contains(field));
        }
        for nothing in [json!(null), json!([]), json!("sub_1"), json!({"current_period_end": u64::MAX})] {
            assert!(SubscriptionObject::read(&nothing).is_err());
        }
    }
}
