use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::PeerId;

/// `POST /v1/subscriptions`, with an Idempotency-Key header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSubscription {
    /// A Stripe price on the allow-list.
    pub price_id: String,
    /// Stripe's payment method (`pm_…`), where one is known already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_method_id: Option<String>,
    /// For Stripe's receipts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Yours to use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// `POST /v1/subscriptions/{id}/plan`, with an Idempotency-Key header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePlan {
    /// A Stripe price on the allow-list.
    pub price_id: String,
}

/// `POST /v1/subscriptions/{id}/cancel`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelSubscription {
    /// With the paid period rather than now.
    pub at_period_end: bool,
}

/// `POST /v1/subscriptions/checkout`, with an Idempotency-Key header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCheckout {
    /// A Stripe price on the allow-list.
    pub price_id: String,
    /// Where the browser goes when it is paid; on the list of return URLs.
    pub success_url: String,
    /// Where it goes when the customer turns back; on the list of return URLs.
    pub cancel_url: String,
    /// For Stripe's receipts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Yours to use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// `POST /v1/subscriptions/portal`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreatePortal {
    /// Where the browser goes afterwards; on the list of return URLs.
    pub return_url: String,
}

/// `POST /v1/subscriptions/{id}/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifySubscription {
    /// The peer that will show the proof.
    pub peer_id: PeerId,
    /// Thumbprint of the peer's public key (RFC 7638: SHA-256 in base64url, 43 characters): the proof is then good
    /// only together with that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_key: Option<String>,
}
