//! Changes that a subscription's owner asks for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SubscriptionView, sample_id};
use crate::events::subscription::Status;
use crate::{Contract, Request, SubscriptionId, UserId};

/// Bill a subscription by another price. The same idempotency key of the same user changes it once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangePlanV1 {
    /// Which subscription.
    pub subscription_id: SubscriptionId,
    /// Who asks.
    pub user_id: UserId,
    /// Whether they may change those of others in their tenant.
    #[serde(default)]
    pub is_admin: bool,
    /// A Stripe price on the allow-list.
    pub price_id: String,
    /// The caller's Idempotency-Key.
    pub idempotency_key: String,
}

impl Contract for ChangePlanV1 {
    const KIND: &'static str = "subscription.change_plan.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            subscription_id: sample_id(),
            user_id: "ada".parse().expect("a valid id"),
            is_admin: false,
            price_id: "price_business_monthly".into(),
            idempotency_key: "9a1be0c7".into(),
        }]
    }
}

/// Why a plan was not changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum ChangePlanRefusal {
    /// This tenant has no such subscription.
    NotFound,
    /// It belongs to somebody else.
    NotOwner,
    /// Its status does not allow it.
    IllegalTransition {
        /// The status it is in.
        from: Status,
    },
    /// The price is not on the allow-list.
    UnknownPrice {
        /// What may be asked for.
        allowed: Vec<String>,
    },
    /// The key was used with other content.
    IdempotencyMismatch,
    /// The bank refused the card or wants the customer to act; the plan is as it was.
    PaymentFailed {
        /// What the client must do.
        message: String,
    },
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for ChangePlanV1 {
    type Reply = SubscriptionView;
    type Refusal = ChangePlanRefusal;

    fn replies() -> Vec<SubscriptionView> {
        vec![SubscriptionView::sample()]
    }

    fn refusals() -> Vec<ChangePlanRefusal> {
        vec![
            ChangePlanRefusal::NotFound,
            ChangePlanRefusal::NotOwner,
            ChangePlanRefusal::IllegalTransition { from: Status::Canceled },
            ChangePlanRefusal::UnknownPrice { allowed: vec!["price_team_monthly".into()] },
            ChangePlanRefusal::IdempotencyMismatch,
            ChangePlanRefusal::PaymentFailed { message: "the card was declined".into() },
        ]
    }
}

/// End a subscription, now or with its paid period. Ending what has ended changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelV1 {
    /// Which subscription.
    pub subscription_id: SubscriptionId,
    /// Who asks.
    pub user_id: UserId,
    /// Whether they may change those of others in their tenant.
    #[serde(default)]
    pub is_admin: bool,
    /// With the paid period rather than now.
    pub at_period_end: bool,
}

impl Contract for CancelV1 {
    const KIND: &'static str = "subscription.cancel.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            subscription_id: sample_id(),
            user_id: "ada".parse().expect("a valid id"),
            is_admin: false,
            at_period_end: true,
        }]
    }
}

/// Why a subscription was not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum CancelRefusal {
    /// This tenant has no such subscription.
    NotFound,
    /// It belongs to somebody else.
    NotOwner,
    /// Its status does not allow it.
    IllegalTransition {
        /// The status it is in.
        from: Status,
    },
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for CancelV1 {
    type Reply = SubscriptionView;
    type Refusal = CancelRefusal;

    fn replies() -> Vec<SubscriptionView> {
        vec![SubscriptionView { cancel_at_period_end: Some(true), ..SubscriptionView::sample() }]
    }

    fn refusals() -> Vec<CancelRefusal> {
        vec![
            CancelRefusal::NotFound,
            CancelRefusal::NotOwner,
            CancelRefusal::IllegalTransition { from: Status::Incomplete },
        ]
    }
}

/// Take back a cancellation that has not happened yet, or wake up a paused subscription. Resuming what runs changes
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResumeV1 {
    /// Which subscription.
    pub subscription_id: SubscriptionId,
    /// Who asks.
    pub user_id: UserId,
    /// Whether they may change those of others in their tenant.
    #[serde(default)]
    pub is_admin: bool,
}

impl Contract for ResumeV1 {
    const KIND: &'static str = "subscription.resume.v1";

    fn samples() -> Vec<Self> {
        vec![Self { subscription_id: sample_id(), user_id: "ada".parse().expect("a valid id"), is_admin: true }]
    }
}

/// Why a subscription was not resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum ResumeRefusal {
    /// This tenant has no such subscription.
    NotFound,
    /// It belongs to somebody else.
    NotOwner,
    /// Its status does not allow it.
    IllegalTransition {
        /// The status it is in.
        from: Status,
    },
    /// The bank refused the card; it stays paused.
    PaymentFailed {
        /// What the client must do.
        message: String,
    },
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for ResumeV1 {
    type Reply = SubscriptionView;
    type Refusal = ResumeRefusal;

    fn replies() -> Vec<SubscriptionView> {
        vec![SubscriptionView::sample()]
    }

    fn refusals() -> Vec<ResumeRefusal> {
        vec![
            ResumeRefusal::NotFound,
            ResumeRefusal::NotOwner,
            ResumeRefusal::IllegalTransition { from: Status::Canceled },
            ResumeRefusal::PaymentFailed { message: "the card was declined".into() },
        ]
    }
}
