//! What is kept of an event.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::events::webhook::WebhookEvent;
use contracts::{EventId, Fact, SubscriptionId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::{Created, Event};
use crate::judge::{Reason, State, Whose};

/// What is known of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Stripe's id; absent where the body has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stripe_event_id: Option<String>,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<Created>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_version: Option<String>,
    /// Whether the version is another than the endpoint expects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unexpected_version: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) livemode: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) customer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stripe_subscription_id: Option<String>,
    /// The endpoint it came in at.
    #[serde(default)]
    pub(crate) endpoint: String,
    pub(crate) received_ms: u64,
    pub(crate) bytes: usize,
    /// Of the body, base64url.
    pub(crate) sha256: String,
    pub(crate) state: State,
    /// Why it must not act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    /// Whose facts it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<TenantId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subscription_id: Option<SubscriptionId>,
    /// The facts it became, the last time it was mapped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) published: Vec<Published>,
    /// How often an operator had it published again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) replays: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A fact as it was published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Published {
    pub(crate) event_id: EventId,
    pub(crate) kind: String,
    pub(crate) key: String,
    pub(crate) sequence: u64,
    pub(crate) payload: Value,
}

impl Published {
    pub(crate) fn new(event_id: EventId, tenant: &TenantId, sequence: u64, fact: &WebhookEvent) -> Self {
        Self {
            event_id,
            kind: fact.kind().to_owned(),
            key: format!("{tenant}/{}", fact.aggregate()),
            sequence,
            payload: payload(fact),
        }
    }

    /// The fact itself; `None` where this program can't read it any more.
    pub(crate) fn fact(&self) -> Option<WebhookEvent> {
        WebhookEvent::decode(&self.kind, self.payload.to_string().as_bytes())?.ok()
    }
}

/// A fact's payload.
pub(crate) fn payload(fact: &WebhookEvent) -> Value {
    let text = fact.to_json().expect("contracts are plain data");
    serde_json::from_slice(&text).expect("it was just written")
}

/// The id of the fact of this kind that follows from an event: the same whenever it is published. `replay` tells the
/// ones apart that an operator forced.
pub(crate) fn fact_id(stripe_event_id: &str, kind: &str, replay: &str) -> EventId {
    let text = [stripe_event_id, kind, replay].join("\0");
    let digest = URL_SAFE_NO_PAD.encode(sha256(text.as_bytes()));
    digest.parse().expect("43 characters of base64url are a valid id")
}

fn sha256(bytes: &[u8]) -> aws_lc_rs::digest::Digest {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes)
}

impl Record {
    /// The record of a body nothing is known of yet.
    pub(crate) fn of_body(body: &[u8], endpoint: &str, received_ms: u64) -> Self {
        Self {
            stripe_event_id: None,
            kind: None,
            created: None,
            api_version: None,
            unexpected_version: false,
            livemode: None,
            account: None,
            object_id: None,
            object: None,
            customer: None,
            stripe_subscription_id: None,
            endpoint: endpoint.to_owned(),
            received_ms,
            bytes: body.len(),
            sha256: URL_SAFE_NO_PAD.encode(sha256(body)),
            state: State::Unmapped,
            reason: None,
            detail: None,
            tenant: None,
            subscription_id: None,
            published: Vec::new(),
            replays: 0,
        }
    }

    /// The same with what its event says.
    pub(crate) fn with_event(self, event: &Event<'_>) -> Self {
        let about = event.about();
        Self {
            stripe_event_id: Some(event.id.as_str().to_owned()),
            kind: Some(event.kind.as_str().to_owned()),
            created: Some(event.created.clone()),
            api_version: event.api_version.as_ref().map(|version| version.as_str().to_owned()),
            livemode: Some(event.livemode),
            account: event.account().map(|account| account.as_str().to_owned()),
            object_id: about.object_id,
            object: about.object,
            customer: about.customer,
            stripe_subscription_id: about.subscription,
            ..self
        }
    }

    /// The same as one that must not act.
    pub(crate) fn set_aside(self, reason: Reason, detail: impl Into<String>) -> Self {
        let state = if reason == Reason::Conflict { State::Conflict } else { State::Quarantined };
        Self { state, reason: Some(reason), detail: Some(detail.into()), ..self }
    }

    /// The same as one whose facts were published for `whose`.
    pub(crate) fn publish(self, whose: &Whose, published: Vec<Published>) -> Self {
        Self {
            state: State::Published,
            reason: None,
            detail: None,
            tenant: Some(whose.tenant().clone()),
            subscription_id: whose.subscription().cloned(),
            published,
            ..self
        }
    }

    /// What operators call it: Stripe's id, or the digest of a body that has none of its own.
    pub(crate) fn name(&self) -> &str {
        match (&self.stripe_event_id, self.state) {
            (None, _) | (_, State::Conflict) => &self.sha256,
            (Some(id), _) => id,
        }
    }

    /// Where it lies: under Stripe's id, unless that is not to be trusted or belongs to another body.
    pub(crate) fn partition(&self) -> String {
        match (&self.stripe_event_id, self.state) {
            (None, _) | (_, State::Conflict) => format!("quarantine#{}", self.sha256),
            (Some(id), _) => format!("event#{id}"),
        }
    }
}
