//! What the subscription service is asked: to sell, tell, change and end subscriptions, and to prove them.

mod changes;
mod list;
mod pages;
mod plans;

pub use changes::{CancelRefusal, CancelV1, ChangePlanRefusal, ChangePlanV1, ResumeRefusal, ResumeV1};
pub use list::{ListV1, SubscriptionListRefusal, SubscriptionPage};
pub use pages::{Checkout, CheckoutRefusal, CreateCheckoutV1, CreatePortalV1, Portal, PortalRefusal};
pub use plans::{CheckPlansV1, ListPlansV1, PlanView, Plans, PlansReport, PriceReport};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::events::subscription::{ProofKey, Status};
use crate::{Contract, Entry, PeerId, Request, SubscriptionId, UserId};

pub(crate) fn entries() -> Vec<Entry> {
    [
        Entry::request::<CreateV1>(),
        Entry::request::<GetV1>(),
        Entry::request::<VerifyV1>(),
        Entry::request::<ListProofKeysV1>(),
        Entry::request::<ListV1>(),
        Entry::request::<ChangePlanV1>(),
        Entry::request::<CancelV1>(),
        Entry::request::<ResumeV1>(),
        Entry::request::<CreateCheckoutV1>(),
        Entry::request::<CreatePortalV1>(),
        Entry::request::<ListPlansV1>(),
        Entry::request::<CheckPlansV1>(),
    ]
    .concat()
}

/// A subscription as its owner tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubscriptionView {
    /// Its id.
    pub subscription_id: SubscriptionId,
    /// Who it belongs to.
    pub user_id: UserId,
    /// The plan's name.
    pub plan: String,
    /// The Stripe price it is billed by.
    pub price_id: String,
    /// Its status.
    pub status: Status,
    /// Stripe's own id (`sub_…`).
    pub stripe_subscription_id: String,
    /// End of the paid period, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_period_end_ms: Option<u64>,
    /// Whether it ends with its paid period; absent from services older than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_at_period_end: Option<bool>,
    /// Caller's metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// What is to be done so that its first payment goes through; only in the answer to its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentStep>,
}

/// How a payment that waits for the customer goes on: with either of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentStep {
    /// For Stripe.js: the payment intent's client secret. Give it to nobody but the customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// A page of Stripe's on which the customer pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosted_invoice_url: Option<String>,
}

impl PaymentStep {
    fn sample() -> Self {
        Self {
            client_secret: Some("pi_3MtwBwLkdIwHu7ix28a3tqPa_secret_YrKJUKribcBjcG8HVhfZluoGH".into()),
            hosted_invoice_url: Some("https://invoice.stripe.com/i/acct_1M2JTkLkdIwHu7ix/test_YWNjdF8x".into()),
        }
    }
}

impl SubscriptionView {
    fn sample() -> Self {
        Self {
            subscription_id: sample_id(),
            user_id: "ada".parse().expect("a valid id"),
            plan: "team".into(),
            price_id: "price_team_monthly".into(),
            status: Status::Active,
            stripe_subscription_id: "sub_1PgafmB7WZ01zgkW6dKueIc5".into(),
            current_period_end_ms: Some(1_792_592_000_000),
            cancel_at_period_end: Some(false),
            metadata: BTreeMap::from([("team".into(), "blue".into())]),
            payment: Some(PaymentStep::sample()),
        }
    }
}

/// Create a subscription; the same idempotency key of the same user gives the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateV1 {
    /// Who asks.
    pub user_id: UserId,
    /// A Stripe price on the allow-list.
    pub price_id: String,
    /// Stripe's payment method (`pm_…`), where one is known already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_method_id: Option<String>,
    /// The customer's e-mail address, for Stripe's receipts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Up to 45 pairs (Stripe allows 50, five are ours); key up to 40 characters without brackets, value up to 500.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The caller's Idempotency-Key.
    pub idempotency_key: String,
}

impl Contract for CreateV1 {
    const KIND: &'static str = "subscription.create.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            user_id: "ada".parse().expect("a valid id"),
            price_id: "price_team_monthly".into(),
            payment_method_id: Some("pm_card_visa".into()),
            email: Some("ada@example.com".into()),
            metadata: BTreeMap::from([("team".into(), "blue".into())]),
            idempotency_key: "3f1c9d52".into(),
        }]
    }
}

/// Why a subscription was not created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum CreateRefusal {
    /// The price is not on the allow-list.
    UnknownPrice {
        /// What may be asked for.
        allowed: Vec<String>,
    },
    /// The metadata breaks Stripe's limits or uses our prefix.
    InvalidMetadata {
        /// One line per violation.
        violations: Vec<String>,
    },
    /// Another field breaks a rule of ours or of Stripe's.
    Invalid {
        /// One line per violation, `field: rule`.
        violations: Vec<String>,
    },
    /// The key was used with other content.
    IdempotencyMismatch,
    /// The bank refused the card.
    PaymentFailed {
        /// What the client must do.
        message: String,
    },
    /// The bank wants the customer to act (3-D Secure). The subscription is there and waits for it.
    PaymentActionRequired {
        /// The subscription that waits.
        subscription_id: SubscriptionId,
        /// What the client must do.
        payment: PaymentStep,
    },
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for CreateV1 {
    type Reply = SubscriptionView;
    type Refusal = CreateRefusal;

    fn replies() -> Vec<SubscriptionView> {
        vec![SubscriptionView::sample()]
    }

    fn refusals() -> Vec<CreateRefusal> {
        vec![
            CreateRefusal::UnknownPrice { allowed: vec!["price_team_monthly".into()] },
            CreateRefusal::InvalidMetadata { violations: vec!["metadata.team: value is longer than 500".into()] },
            CreateRefusal::Invalid { violations: vec!["email: invalid address".into()] },
            CreateRefusal::IdempotencyMismatch,
            CreateRefusal::PaymentFailed { message: "the card was declined".into() },
            CreateRefusal::PaymentActionRequired { subscription_id: sample_id(), payment: PaymentStep::sample() },
        ]
    }
}

/// Tell a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GetV1 {
    /// Which one.
    pub subscription_id: SubscriptionId,
}

impl Contract for GetV1 {
    const KIND: &'static str = "subscription.get.v1";

    fn samples() -> Vec<Self> {
        vec![Self { subscription_id: sample_id() }]
    }
}

/// Why a subscription was not told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum GetRefusal {
    /// This tenant has no such subscription.
    NotFound,
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for GetV1 {
    type Reply = SubscriptionView;
    type Refusal = GetRefusal;

    fn replies() -> Vec<SubscriptionView> {
        vec![SubscriptionView::sample()]
    }

    fn refusals() -> Vec<GetRefusal> {
        vec![GetRefusal::NotFound]
    }
}

/// Prove to others that a peer may connect under this subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerifyV1 {
    /// Which subscription.
    pub subscription_id: SubscriptionId,
    /// For which peer.
    pub peer_id: PeerId,
    /// Who asks.
    pub user_id: UserId,
    /// Thumbprint of the peer's key (RFC 7638, base64url) to bind the proof to (`cnf.jkt`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_key: Option<String>,
}

impl Contract for VerifyV1 {
    const KIND: &'static str = "subscription.verify.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            subscription_id: sample_id(),
            peer_id: "alice".parse().expect("a valid id"),
            user_id: "ada".parse().expect("a valid id"),
            peer_key: Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".into()),
        }]
    }
}

/// A signed proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProofIssued {
    /// The JWS (`typ: sub-proof+jwt`).
    pub proof: String,
    /// When it ends, Unix milliseconds.
    pub expires_at_ms: u64,
    /// When to ask for the next one, Unix milliseconds (60 % of its life).
    pub refresh_at_ms: u64,
}

/// Why no proof was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum VerifyRefusal {
    /// This tenant has no such subscription.
    NotFound,
    /// It belongs to somebody else.
    NotOwner,
    /// Its status entitles to nothing.
    NotEntitled {
        /// The status it is in.
        status: Status,
    },
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for VerifyV1 {
    type Reply = ProofIssued;
    type Refusal = VerifyRefusal;

    fn replies() -> Vec<ProofIssued> {
        vec![ProofIssued {
            proof: "eyJhbGciOiJFZERTQSJ9.e30.c2ln".into(),
            expires_at_ms: 1_790_000_300_000,
            refresh_at_ms: 1_790_000_180_000,
        }]
    }

    fn refusals() -> Vec<VerifyRefusal> {
        vec![VerifyRefusal::NotFound, VerifyRefusal::NotOwner, VerifyRefusal::NotEntitled { status: Status::Canceled }]
    }
}

/// Tell every key that proofs may be signed with now: what a verifier that starts late needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListProofKeysV1 {}

impl Contract for ListProofKeysV1 {
    const KIND: &'static str = "subscription.list_proof_keys.v1";

    fn samples() -> Vec<Self> {
        vec![Self {}]
    }
}

/// Keys for proofs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProofKeys {
    /// All that may verify now.
    pub keys: Vec<ProofKey>,
}

/// The keys are public; nobody is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum NeverRefused {
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for ListProofKeysV1 {
    type Reply = ProofKeys;
    type Refusal = NeverRefused;

    fn replies() -> Vec<ProofKeys> {
        vec![ProofKeys { keys: vec![ProofKey::sample()] }]
    }

    fn refusals() -> Vec<NeverRefused> {
        vec![NeverRefused::Unknown]
    }
}

fn sample_id() -> SubscriptionId {
    "sub-01".parse().expect("a valid id")
}
