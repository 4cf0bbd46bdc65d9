//! Subscriptions, page by page.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SubscriptionView;
use crate::events::subscription::Status;
use crate::{Contract, Request, UserId};

/// Tell a user's subscriptions, or a whole tenant's; oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListV1 {
    /// Whose; absent for the whole tenant's, which is for administrators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Only those in this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Subscriptions a page, 1 to 100.
    pub limit: u32,
    /// Where the last page ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Contract for ListV1 {
    const KIND: &'static str = "subscription.list.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            user_id: Some("ada".parse().expect("a valid id")),
            status: Some(Status::Active),
            limit: 50,
            after: Some("c3ViLTAx".into()),
        }]
    }
}

/// A page of subscriptions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubscriptionPage {
    /// As we last saw them at Stripe. A page may be short of the limit, or empty, and not be the last.
    pub subscriptions: Vec<SubscriptionView>,
    /// Set while more may follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Why nothing was listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum SubscriptionListRefusal {
    /// The limit is outside 1 to 100, or `after` is not one of our page tokens.
    InvalidPage {
        /// Which field and rule.
        message: String,
    },
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for ListV1 {
    type Reply = SubscriptionPage;
    type Refusal = SubscriptionListRefusal;

    fn replies() -> Vec<SubscriptionPage> {
        vec![SubscriptionPage { subscriptions: vec![SubscriptionView::sample()], next: Some("c3ViLTAx".into()) }]
    }

    fn refusals() -> Vec<SubscriptionListRefusal> {
        vec![SubscriptionListRefusal::InvalidPage { message: "limit: 0 is outside 1 to 100".into() }]
    }
}
