//! Pages that Stripe hosts for a customer: checkout and the customer portal.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sample_id;
use crate::{Contract, Request, SubscriptionId, UserId};

/// Open a checkout page on which a user buys a subscription. The same idempotency key of the same user gives the same
/// page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateCheckoutV1 {
    /// Who buys.
    pub user_id: UserId,
    /// A Stripe price on the allow-list.
    pub price_id: String,
    /// Where the browser goes when it is paid; on the list of return URLs.
    pub success_url: String,
    /// Where it goes when the customer turns back; on the list of return URLs.
    pub cancel_url: String,
    /// The customer's e-mail address, for Stripe's receipts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// As in `subscription.create.v1`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The caller's Idempotency-Key.
    pub idempotency_key: String,
}

impl Contract for CreateCheckoutV1 {
    const KIND: &'static str = "subscription.create_checkout.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            user_id: "ada".parse().expect("a valid id"),
            price_id: "price_team_monthly".into(),
            success_url: "https://app.example.com/bought".into(),
            cancel_url: "https://app.example.com/plans".into(),
            email: Some("ada@example.com".into()),
            metadata: BTreeMap::from([("team".into(), "blue".into())]),
            idempotency_key: "3f1c9d52".into(),
        }]
    }
}

/// An open checkout page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checkout {
    /// The subscription that it makes; it can be read once the customer has paid.
    pub subscription_id: SubscriptionId,
    /// Stripe's session id (`cs_…`).
    pub stripe_checkout_session_id: String,
    /// Where to send the browser.
    pub url: String,
    /// When the page closes, Unix milliseconds; absent where Stripe did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
}

/// Why no checkout page was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum CheckoutRefusal {
    /// The price is not on the allow-list.
    UnknownPrice {
        /// What may be asked for.
        allowed: Vec<String>,
    },
    /// A field breaks a rule.
    Invalid {
        /// One line per violation, `field: rule`.
        violations: Vec<String>,
    },
    /// The key was used with other content.
    IdempotencyMismatch,
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for CreateCheckoutV1 {
    type Reply = Checkout;
    type Refusal = CheckoutRefusal;

    fn replies() -> Vec<Checkout> {
        vec![Checkout {
            subscription_id: sample_id(),
            stripe_checkout_session_id: "cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4WRmzW0zWJO2znZKdVujZ0N0S22u".into(),
            url: "https://checkout.stripe.com/c/pay/cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4WRmzW0zWJO2znZKdVujZ0N0S22u"
                .into(),
            expires_at_ms: Some(1_790_086_400_000),
        }]
    }

    fn refusals() -> Vec<CheckoutRefusal> {
        let violations = vec!["success_url: https://evil.example is not on the list of return URLs".into()];
        vec![
            CheckoutRefusal::UnknownPrice { allowed: vec!["price_team_monthly".into()] },
            CheckoutRefusal::Invalid { violations },
            CheckoutRefusal::IdempotencyMismatch,
        ]
    }
}

/// Open the page on which a user manages payment methods, invoices and subscriptions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreatePortalV1 {
    /// Whose.
    pub user_id: UserId,
    /// Where the browser goes afterwards; on the list of return URLs.
    pub return_url: String,
}

impl Contract for CreatePortalV1 {
    const KIND: &'static str = "subscription.create_portal.v1";

    fn samples() -> Vec<Self> {
        vec![Self { user_id: "ada".parse().expect("a valid id"), return_url: "https://app.example.com/account".into() }]
    }
}

/// An open portal page; Stripe closes it after a few minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Portal {
    /// Where to send the browser.
    pub url: String,
}

/// Why no portal page was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum PortalRefusal {
    /// The user never bought anything.
    NoCustomer,
    /// A field breaks a rule.
    Invalid {
        /// One line per violation, `field: rule`.
        violations: Vec<String>,
    },
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for CreatePortalV1 {
    type Reply = Portal;
    type Refusal = PortalRefusal;

    fn replies() -> Vec<Portal> {
        vec![Portal { url: "https://billing.stripe.com/p/session/test_YWNjdF8xTTJKVGtMa2RJd0h1N2l4".into() }]
    }

    fn refusals() -> Vec<PortalRefusal> {
        let violations = vec!["return_url: https://evil.example is not on the list of return URLs".into()];
        vec![PortalRefusal::NoCustomer, PortalRefusal::Invalid { violations }]
    }
}
