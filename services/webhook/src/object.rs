//! What we read of the object that an event is about, in the shapes of old and new API versions.

use std::collections::BTreeMap;
use std::fmt;

use contracts::events::webhook::CatalogueObject;
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::event::{Event, MAX_TEXT_BYTES, Short, is_short};

/// Most features that a fact names; an entitlement summary's first page has no more.
const FEATURES_MAX: usize = 100;

/// What an event says about something that we deal with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) subject: Subject,
    pub(crate) stripe_subscription_id: Option<String>,
    pub(crate) stripe_customer_id: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// What it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Subscription { status: Option<Short> },
    Invoice(InvoiceNews),
    Checkout { id: String, status: Option<Short>, payment_status: Option<Short> },
    Customer { deleted: bool },
    Entitlements { features: Vec<String> },
    Catalogue { object: CatalogueObject, id: String, product: Option<String>, deleted: bool },
}

/// What an invoice's event says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InvoiceNews {
    pub(crate) id: Option<String>,
    pub(crate) status: Option<Short>,
    pub(crate) billing_reason: Option<Short>,
    pub(crate) attempt_count: Option<u64>,
    pub(crate) next_payment_attempt_s: Option<u64>,
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
    #[serde(default)]
    subscription: Reference,
}

/// The object an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) object_id: Option<String>,
    pub(crate) object: Option<String>,
    pub(crate) customer: Option<String>,
    pub(crate) subscription: Option<String>,
}

impl Event<'_> {
    /// The object it is about, as far as it can be read.
    pub(crate) fn about(&self) -> About {
        let any: AnyObject = self.object().and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
        let id = any.id.0.or_else(|| self.related().map(str::to_owned));
        let itself = |kind: &str, prefix: &str| {
            let is = any.object.0.as_deref() == Some(kind) || (any.object.0.is_none() && self.object().is_none());
            id.clone().filter(|id| is && id.starts_with(prefix))
        };
        About {
            customer: any.customer.0.or_else(|| itself("customer", "cus_")),
            subscription: any.subscription.0.or_else(|| itself("subscription", "sub_")),
            object_id: id.clone(),
            object: any.object.0,
        }
    }

    /// What it says about something that we deal with: `Ok(None)` when it is about nothing such.
    ///
    /// # Errors
    /// The object is not of the shape that its type promises.
    pub(crate) fn news(&self) -> Result<Option<News>, String> {
        let kind = self.kind.as_str();
        let Some(raw) = self.object() else { return Ok(self.thin_news()) };
        let read = |news: serde_json::Result<Option<News>>| news.map_err(|error| format!("data.object: {error}"));
        if kind.starts_with("customer.subscription.") {
            read(serde_json::from_str(raw).map(Subscription::news))
        } else if kind.starts_with("invoice.") {
            read(serde_json::from_str(raw).map(Invoice::news))
        } else if kind.starts_with("checkout.session.") {
            read(serde_json::from_str(raw).map(Checkout::news))
        } else if matches!(kind, "customer.created" | "customer.updated" | "customer.deleted") {
            read(serde_json::from_str(raw).map(|customer: Customer| customer.news(kind == "customer.deleted")))
        } else if kind == "entitlements.active_entitlement_summary.updated" {
            read(serde_json::from_str(raw).map(Summary::news))
        } else if let Some((object, change)) = catalogue_change(kind) {
            read(serde_json::from_str(raw).map(|entry: CatalogueEntry| entry.news(object, change == "deleted")))
        } else {
            Ok(None)
        }
    }

    /// A thin event has no data; where it is about a subscription it is still worth a look.
    fn thin_news(&self) -> Option<News> {
        let id = self.related().filter(|id| id.starts_with("sub_") && is_id(id))?;
        Some(News {
            subject: Subject::Subscription { status: None },
            stripe_subscription_id: Some(id.to_owned()),
            stripe_customer_id: None,
            metadata: BTreeMap::new(),
        })
    }
}

fn catalogue_change(kind: &str) -> Option<(CatalogueObject, &str)> {
    let (object, change) = kind.split_once('.')?;
    match object {
        "price" => Some((CatalogueObject::Price, change)),
        "product" => Some((CatalogueObject::Product, change)),
        _ => None,
    }
}

/// Whether a text has the form of Stripe's ids. It becomes part of keys and of Stripe's paths.
fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=MAX_TEXT_BYTES).contains(&text.len()) && text.bytes().all(plain)
}

/// The id of the object itself, without which there is nothing to look at.
#[derive(Debug)]
struct Id(String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if is_id(&text) { Ok(Self(text)) } else { Err(D::Error::custom("id: it is none of Stripe's ids")) }
    }
}

#[derive(Debug, Deserialize)]
struct Subscription {
    id: Id,
    #[serde(default)]
    status: Option<Short>,
    #[serde(default)]
    customer: Reference,
    #[serde(default)]
    metadata: Metadata,
}

impl Subscription {
    fn news(self) -> Option<News> {
        Some(News {
            subject: Subject::Subscription { status: self.status },
            stripe_subscription_id: Some(self.id.0),
            stripe_customer_id: self.customer.id(),
            metadata: self.metadata.0,
        })
    }
}

/// An invoice: the subscription stands in `parent` since 2025-03-31.basil, and on top before.
#[derive(Debug, Deserialize)]
struct Invoice {
    #[serde(default)]
    id: Reference,
    #[serde(default)]
    customer: Reference,
    #[serde(default)]
    status: Option<Short>,
    #[serde(default)]
    billing_reason: Option<Short>,
    #[serde(default)]
    attempt_count: Option<u64>,
    #[serde(default)]
    next_payment_attempt: Option<u64>,
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
    /// `None` for an invoice of no subscription.
    fn news(self) -> Option<News> {
        let details = self.parent.and_then(|parent| parent.subscription_details).or(self.subscription_details);
        let (inner, metadata) =
            details.map(|details| (details.subscription.id(), details.metadata.0)).unwrap_or_default();
        let subject = Subject::Invoice(InvoiceNews {
            id: self.id.id(),
            status: self.status,
            billing_reason: self.billing_reason,
            attempt_count: self.attempt_count,
            next_payment_attempt_s: self.next_payment_attempt,
        });
        let stripe_subscription_id = Some(inner.or(self.subscription.id())?);
        Some(News { subject, stripe_subscription_id, stripe_customer_id: self.customer.id(), metadata })
    }
}

#[derive(Debug, Deserialize)]
struct Checkout {
    id: Id,
    #[serde(default)]
    status: Option<Short>,
    #[serde(default)]
    payment_status: Option<Short>,
    #[serde(default)]
    customer: Reference,
    #[serde(default)]
    subscription: Reference,
    #[serde(default)]
    metadata: Metadata,
}

impl Checkout {
    fn news(self) -> Option<News> {
        Some(News {
            subject: Subject::Checkout { id: self.id.0, status: self.status, payment_status: self.payment_status },
            stripe_subscription_id: self.subscription.id(),
            stripe_customer_id: self.customer.id(),
            metadata: self.metadata.0,
        })
    }
}

#[derive(Debug, Deserialize)]
struct Customer {
    id: Id,
    #[serde(default)]
    metadata: Metadata,
}

impl Customer {
    fn news(self, deleted: bool) -> Option<News> {
        Some(News {
            subject: Subject::Customer { deleted },
            stripe_subscription_id: None,
            stripe_customer_id: Some(self.id.0),
            metadata: self.metadata.0,
        })
    }
}

/// An active entitlement summary: which features a customer has now.
#[derive(Debug, Deserialize)]
struct Summary {
    customer: Id,
    #[serde(default)]
    entitlements: Option<Entitlements>,
}

#[derive(Debug, Deserialize)]
struct Entitlements {
    #[serde(default)]
    data: Vec<Entitlement>,
}

#[derive(Debug, Deserialize)]
struct Entitlement {
    #[serde(default)]
    lookup_key: Option<Short>,
}

impl Summary {
    fn news(self) -> Option<News> {
        let keys = self.entitlements.into_iter().flat_map(|list| list.data).filter_map(|one| one.lookup_key);
        let features = keys.map(|key| key.as_str().to_owned()).take(FEATURES_MAX).collect();
        Some(News {
            subject: Subject::Entitlements { features },
            stripe_subscription_id: None,
            stripe_customer_id: Some(self.customer.0),
            metadata: BTreeMap::new(),
        })
    }
}

#[derive(Debug, Deserialize)]
struct CatalogueEntry {
    id: Id,
    #[serde(default)]
    product: Reference,
}

impl CatalogueEntry {
    fn news(self, object: CatalogueObject, deleted: bool) -> Option<News> {
        Some(News {
            subject: Subject::Catalogue { object, id: self.id.0, product: self.product.id(), deleted },
            stripe_subscription_id: None,
            stripe_customer_id: None,
            metadata: BTreeMap::new(),
        })
    }
}

/// Texts by name. A name that comes twice is not read as either: whose subscription it is may depend on it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(MetadataVisitor)
    }
}

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("texts by name")
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Metadata, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_none<E>(self) -> Result<Metadata, E> {
        Ok(Metadata::default())
    }

    fn visit_unit<E>(self) -> Result<Metadata, E> {
        Ok(Metadata::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
        let mut found = BTreeMap::new();
        while let Some((name, text)) = map.next_entry::<String, String>()? {
            if found.insert(name, text).is_some() {
                return Err(A::Error::custom("metadata: a name comes twice"));
            }
        }
        Ok(Metadata(found))
    }
}

/// A reference to an object: its id, or the object itself where Stripe was asked to expand it. Anything else is none.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reference(Option<String>);

impl Reference {
    /// It, if it has the form of an id.
    fn id(self) -> Option<String> {
        self.0.filter(|id| is_id(id))
    }
}

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
        Ok(Reference(is_short(text).then(|| text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reference, A::Error> {
        let mut found = Reference(None);
        while let Some(key) = map.next_key::<String>()? {
            if key == "id" {
                found = map.next_value()?;
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
#[path = "object_tests.rs"]
mod tests;
