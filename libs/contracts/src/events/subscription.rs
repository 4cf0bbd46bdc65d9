//! What the subscription service publishes: status, proofs' keys and their revocation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::billing::{
    ProofKeyWithdrawnV1, QuotaExceededV1, QuotaRestoredV1, ReconcileMode, ReconciledV1, RestoredBecause,
};
use crate::{Contract, Deprecation, Event, SubscriptionId, UserId};

events! {
    /// Facts about subscriptions.
    SubscriptionEvent {
        /// A subscription was created at Stripe.
        Created(CreatedV1),
        /// Its status changed; the older form, without what it was before.
        StatusChangedV1(StatusChangedV1),
        /// Its status changed.
        StatusChangedV2(StatusChangedV2),
        /// A change was asked for that the status machine does not allow.
        TransitionRejected(TransitionRejectedV1),
        /// Proofs below a version are void.
        ProofRevoked(ProofRevokedV1),
        /// A key that proofs are signed with, before its first use.
        ProofKeyPublished(ProofKeyPublishedV1),
        /// A key that is not to be trusted any more.
        ProofKeyWithdrawn(ProofKeyWithdrawnV1),
        /// A plan's limit was used up.
        QuotaExceeded(QuotaExceededV1),
        /// It may be used again.
        QuotaRestored(QuotaRestoredV1),
        /// Our subscriptions were compared with Stripe's.
        Reconciled(ReconciledV1),
    }
}

/// Stripe's subscription statuses. A status we don't know is kept as text elsewhere and fails closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum Status {
    /// The first payment is not through yet.
    Incomplete,
    /// The first payment never came; final.
    IncompleteExpired,
    /// In its trial.
    Trialing,
    /// Paid.
    Active,
    /// A payment failed; Stripe is retrying.
    PastDue,
    /// Stripe gave up retrying.
    Unpaid,
    /// Paused after a trial without a payment method.
    Paused,
    /// Ended; final.
    Canceled,
    /// A status newer than this reader.
    #[serde(other)]
    Unknown,
}

/// A subscription was created at Stripe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreatedV1 {
    /// Which subscription.
    pub subscription_id: SubscriptionId,
    /// Who asked for it.
    pub user_id: UserId,
    /// The plan's name in the catalogue.
    pub plan: String,
    /// Its first status.
    pub status: Status,
}

impl Contract for CreatedV1 {
    const KIND: &'static str = "subscription.created.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            subscription_id: sample_id(),
            user_id: "ada".parse().expect("a valid id"),
            plan: "team".into(),
            status: Status::Incomplete,
        }]
    }
}

impl Event for CreatedV1 {
    fn aggregate(&self) -> String {
        aggregate(&self.subscription_id)
    }
}

/// A subscription's status changed. Superseded by v2, which says what it was before and whether it entitles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusChangedV1 {
    /// Which subscription.
    pub subscription_id: SubscriptionId,
    /// The new status.
    pub status: Status,
}

impl Contract for StatusChangedV1 {
    const KIND: &'static str = "subscription.status_changed.v1";
    const DEPRECATION: Option<Deprecation> =
        Some(Deprecation { since: "2026-11-20", sunset: "2027-02-18", successor: "subscription.status_changed.v2" });

    fn samples() -> Vec<Self> {
        vec![Self { subscription_id: sample_id(), status: Status::Active }]
    }
}

impl Event for StatusChangedV1 {
    fn aggregate(&self) -> String {
        aggregate(&self.subscription_id)
    }
}

/// A subscription's status changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusChangedV2 {
    /// Which subscription.
    pub subscription_id: SubscriptionId,
    /// What it was; absent when the fact was first told in v1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Status>,
    /// What it is.
    pub current: Status,
    /// Whether proofs may be issued in this status (grace periods aside).
    pub entitled: bool,
    /// End of the paid period, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_period_end_ms: Option<u64>,
}

impl Contract for StatusChangedV2 {
    const KIND: &'static str = "subscription.status_changed.v2";

    fn samples() -> Vec<Self> {
        vec![Self {
            subscription_id: sample_id(),
            previous: Some(Status::Incomplete),
            current: Status::Active,
            entitled: true,
            current_period_end_ms: Some(1_792_592_000_000),
        }]
    }
}

impl Event for StatusChangedV2 {
    fn aggregate(&self) -> String {
        aggregate(&self.subscription_id)
    }
}

/// The upcaster: what v1 did not say stays unsaid, and entitlement follows from the status.
impl From<StatusChangedV1> for StatusChangedV2 {
    fn from(old: StatusChangedV1) -> Self {
        Self {
            subscription_id: old.subscription_id,
            previous: None,
            current: old.status,
            entitled: matches!(old.status, Status::Trialing | Status::Active | Status::PastDue),
            current_period_end_ms: None,
        }
    }
}

/// The form of v1 for as long as somebody reads it.
impl From<&StatusChangedV2> for StatusChangedV1 {
    fn from(new: &StatusChangedV2) -> Self {
        Self { subscription_id: new.subscription_id.clone(), status: new.current }
    }
}

impl SubscriptionEvent {
    /// The newest form of the same fact: v1 facts are upcast.
    pub fn latest(self) -> Self {
        match self {
            Self::StatusChangedV1(old) => Self::StatusChangedV2(old.into()),
            newest => newest,
        }
    }
}

/// Somebody asked for a status change that the machine does not allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransitionRejectedV1 {
    /// Which subscription.
    pub subscription_id: SubscriptionId,
    /// Where it stands.
    pub from: Status,
    /// Where it should have gone.
    pub to: Status,
    /// Who asked: `api` or `webhook`.
    pub source: String,
    /// What was asked: `change_plan`, `cancel`, `resume`; absent for a webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// Which user asked; absent for a webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
}

impl Contract for TransitionRejectedV1 {
    const KIND: &'static str = "subscription.transition_rejected.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            subscription_id: sample_id(),
            from: Status::Canceled,
            to: Status::Active,
            source: "api".into(),
            asked: Some("resume".into()),
            user_id: Some("ada".parse().expect("a valid id")),
        }]
    }
}

impl Event for TransitionRejectedV1 {
    fn aggregate(&self) -> String {
        aggregate(&self.subscription_id)
    }
}

/// Proofs of a subscription below a version are void from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProofRevokedV1 {
    /// Which subscription (`sid` in the proof).
    pub subscription_id: SubscriptionId,
    /// Proofs whose `ver` is smaller are refused.
    pub min_ver: u64,
    /// When the last of them has expired anyway, Unix milliseconds; the record may be dropped then.
    pub until_ms: u64,
    /// Why, for people: `canceled`, `unpaid`, …
    pub reason: String,
}

impl Contract for ProofRevokedV1 {
    const KIND: &'static str = "subscription.proof_revoked.v1";

    fn samples() -> Vec<Self> {
        vec![Self { subscription_id: sample_id(), min_ver: 3, until_ms: 1_790_000_300_000, reason: "canceled".into() }]
    }
}

impl Event for ProofRevokedV1 {
    fn aggregate(&self) -> String {
        aggregate(&self.subscription_id)
    }
}

/// A public key for proofs, told before anything is signed with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProofKeyPublishedV1 {
    /// The key.
    pub key: ProofKey,
}

/// A public Ed25519 key that verifies proofs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProofKey {
    /// Names the key in a proof's header.
    pub kid: String,
    /// The 32 bytes of the public key, base64url without padding (RFC 8037 `x`).
    pub public_key: String,
    /// Proofs signed with it may be trusted until then, Unix milliseconds.
    pub not_after_ms: u64,
}

impl Contract for ProofKeyPublishedV1 {
    const KIND: &'static str = "subscription.proof_key_published.v1";

    fn samples() -> Vec<Self> {
        vec![Self { key: ProofKey::sample() }]
    }
}

impl ProofKey {
    pub(crate) fn sample() -> Self {
        Self {
            kid: "2026-11-a".into(),
            public_key: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into(),
            not_after_ms: 1_800_000_000_000,
        }
    }
}

impl Event for ProofKeyPublishedV1 {
    fn aggregate(&self) -> String {
        "proof-keys".into()
    }
}

fn aggregate(id: &SubscriptionId) -> String {
    format!("subscription/{id}")
}

fn sample_id() -> SubscriptionId {
    "sub-01".parse().expect("a valid id")
}
