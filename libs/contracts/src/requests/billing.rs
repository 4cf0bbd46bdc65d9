//! More of what the subscription service is asked: what a verifier of proofs needs to begin, and what was used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::events::billing::ProofKeyWithdrawnV1;
use crate::events::subscription::{ProofKey, ProofRevokedV1};
use crate::requests::subscription::{GetRefusal, NeverRefused};
use crate::{Contract, Entry, Request, SubscriptionId, UserId};

pub(crate) fn entries() -> Vec<Entry> {
    [Entry::request::<ProofSnapshotV1>(), Entry::request::<UsageV1>()].concat()
}

/// Tell what a verifier of proofs must know: the keys, and a page of the revocations in force. Ask for the first page
/// before listening to no events, and go on until there is no `next`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProofSnapshotV1 {
    /// `next` of the page before; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Revocations a page, 1 to 1,000.
    pub limit: u32,
}

impl Contract for ProofSnapshotV1 {
    const KIND: &'static str = "subscription.proof_snapshot.v1";

    fn samples() -> Vec<Self> {
        vec![Self { after: Some("sub-00".into()), limit: 500 }]
    }
}

/// What verifiers must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProofSnapshot {
    /// Every key that may verify now or soon; the same on every page.
    pub keys: Vec<ProofKey>,
    /// Keys that were withdrawn before their time; the same on every page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<ProofKeyWithdrawnV1>,
    /// Revocations in force.
    pub revocations: Vec<ProofRevokedV1>,
    /// Set while more may follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Request for ProofSnapshotV1 {
    type Reply = ProofSnapshot;
    type Refusal = NeverRefused;

    fn replies() -> Vec<ProofSnapshot> {
        vec![ProofSnapshot {
            keys: vec![ProofKey::sample()],
            withdrawn: ProofKeyWithdrawnV1::samples(),
            revocations: ProofRevokedV1::samples(),
            next: Some("sub-01".into()),
        }]
    }

    fn refusals() -> Vec<NeverRefused> {
        vec![NeverRefused::Unknown]
    }
}

/// Tell what a subscription used and may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageV1 {
    /// Which one.
    pub subscription_id: SubscriptionId,
}

impl Contract for UsageV1 {
    const KIND: &'static str = "subscription.usage.v1";

    fn samples() -> Vec<Self> {
        vec![Self { subscription_id: sample_id() }]
    }
}

/// What a subscription used in the windows of now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageView {
    /// Which one.
    pub subscription_id: SubscriptionId,
    /// Who it belongs to.
    pub user_id: UserId,
    /// The plan's name.
    pub plan: String,
    /// What it includes: Stripe's entitlements of the customer where there are any, else the plan's.
    pub features: Vec<String>,
    /// Every meter in each of its windows, used or limited.
    pub windows: Vec<UsageWindow>,
}

/// One meter in one window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageWindow {
    /// The meter: `relay_bytes`.
    pub meter: String,
    /// `minute`, `day` or `month`, UTC.
    pub window: String,
    /// What was used.
    pub used: u64,
    /// What the plan allows; absent where it sets no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<u64>,
    /// Begin of the window, Unix milliseconds.
    pub from_ms: u64,
    /// When the next begins, Unix milliseconds.
    pub resets_at_ms: u64,
}

impl Request for UsageV1 {
    type Reply = UsageView;
    type Refusal = GetRefusal;

    fn replies() -> Vec<UsageView> {
        vec![UsageView {
            subscription_id: sample_id(),
            user_id: "ada".parse().expect("a valid id"),
            plan: "team".into(),
            features: vec!["relay".into()],
            windows: vec![UsageWindow {
                meter: "relay_bytes".into(),
                window: "month".into(),
                used: 4_096,
                allowed: Some(107_374_182_400),
                from_ms: 1_788_220_800_000,
                resets_at_ms: 1_790_812_800_000,
            }],
        }]
    }

    fn refusals() -> Vec<GetRefusal> {
        vec![GetRefusal::NotFound]
    }
}

fn sample_id() -> SubscriptionId {
    "sub-01".parse().expect("a valid id")
}
