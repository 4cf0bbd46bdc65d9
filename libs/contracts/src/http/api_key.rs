use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::UserId;

/// What an API key may be used for, besides what its role allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ApiKeyScope {
    /// Be a peer: open connections and streams, ask for tickets, send every frame that the role allows.
    #[serde(rename = "connect")]
    Connect,
    /// See who is here.
    #[serde(rename = "peers:read")]
    PeersRead,
    /// Get subscription proofs for peers.
    #[serde(rename = "proofs:issue")]
    ProofsIssue,
    /// See plans, subscriptions and what was used.
    #[serde(rename = "subscriptions:read")]
    SubscriptionsRead,
    /// Buy, change and end subscriptions.
    #[serde(rename = "subscriptions:write")]
    SubscriptionsWrite,
}

impl ApiKeyScope {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::PeersRead => "peers:read",
            Self::ProofsIssue => "proofs:issue",
            Self::SubscriptionsRead => "subscriptions:read",
            Self::SubscriptionsWrite => "subscriptions:write",
        }
    }
}

/// What whoever uses an API key is inside the tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApiKeyRole {
    /// May act for everybody of the tenant.
    Admin,
    /// Has things of their own.
    User,
    /// Looks only.
    #[default]
    ReadOnly,
}

/// `POST /v1/api-keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKey {
    /// For people: 1 to 100 characters.
    pub name: String,
    /// What it may be used for: at least one.
    pub scopes: Vec<ApiKeyScope>,
    /// What its user is. Default: `read_only`.
    #[serde(default)]
    pub role: ApiKeyRole,
    /// Whom it speaks for. Default: whoever creates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// When it ends, Unix milliseconds. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// Most requests a minute, 1 to 1,000,000. Default: the limit that every caller has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
}

/// `POST /v1/api-keys/{id}/rotate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateApiKey {
    /// How long the secret of before stays good, milliseconds, 0 to 604,800,000 (7 days). Default: 86,400,000 (a day).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_ms: Option<u64>,
}

/// Where an API key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApiKeyStatus {
    /// Good.
    Active,
    /// Its time is over.
    Expired,
    /// Somebody took it back.
    Revoked,
}

/// An API key without its secret, which is shown once and not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKeyView {
    /// Its name for programs.
    pub key_id: String,
    /// Its name for people.
    pub name: String,
    /// How its secret begins.
    pub hint: String,
    /// Whether it can be used.
    pub status: ApiKeyStatus,
    /// What it may be used for.
    pub scopes: Vec<ApiKeyScope>,
    /// What its user is.
    pub role: ApiKeyRole,
    /// Whom it speaks for.
    pub user_id: UserId,
    /// When it was made, Unix milliseconds.
    pub created_at_ms: u64,
    /// Who made it.
    pub created_by: UserId,
    /// When it ends, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// When it was revoked, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at_ms: Option<u64>,
    /// When it was last used, Unix milliseconds; up to a minute late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at_ms: Option<u64>,
    /// Until when the secret before the last rotation is good too, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_until_ms: Option<u64>,
    /// Most requests a minute, where the key has a limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
}

/// The answer of `POST /v1/api-keys` and of a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKeyIssued {
    /// The key to send as `Authorization: Bearer …`. Not shown again.
    pub secret: String,
    /// Everything else about it.
    pub key: ApiKeyView,
}

/// The answer of `GET /v1/api-keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKeyPage {
    /// The tenant's keys, oldest first, those that ended lately included.
    pub keys: Vec<ApiKeyView>,
    /// Give it as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
