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
    /// Stripe's event type, e.g. `customer.subscription.updated`.
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
    /// The subscription's metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
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
        }]
    }
}

impl Event for StripeSubscriptionChangedV1 {
    fn aggregate(&self) -> String {
        format!("subscription/{}", self.subscription_id)
    }
}
