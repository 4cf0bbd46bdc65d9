//! What one gateway process tells all of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Contract, Signal, SubscriptionId};

/// Close every connection that a subscription's older proofs opened. Sent to [`crate::signals::EVERYBODY`] after the
/// revocation was committed; a process that misses it refuses the proofs by its store and when they expire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntitlementLostV1 {
    /// Which subscription.
    pub subscription_id: SubscriptionId,
    /// Proofs whose `ver` is smaller are void.
    pub min_ver: u64,
    /// When the record may be dropped, Unix milliseconds.
    pub until_ms: u64,
    /// Why, for people.
    pub reason: String,
}

impl Contract for EntitlementLostV1 {
    const KIND: &'static str = "gateway.entitlement_lost.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            subscription_id: "sub-01".parse().expect("a valid id"),
            min_ver: 3,
            until_ms: 1_790_000_300_000,
            reason: "canceled".into(),
        }]
    }
}

impl Signal for EntitlementLostV1 {}
