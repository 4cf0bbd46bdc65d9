//! What is to be done about an event, and which facts follow from it. Pure.

use std::collections::BTreeMap;

use contracts::events::webhook::{
    StripeCatalogueChangedV1, StripeCheckoutChangedV1, StripeCustomerChangedV1, StripeEntitlementsChangedV1,
    StripeEventRef, StripeInvoiceChangedV1, StripeSubscriptionChangedV1, WebhookEvent,
};
use contracts::{Fact, SubscriptionId, TenantId};
use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;
use crate::event::{Event, Short};
use crate::object::{InvoiceNews, News, Subject};

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
    /// Facts were published from it.
    Published,
    /// It is about something that belongs to nobody here.
    Unassigned,
    /// It is of a type that nothing follows from.
    #[serde(alias = "kept")]
    Unmapped,
    /// It must not act; the record says why.
    Quarantined,
    /// Another event came under the same id before.
    Conflict,
}

/// Why an event must not act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// The body is no event, though Stripe signed it.
    NotAnEvent,
    /// Test money where real money is dealt with, or the other way round.
    WrongLivemode,
    /// It happened in an account that the endpoint is not for.
    OtherAccount,
    /// The object is not of the shape that its type promises.
    UnreadableObject,
    /// The object belonged to another tenant or subscription before.
    OwnerChanged,
    /// Another event came under the same id before.
    Conflict,
}

impl State {
    /// A short stable word for metrics and filters.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Unassigned => "unassigned",
            Self::Unmapped => "unmapped",
            Self::Quarantined => "quarantined",
            Self::Conflict => "conflict",
        }
    }
}

/// Whom news is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Subscription(TenantId, SubscriptionId),
    Customer(TenantId),
    /// Nobody's in particular: prices and products.
    Installation(TenantId),
}

impl Whose {
    pub(crate) fn tenant(&self) -> &TenantId {
        match self {
            Self::Subscription(tenant, _) | Self::Customer(tenant) | Self::Installation(tenant) => tenant,
        }
    }

    pub(crate) fn subscription(&self) -> Option<&SubscriptionId> {
        match self {
            Self::Subscription(_, id) => Some(id),
            Self::Customer(_) | Self::Installation(_) => None,
        }
    }
}

/// What is to be done about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Announce it to whomever it is for.
    Tell(News),
    Keep,
    Quarantine(Reason, String),
}

/// Judges an event that came in at `endpoint`.
pub(crate) fn judge(event: &Event<'_>, endpoint: &Endpoint) -> Verdict {
    if let Some((reason, detail)) = endpoint.refusal(event) {
        return Verdict::Quarantine(reason, detail);
    }
    match event.news() {
        Ok(Some(news)) => Verdict::Tell(news),
        Ok(None) => Verdict::Keep,
        Err(detail) => Verdict::Quarantine(Reason::UnreadableObject, detail),
    }
}

/// Whom the object's own metadata names. `None` where it names nobody: then earlier events may know.
pub(crate) fn named(news: &News, installation: &TenantId) -> Option<Whose> {
    // Ours are always ids: others are somebody else's metadata, or edited by hand.
    let tenant = || TenantId::try_from(news.metadata.get(TENANT)?.clone()).ok();
    match news.subject {
        Subject::Subscription { .. } | Subject::Invoice(_) | Subject::Checkout { .. } => {
            let subscription = SubscriptionId::try_from(news.metadata.get(SUBSCRIPTION)?.clone()).ok()?;
            Some(Whose::Subscription(tenant()?, subscription))
        }
        Subject::Customer { .. } => Some(Whose::Customer(tenant()?)),
        Subject::Entitlements { .. } => None,
        Subject::Catalogue { .. } => Some(Whose::Installation(installation.clone())),
    }
}

/// The facts that follow from news, all of one aggregate. None where it is not known whose it is.
pub(crate) fn facts(event: &Event<'_>, news: &News, whose: &Whose) -> Vec<WebhookEvent> {
    let metadata = || bounded(&news.metadata);
    let subscription = || Some((whose.subscription()?.clone(), news.stripe_subscription_id.clone()?));
    let customer = || news.stripe_customer_id.clone();
    let fact: Option<WebhookEvent> = match &news.subject {
        Subject::Subscription { status } => {
            subscription().map(|ids| subscription_changed(event, ids, status.as_ref(), metadata()).into())
        }
        Subject::Invoice(invoice) => {
            let Some(ids) = subscription() else { return Vec::new() };
            let hint = subscription_changed(event, ids.clone(), None, metadata());
            return vec![hint.into(), invoice_changed(event, ids, customer(), invoice).into()];
        }
        Subject::Checkout { id, status, payment_status } => whose.subscription().map(|subscription_id| {
            WebhookEvent::from(StripeCheckoutChangedV1 {
                subscription_id: subscription_id.clone(),
                stripe_checkout_session_id: id.clone(),
                stripe_subscription_id: news.stripe_subscription_id.clone(),
                stripe_customer_id: customer(),
                event: reference(event),
                hinted_status: status.as_ref().map(text),
                hinted_payment_status: payment_status.as_ref().map(text),
                metadata: metadata(),
            })
        }),
        Subject::Customer { deleted } => customer().map(|stripe_customer_id| {
            let (event, deleted, metadata) = (reference(event), *deleted, metadata());
            StripeCustomerChangedV1 { stripe_customer_id, event, deleted, metadata }.into()
        }),
        Subject::Entitlements { features } => customer().map(|stripe_customer_id| {
            let (event, hinted_features) = (reference(event), features.clone());
            StripeEntitlementsChangedV1 { stripe_customer_id, event, hinted_features }.into()
        }),
        Subject::Catalogue { object, id, product, deleted } => Some(WebhookEvent::from(StripeCatalogueChangedV1 {
            object: *object,
            stripe_object_id: id.clone(),
            stripe_product_id: product.clone(),
            event: reference(event),
            deleted: *deleted,
        })),
    };
    fact.into_iter().collect()
}

/// What facts are numbered by, within their tenant.
pub(crate) fn aggregate(facts: &[WebhookEvent]) -> Option<String> {
    facts.first().map(Fact::aggregate)
}

fn text(short: &Short) -> String {
    short.as_str().to_owned()
}

fn reference(event: &Event<'_>) -> StripeEventRef {
    StripeEventRef {
        stripe_event_id: text(&event.id),
        stripe_event_type: text(&event.kind),
        api_version: event.api_version.as_ref().map(text),
        livemode: event.livemode,
        created_s: event.created.seconds(),
        stripe_account: event.account().map(text),
    }
}

fn subscription_changed(
    event: &Event<'_>,
    (subscription_id, stripe_subscription_id): (SubscriptionId, String),
    status: Option<&Short>,
    metadata: BTreeMap<String, String>,
) -> StripeSubscriptionChangedV1 {
    let reference = reference(event);
    StripeSubscriptionChangedV1 {
        subscription_id,
        stripe_subscription_id,
        stripe_event_id: reference.stripe_event_id,
        stripe_event_type: reference.stripe_event_type,
        api_version: reference.api_version,
        livemode: reference.livemode,
        created_s: reference.created_s,
        hinted_status: status.map(text),
        metadata,
        stripe_account: reference.stripe_account,
    }
}

fn invoice_changed(
    event: &Event<'_>,
    (subscription_id, stripe_subscription_id): (SubscriptionId, String),
    stripe_customer_id: Option<String>,
    invoice: &InvoiceNews,
) -> StripeInvoiceChangedV1 {
    StripeInvoiceChangedV1 {
        subscription_id,
        stripe_subscription_id,
        stripe_invoice_id: invoice.id.clone(),
        stripe_customer_id,
        event: reference(event),
        hinted_status: invoice.status.as_ref().map(text),
        billing_reason: invoice.billing_reason.as_ref().map(text),
        attempt_count: invoice.attempt_count,
        next_payment_attempt_s: invoice.next_payment_attempt_s,
    }
}

fn bounded(metadata: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let within = |key: &str, value: &str| {
        key.chars().count() <= METADATA_KEY_CHARS_MAX && value.chars().count() <= METADATA_VALUE_CHARS_MAX
    };
    let kept = metadata.iter().filter(|(key, value)| within(key, value)).take(METADATA_PAIRS_MAX);
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
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
#[path = "judge_tests.rs"]
mod tests;
