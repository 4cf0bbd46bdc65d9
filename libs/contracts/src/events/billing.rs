//! More of what the subscription service publishes: quotas, withdrawn keys, reconciliations. Variants of
//! [`super::subscription::SubscriptionEvent`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Contract, Event, SubscriptionId};

/// A key that proofs are signed with is not to be trusted any more, whatever its `not_after_ms` said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProofKeyWithdrawnV1 {
    /// The key's name.
    pub kid: String,
    /// When its last proof would have ended, Unix milliseconds; the name may be forgotten then.
    pub until_ms: u64,
    /// Why, for people.
    pub reason: String,
}

impl Contract for ProofKeyWithdrawnV1 {
    const KIND: &'static str = "subscription.proof_key_withdrawn.v1";

    fn samples() -> Vec<Self> {
        vec![Self { kid: "2026-11-a".into(), until_ms: 1_800_000_000_000, reason: "leaked".into() }]
    }
}

impl Event for ProofKeyWithdrawnV1 {
    fn aggregate(&self) -> String {
        "proof-keys".into()
    }
}

/// A subscription used up what its plan allows in a window. Told once per limit and window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaExceededV1 {
    /// Which subscription.
    pub subscription_id: SubscriptionId,
    /// The limit's name in the plan: meter and window, `relay_bytes_month`.
    pub limit: String,
    /// What the plan allows in the window.
    pub allowed: u64,
    /// What was used when it was noticed.
    pub used: u64,
    /// Begin of the window, Unix milliseconds (UTC minutes, days and months).
    pub window_from_ms: u64,
    /// When the next window begins, Unix milliseconds: refuse until then.
    pub resets_at_ms: u64,
}

impl Contract for QuotaExceededV1 {
    const KIND: &'static str = "subscription.quota_exceeded.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            subscription_id: sample_id(),
            limit: "relay_bytes_month".into(),
            allowed: 107_374_182_400,
            used: 107_374_190_000,
            window_from_ms: 1_788_220_800_000,
            resets_at_ms: 1_790_812_800_000,
        }]
    }
}

impl Event for QuotaExceededV1 {
    fn aggregate(&self) -> String {
        quota(&self.subscription_id)
    }
}

/// A subscription may use again what it had used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaRestoredV1 {
    /// Which subscription.
    pub subscription_id: SubscriptionId,
    /// The limit's name in the plan.
    pub limit: String,
    /// Why.
    pub reason: RestoredBecause,
}

/// Why a quota holds no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum RestoredBecause {
    /// A new window began.
    WindowEnded,
    /// The plan allows more now, or sets no such limit.
    PlanGrew,
    /// A reason newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Contract for QuotaRestoredV1 {
    const KIND: &'static str = "subscription.quota_restored.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            subscription_id: sample_id(),
            limit: "relay_bytes_month".into(),
            reason: RestoredBecause::WindowEnded,
        }]
    }
}

impl Event for QuotaRestoredV1 {
    fn aggregate(&self) -> String {
        quota(&self.subscription_id)
    }
}

/// Our subscriptions were compared with Stripe's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReconciledV1 {
    /// Which run.
    pub run_id: String,
    /// What was compared.
    pub mode: ReconcileMode,
    /// Subscriptions looked at.
    pub checked: u64,
    /// At Stripe, and not known here.
    pub missing: u64,
    /// Known here with other content.
    pub stale: u64,
    /// On one side only, or twice, and for people to decide.
    pub extra: u64,
    /// How many of these were repaired.
    pub repaired: u64,
    /// Repairs that came to nothing; the next run tries again.
    pub failed: u64,
    /// When it began, Unix milliseconds.
    pub started_at_ms: u64,
    /// When it ended, Unix milliseconds.
    pub finished_at_ms: u64,
}

/// How much a reconciliation compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum ReconcileMode {
    /// Every subscription of both sides.
    Sweep,
    /// What Stripe's events of the time since the last backfill are about.
    Backfill,
    /// A mode newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Contract for ReconciledV1 {
    const KIND: &'static str = "subscription.reconciled.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            run_id: "0199-run".into(),
            mode: ReconcileMode::Sweep,
            checked: 1_200,
            missing: 1,
            stale: 2,
            extra: 1,
            repaired: 3,
            failed: 0,
            started_at_ms: 1_790_000_000_000,
            finished_at_ms: 1_790_000_030_000,
        }]
    }
}

impl Event for ReconciledV1 {
    fn aggregate(&self) -> String {
        "reconciliation".into()
    }
}

fn quota(id: &SubscriptionId) -> String {
    format!("quota/{id}")
}

fn sample_id() -> SubscriptionId {
    "sub-01".parse().expect("a valid id")
}
