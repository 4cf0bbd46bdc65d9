//! What is to be done about an event. Pure.

use std::collections::BTreeMap;

use contracts::events::webhook::{StripeSubscriptionChangedV1, WebhookEvent};
use contracts::{SubscriptionId, TenantId};
use serde::{Deserialize, Serialize};

use crate::event::{Created, Event, Short, SubscriptionNews};

/// Whose subscription it is; the subscription service writes both when it creates one.
const TENANT: &str = "synapse_tenant";
/// Our id of it.
const SUBSCRIPTION: &str = "synapse_subscription";

/// Stripe's own limits of metadata (API reference, "Metadata"): 50 pairs, keys of 40 and values of 500 characters. They
/// bound the fact.
const METADATA_PAIRS_MAX: usize = 50;
const METADATA_KEY_CHARS_MAX: usize = 40;
const METADATA_VALUE_CHARS_MAX: usize = 500;

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// A fact was published from it.
    Published,
    /// It is about a subscription that we did not create.
    Unassigned,
    /// It is of a type that nothing follows from.
    Kept,
    /// It must not act; the record says why.
    Quarantined,
}

/// Why an event must not act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// The body is no event, though Stripe signed it.
    NotAnEvent,
    /// Test money in a live installation, or the other way round.
    WrongLivemode,
    /// It happened in a connected account, whose owner writes the metadata there.
    OtherAccount,
    /// The object is not of the shape that its type promises.
    UnreadableObject,
    /// Another event came under the same id before.
    Conflict,
}

impl State {
    /// A short stable word for metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Unassigned => "unassigned",
            Self::Kept => "kept",
            Self::Quarantined => "quarantined",
        }
    }
}

/// A fact to publish, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    pub(crate) tenant: TenantId,
    pub(crate) subscription_id: SubscriptionId,
    pub(crate) fact: WebhookEvent,
}

/// What is to be done about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Publish(Box<Hint>),
    Unassigned,
    Keep,
    Quarantine(Reason, String),
}

/// Judges an event in an installation for real money (`live`) or not.
pub(crate) fn judge(event: &Event<'_>, live: bool) -> Verdict {
    if event.livemode != live {
        let detail = format!("livemode: {} came, this installation is for {live}", event.livemode);
        return Verdict::Quarantine(Reason::WrongLivemode, detail);
    }
    if let Some(account) = event.account() {
        let detail = format!("account: it happened in {}", account.as_str());
        return Verdict::Quarantine(Reason::OtherAccount, detail);
    }
    let news = match event.subscription() {
        Ok(Some(news)) => news,
        Ok(None) => return Verdict::Keep,
        Err(detail) => return Verdict::Quarantine(Reason::UnreadableObject, detail),
    };
    let id = |key: &str| news.metadata.get(key).cloned();
    let (Some(tenant), Some(subscription)) = (id(TENANT), id(SUBSCRIPTION)) else { return Verdict::Unassigned };
    match (TenantId::try_from(tenant), SubscriptionId::try_from(subscription)) {
        (Ok(tenant), Ok(subscription_id)) => {
            let fact = fact(event, news, &subscription_id).into();
            Verdict::Publish(Box::new(Hint { tenant, subscription_id, fact }))
        }
        // Ours are always ids: somebody else's metadata, or edited by hand.
        _ => Verdict::Unassigned,
    }
}

fn fact(event: &Event<'_>, news: SubscriptionNews, subscription_id: &SubscriptionId) -> StripeSubscriptionChangedV1 {
    let text = |short: &Short| short.as_str().to_owned();
    StripeSubscriptionChangedV1 {
        subscription_id: subscription_id.clone(),
        stripe_subscription_id: news.stripe_subscription_id,
        stripe_event_id: text(&event.id),
        stripe_event_type: text(&event.kind),
        api_version: event.api_version.as_ref().map(text),
        livemode: event.livemode,
        created_s: match event.created {
            Created::Seconds(seconds) => seconds,
            Created::Text(_) => 0,
        },
        hinted_status: news.status.as_ref().map(text),
        metadata: bounded(news.metadata),
        stripe_account: None,
    }
}

fn bounded(metadata: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let within = |key: &str, value: &str| {
        key.chars().count() <= METADATA_KEY_CHARS_MAX && value.chars().count() <= METADATA_VALUE_CHARS_MAX
    };
    metadata.into_iter().filter(|(key, value)| within(key, value)).take(METADATA_PAIRS_MAX).collect()
}

/// Whether two bodies of one event say the same: Stripe counts `pending_webhooks` down between deliveries.
pub(crate) fn same_content(one: &[u8], other: &[u8]) -> bool {
    let content = |body: &[u8]| {
        let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
        fields.remove("pending_webhooks");
        Some(fields)
    };
    one == other || content(one).is_some_and(|one| Some(one) == content(other))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn subscription(metadata: Value) -> Value {
        json!({
            "id": "evt_1", "object": "event", "type": "customer.subscription.updated", "created": 1_790_000_000,
            "livemode": false, "api_version": "2025-03-31.basil",
            "data": {"object": {"id": "sub_1", "object": "subscription", "status": "active", "metadata": metadata}},
        })
    }

    fn ours() -> Value {
        subscription(json!({"synapse_tenant": "acme", "synapse_subscription": "s-1", "team": "blue"}))
    }

    fn verdict(event: &Value) -> Verdict {
        let body = event.to_string();
        judge(&Event::parse(body.as_bytes()).unwrap(), false)
    }

    #[test]
    fn our_subscriptions_are_published_with_their_metadata() {
        let Verdict::Publish(hint) = verdict(&ours()) else { panic!("not published") };
        assert_eq!((hint.tenant.as_str(), hint.subscription_id.as_str()), ("acme", "s-1"));
        let WebhookEvent::StripeSubscriptionChanged(fact) = hint.fact else { panic!("another fact") };
        assert_eq!(fact.hinted_status.as_deref(), Some("active"));
        assert_eq!(fact.metadata["team"], "blue");
        assert_eq!((fact.created_s, fact.stripe_event_id.as_str()), (1_790_000_000, "evt_1"));
    }

    #[test]
    fn those_of_others_are_not() {
        for metadata in [
            Value::Null,
            json!({}),
            json!({"synapse_tenant": "acme"}),
            json!({"synapse_tenant": "a/b", "synapse_subscription": "s-1"}),
            json!({"synapse_tenant": "", "synapse_subscription": "s-1"}),
        ] {
            assert_eq!(verdict(&subscription(metadata.clone())), Verdict::Unassigned, "{metadata}");
        }
    }

    #[test]
    fn another_livemode_and_another_account_never_act() {
        let mut event = ours();
        event["livemode"] = json!(true);
        assert!(matches!(verdict(&event), Verdict::Quarantine(Reason::WrongLivemode, _)));
        let mut event = ours();
        event["account"] = json!("acct_1");
        assert!(matches!(verdict(&event), Verdict::Quarantine(Reason::OtherAccount, _)));
        let mut event = ours();
        event["data"]["object"]["metadata"]["synapse_tenant"] = json!({"$ne": 1});
        assert!(matches!(verdict(&event), Verdict::Quarantine(Reason::UnreadableObject, _)));
    }

    #[test]
    fn metadata_beyond_stripes_own_limits_is_left_out() {
        let mut metadata: BTreeMap<String, String> = (0..200).map(|n| (format!("a{n:03}"), "x".into())).collect();
        metadata.insert("long".into(), "x".repeat(501));
        let kept = bounded(metadata);
        assert_eq!(kept.len(), 50);
        assert!(!kept.contains_key("long"));
    }

    #[test]
    fn bodies_differ_only_where_it_matters() {
        let body =
            |pending: u64, status: &str| json!({"id": "evt_1", "pending_webhooks": pending, "s": status}).to_string();
        assert!(same_content(body(1, "a").as_bytes(), body(0, "a").as_bytes()));
        assert!(!same_content(body(1, "a").as_bytes(), body(1, "b").as_bytes()));
        assert!(!same_content(b"{", b"["));
        assert!(same_content(b"{", b"{"));
    }
}
