//! What the webhook service publishes: Stripe said something. Hints, never state: the reader fetches the object.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Contract, Event, SubscriptionId};

events! {
    /// Facts from Stripe's webhooks.
    WebhookEvent {
        /// Stripe announced a change of a subscription of ours.
        StripeSubscriptionChanged(StripeSubscriptionChangedV1),
        /// Stripe announced what became of an invoice of a subscription of ours.
        StripeInvoiceChanged(StripeInvoiceChangedV1),
        /// Stripe announced what became of a checkout that we opened.
        StripeCheckoutChanged(StripeCheckoutChangedV1),
        /// Stripe announced that a customer was made, changed or deleted.
        StripeCustomerChanged(StripeCustomerChangedV1),
        /// Stripe announced what a customer is entitled to.
        StripeEntitlementsChanged(StripeEntitlementsChangedV1),
        /// Stripe announced a change of a price or a product.
        StripeCatalogueChanged(StripeCatalogueChangedV1),
    }
}

/// Which of Stripe's events a fact was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StripeEventRef {
    /// Stripe's event id (`evt_…`).
    pub stripe_event_id: String,
    /// Stripe's event type, e.g. `invoice.payment_failed`.
    pub stripe_event_type: String,
    /// The API version the event was rendered with; absent where Stripe left it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Whether it is real money. A reader whose key is of the other mode ignores the fact.
    pub livemode: bool,
    /// When Stripe created the event, Unix seconds. One-second resolution: it orders nothing.
    pub created_s: u64,
    /// The connected account it happened in (`acct_…`); absent for the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe_account: Option<String>,
}

impl StripeEventRef {
    fn sample(stripe_event_type: &str) -> Self {
        Self {
            stripe_event_id: "evt_1NG8Du2eZvKYlo2CUI79vXWy".into(),
            stripe_event_type: stripe_event_type.into(),
            api_version: Some("2025-03-31.basil".into()),
            livemode: false,
            created_s: 1_790_000_000,
            stripe_account: Some("acct_1032D82eZvKYlo2C".into()),
        }
    }
}

/// Stripe announced a change of a subscription that we created. A hint: fetch the object before deciding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StripeSubscriptionChangedV1 {
    /// Our id, from the object's metadata (`synapse_subscription`).
    pub subscription_id: SubscriptionId,
    /// Stripe's subscription id (`sub_…`).
    pub stripe_subscription_id: String,
    /// Stripe's event id (`evt_…`).
    pub stripe_event_id: String,
    /// Stripe's event type, e.g. `customer.subscription.trial_will_end`. An invoice's where that made us look.
    pub stripe_event_type: String,
    /// The API version the event was rendered with; absent where Stripe left it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Whether it is real money.
    pub livemode: bool,
    /// When Stripe created the event, Unix seconds. One-second resolution: it orders nothing.
    pub created_s: u64,
    /// The status the payload carried, as Stripe wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hinted_status: Option<String>,
    /// The subscription's metadata; empty where the event carries no object, as thin ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The connected account it happened in (`acct_…`); absent for the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe_account: Option<String>,
}

impl Contract for StripeSubscriptionChangedV1 {
    const KIND: &'static str = "webhook.stripe_subscription_changed.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            subscription_id: "sub-01".parse().expect("a valid id"),
            stripe_subscription_id: "sub_1PgafmB7WZ01zgkW6dKueIc5".into(),
            stripe_event_id: "evt_1NG8Du2eZvKYlo2CUI79vXWy".into(),
            stripe_event_type: "customer.subscription.updated".into(),
            api_version: Some("2025-03-31.basil".into()),
            livemode: false,
            created_s: 1_790_000_000,
            hinted_status: Some("active".into()),
            metadata: BTreeMap::from([("synapse_subscription".into(), "sub-01".into())]),
            stripe_account: Some("acct_1032D82eZvKYlo2C".into()),
        }]
    }
}

impl Event for StripeSubscriptionChangedV1 {
    fn aggregate(&self) -> String {
        format!("subscription/{}", self.subscription_id)
    }
}

/// Stripe announced what became of an invoice of a subscription that we created: `invoice.paid`, `.payment_failed`,
/// `.payment_action_required` and the other `invoice.*` types. The same event also gives a
/// `webhook.stripe_subscription_changed.v1`. A hint: fetch the subscription or the invoice before deciding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StripeInvoiceChangedV1 {
    /// Our id of the subscription it bills.
    pub subscription_id: SubscriptionId,
    /// Stripe's subscription id (`sub_…`).
    pub stripe_subscription_id: String,
    /// Stripe's invoice id (`in_…`); absent for previews, which have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe_invoice_id: Option<String>,
    /// Stripe's customer id (`cus_…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe_customer_id: Option<String>,
    /// Which event said so.
    #[serde(flatten)]
    pub event: StripeEventRef,
    /// The invoice's status as the payload carried it (`draft`, `open`, `paid`, `uncollectible`, `void`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hinted_status: Option<String>,
    /// Why Stripe made the invoice, e.g. `subscription_create`, `subscription_cycle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_reason: Option<String>,
    /// How often Stripe has tried to collect it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_count: Option<u64>,
    /// When Stripe tries next, Unix seconds; absent when it won't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_payment_attempt_s: Option<u64>,
}

impl Contract for StripeInvoiceChangedV1 {
    const KIND: &'static str = "webhook.stripe_invoice_changed.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            subscription_id: "sub-01".parse().expect("a valid id"),
            stripe_subscription_id: "sub_1PgafmB7WZ01zgkW6dKueIc5".into(),
            stripe_invoice_id: Some("in_1MtHbELkdIwHu7ixl4OzzPMv".into()),
            stripe_customer_id: Some("cus_NffrFeUfNV2Hib".into()),
            event: StripeEventRef::sample("invoice.payment_failed"),
            hinted_status: Some("open".into()),
            billing_reason: Some("subscription_cycle".into()),
            attempt_count: Some(1),
            next_payment_attempt_s: Some(1_790_259_200),
        }]
    }
}

impl Event for StripeInvoiceChangedV1 {
    fn aggregate(&self) -> String {
        format!("subscription/{}", self.subscription_id)
    }
}

/// Stripe announced what became of a checkout session that we opened: `checkout.session.completed`,
/// `.async_payment_succeeded`, `.async_payment_failed`, `.expired`. A hint: fetch the session or the subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StripeCheckoutChangedV1 {
    /// Our id of the subscription it was opened for, from the session's metadata (`synapse_subscription`).
    pub subscription_id: SubscriptionId,
    /// Stripe's session id (`cs_…`).
    pub stripe_checkout_session_id: String,
    /// The subscription it made (`sub_…`), once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe_subscription_id: Option<String>,
    /// Stripe's customer id (`cus_…`), once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe_customer_id: Option<String>,
    /// Which event said so.
    #[serde(flatten)]
    pub event: StripeEventRef,
    /// The session's status as the payload carried it (`open`, `complete`, `expired`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hinted_status: Option<String>,
    /// Its payment status as the payload carried it (`paid`, `unpaid`, `no_payment_required`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hinted_payment_status: Option<String>,
    /// The session's metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl Contract for StripeCheckoutChangedV1 {
    const KIND: &'static str = "webhook.stripe_checkout_changed.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            subscription_id: "sub-01".parse().expect("a valid id"),
            stripe_checkout_session_id: "cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4WRmzW0zWJO2znZKdVujZ0N0S22u".into(),
            stripe_subscription_id: Some("sub_1PgafmB7WZ01zgkW6dKueIc5".into()),
            stripe_customer_id: Some("cus_NffrFeUfNV2Hib".into()),
            event: StripeEventRef::sample("checkout.session.completed"),
            hinted_status: Some("complete".into()),
            hinted_payment_status: Some("paid".into()),
            metadata: BTreeMap::from([("synapse_subscription".into(), "sub-01".into())]),
        }]
    }
}

impl Event for StripeCheckoutChangedV1 {
    fn aggregate(&self) -> String {
        format!("subscription/{}", self.subscription_id)
    }
}

/// Stripe announced that a customer was made, changed or deleted (`customer.created`, `.updated`, `.deleted`). The tenant
/// is the one that the customer's metadata (`synapse_tenant`) or an earlier subscription of it names; a customer that is
/// nobody's is not announced. A hint: look the customer up by its id before acting for the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StripeCustomerChangedV1 {
    /// Stripe's customer id (`cus_…`).
    pub stripe_customer_id: String,
    /// Which event said so.
    #[serde(flatten)]
    pub event: StripeEventRef,
    /// Whether it is gone; Stripe cancels its subscriptions then.
    pub deleted: bool,
    /// The customer's metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl Contract for StripeCustomerChangedV1 {
    const KIND: &'static str = "webhook.stripe_customer_changed.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            stripe_customer_id: "cus_NffrFeUfNV2Hib".into(),
            event: StripeEventRef::sample("customer.deleted"),
            deleted: true,
            metadata: BTreeMap::from([("synapse_tenant".into(), "acme".into())]),
        }]
    }
}

impl Event for StripeCustomerChangedV1 {
    fn aggregate(&self) -> String {
        format!("customer/{}", self.stripe_customer_id)
    }
}

/// Stripe announced what a customer is entitled to (`entitlements.active_entitlement_summary.updated`). The tenant is the
/// one that an earlier subscription of the customer names. A hint: fetch the customer's active entitlements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StripeEntitlementsChangedV1 {
    /// Stripe's customer id (`cus_…`).
    pub stripe_customer_id: String,
    /// Which event said so.
    #[serde(flatten)]
    pub event: StripeEventRef,
    /// Lookup keys of the features in the payload, at most 100; Stripe cuts long lists short.
    pub hinted_features: Vec<String>,
}

impl Contract for StripeEntitlementsChangedV1 {
    const KIND: &'static str = "webhook.stripe_entitlements_changed.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            stripe_customer_id: "cus_NffrFeUfNV2Hib".into(),
            event: StripeEventRef::sample("entitlements.active_entitlement_summary.updated"),
            hinted_features: vec!["relay".into(), "tunnels".into()],
        }]
    }
}

impl Event for StripeEntitlementsChangedV1 {
    fn aggregate(&self) -> String {
        format!("customer/{}", self.stripe_customer_id)
    }
}

/// What of the catalogue changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum CatalogueObject {
    /// A price (`price_…`).
    Price,
    /// A product (`prod_…`).
    Product,
    /// One newer than this reader.
    #[serde(other)]
    Unknown,
}

/// Stripe announced that a price or a product was made, changed or deleted (`price.*`, `product.*`). It belongs to no
/// customer of ours: the envelope's tenant is `platform`. A hint: fetch the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StripeCatalogueChangedV1 {
    /// A price or a product.
    pub object: CatalogueObject,
    /// Its id (`price_…`, `prod_…`).
    pub stripe_object_id: String,
    /// The product of a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe_product_id: Option<String>,
    /// Which event said so.
    #[serde(flatten)]
    pub event: StripeEventRef,
    /// Whether it is gone.
    pub deleted: bool,
}

impl Contract for StripeCatalogueChangedV1 {
    const KIND: &'static str = "webhook.stripe_catalogue_changed.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            object: CatalogueObject::Price,
            stripe_object_id: "price_1MoBy5LkdIwHu7ixZhnattbh".into(),
            stripe_product_id: Some("prod_NZKdYqrwEYx6iK".into()),
            event: StripeEventRef::sample("price.updated"),
            deleted: false,
        }]
    }
}

impl Event for StripeCatalogueChangedV1 {
    fn aggregate(&self) -> String {
        format!("catalogue/{}", self.stripe_object_id)
    }
}
