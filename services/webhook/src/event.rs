//! What we read of Stripe's events, tolerantly: unknown fields are skipped unparsed, known ones may be missing where
//! some API version leaves them out. What can't be read at all is no reason to refuse it: it is kept, set aside.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Longest id, type, version or status, bytes. Stripe's ids are at most 255 characters (API upgrades page).
const MAX_TEXT_BYTES: usize = 255;

/// A text of Stripe's that is not longer than any of its ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct Short(String);

impl Short {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Short {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() || text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) {
            return Err(D::Error::custom("a text is empty, longer than 255 bytes or has control characters"));
        }
        Ok(Self(text))
    }
}

/// When Stripe made an event: Unix seconds in ordinary events, RFC 3339 in thin ones. It orders nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Created {
    Seconds(u64),
    Text(Short),
}

/// The envelope of an event.
#[derive(Debug, Deserialize)]
pub(crate) struct Event<'a> {
    pub(crate) id: Short,
    pub(crate) object: Short,
    #[serde(rename = "type")]
    pub(crate) kind: Short,
    pub(crate) created: Created,
    pub(crate) livemode: bool,
    #[serde(default)]
    pub(crate) api_version: Option<Short>,
    /// The connected account it happened in.
    #[serde(default)]
    account: Option<Short>,
    /// The same in thin events.
    #[serde(default)]
    context: Option<Short>,
    /// What a thin event is about.
    #[serde(default)]
    related_object: Option<Related>,
    #[serde(borrow, default)]
    data: Option<Data<'a>>,
}

#[derive(Debug, Deserialize)]
struct Related {
    id: Short,
}

#[derive(Debug, Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
}

/// What of an object is kept with every event, whatever its type.
#[derive(Debug, Default, Deserialize)]
struct AnyObject {
    #[serde(default)]
    id: Reference,
    #[serde(default)]
    object: Reference,
    #[serde(default)]
    customer: Reference,
}

/// The object an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) object_id: Option<String>,
    pub(crate) object: Option<String>,
    pub(crate) customer: Option<String>,
}

/// A change of a subscription as an event tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionNews {
    pub(crate) stripe_subscription_id: String,
    pub(crate) status: Option<Short>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl<'a> Event<'a> {
    /// Reads an event; the error says what is wrong with the text.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, String> {
        let event: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        match event.object.as_str() {
            "event" | "v2.core.event" => Ok(event),
            other => Err(format!("object: it is {other:?} and not an event")),
        }
    }

    /// The account it happened in, if it is not the platform's own.
    pub(crate) fn account(&self) -> Option<&Short> {
        self.account.as_ref().or(self.context.as_ref())
    }

    /// The object it is about, as far as it can be read.
    pub(crate) fn about(&self) -> About {
        let any: AnyObject = self.object().and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
        let related = self.related_object.as_ref().map(|related| related.id.0.clone());
        About { object_id: any.id.0.or(related), object: any.object.0, customer: any.customer.0 }
    }

    /// What it says about a subscription: `Ok(None)` when it is about none.
    pub(crate) fn subscription(&self) -> Result<Option<SubscriptionNews>, String> {
        let Some(raw) = self.object() else { return Ok(None) };
        let broken = |error: serde_json::Error| format!("data.object: {error}");
        if self.kind.as_str().starts_with("customer.subscription.") {
            serde_json::from_str(raw).map(Subscription::news).map_err(broken)
        } else if self.kind.as_str().starts_with("invoice.") {
            serde_json::from_str(raw).map(Invoice::news).map_err(broken)
        } else {
            Ok(None)
        }
    }

    fn object(&self) -> Option<&'a str> {
        self.data.as_ref().and_then(|data| data.object).map(RawValue::get)
    }
}

type Metadata = Option<BTreeMap<String, String>>;

#[derive(Debug, Deserialize)]
struct Subscription {
    id: Short,
    #[serde(default)]
    status: Option<Short>,
    #[serde(default)]
    metadata: Metadata,
}

impl Subscription {
    fn news(self) -> Option<SubscriptionNews> {
        let Self { id, status, metadata } = self;
        Some(SubscriptionNews { stripe_subscription_id: id.0, status, metadata: metadata.unwrap_or_default() })
    }
}

/// An invoice: the subscription stands in `parent` since 2025-03-31.basil, and on top before.
#[derive(Debug, Deserialize)]
struct Invoice {
    #[serde(default)]
    parent: Option<Parent>,
    #[serde(default)]
    subscription: Reference,
    #[serde(default)]
    subscription_details: Option<Details>,
}

#[derive(Debug, Deserialize)]
struct Parent {
    #[serde(default)]
    subscription_details: Option<Details>,
}

#[derive(Debug, Deserialize)]
struct Details {
    #[serde(default)]
    subscription: Reference,
    #[serde(default)]
    metadata: Metadata,
}

impl Invoice {
    /// The invoice's own status says nothing about the subscription's.
    fn news(self) -> Option<SubscriptionNews> {
        let details = self.parent.and_then(|parent| parent.subscription_details).or(self.subscription_details);
        let (inner, metadata) = details.map(|details| (details.subscription.0, details.metadata)).unwrap_or_default();
        let stripe_subscription_id = inner.or(self.subscription.0)?;
        Some(SubscriptionNews { stripe_subscription_id, status: None, metadata: metadata.unwrap_or_default() })
    }
}

/// A reference to an object: its id, or the object itself where Stripe was asked to expand it. Anything else is none.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reference(Option<String>);

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReferenceVisitor)
    }
}

struct ReferenceVisitor;

impl<'de> Visitor<'de> for ReferenceVisitor {
    type Value = Reference;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id or an object")
    }

    fn visit_str<E>(self, text: &str) -> Result<Reference, E> {
        let good = !text.is_empty() && text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control);
        Ok(Reference(good.then(|| text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reference, A::Error> {
        let mut found = Reference(None);
        while let Some(key) = map.next_key::<String>()? {
            if key == "id" {
                found = map.next_value::<Option<Short>>().map(|id| Reference(id.map(|id| id.0)))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Reference, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Reference(None))
    }

    fn visit_unit<E>(self) -> Result<Reference, E> {
        Ok(Reference(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Reference, E> {
        Ok(Reference(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Reference, E> {
        Ok(Reference(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Reference, E> {
        Ok(Reference(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Reference, E> {
        Ok(Reference(None))
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
