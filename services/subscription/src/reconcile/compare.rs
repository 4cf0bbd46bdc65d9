//! What differs between a record of ours and an object of Stripe's. Pure.

use contracts::{SubscriptionId, TenantId};
use serde_json::{Map, Value};

use super::Kind;
use crate::metadata;
use crate::status::StripeStatus;
use crate::store::Record;
use crate::stripe::SubscriptionObject;
use crate::subscription::{Rules, Subscription};

/// Whose an object at Stripe says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) tenant: TenantId,
    pub(super) id: SubscriptionId,
}

/// A difference, and whether a look at Stripe can mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) kind: Kind,
    pub(super) ours: String,
    pub(super) stripes: String,
    /// Why people must decide; `None` where it can be repaired.
    pub(super) advice: Option<&'static str>,
}

/// Whose it is; `None` for objects of other software, of the other mode, or with names that are none.
pub(super) fn named(object: &SubscriptionObject, is_live: bool) -> Option<Named> {
    let text = |key: &str| object.metadata.get(key);
    let tenant = text(metadata::TENANT)?.parse().ok()?;
    let id = text(metadata::SUBSCRIPTION)?.parse().ok()?;
    (object.livemode == is_live).then_some(Named { tenant, id })
}

/// Whether nothing can follow any more.
pub(super) fn is_final(status: &StripeStatus) -> bool {
    use contracts::events::subscription::Status;
    matches!(status.kind(), Status::Canceled | Status::IncompleteExpired)
}

/// What differs, if something does.
pub(super) fn compare(
    record: Option<&Record>,
    object: &SubscriptionObject,
    now_ms: u64,
    rules: Rules<'_>,
) -> Option<Difference> {
    let at_stripe =
        |kind, ours: &str, advice| Some(Difference { kind, ours: ours.to_owned(), stripes: summary(object), advice });
    // What has ended there and was never here, or not under this id, is nobody's loss.
    let has_ended = is_final(&object.status);
    match record {
        None | Some(Record::Reserved(_) | Record::Refused { .. }) if has_ended => None,
        None => at_stripe(Kind::Missing, "nothing", None),
        Some(Record::Reserved(_)) => at_stripe(Kind::Missing, "reserved, its creation was cut off", None),
        Some(Record::Refused { .. }) => {
            let advice = "it was refused here and yet is at Stripe: cancel or refund it there";
            at_stripe(Kind::Extra, "refused", Some(advice))
        }
        Some(Record::Live(ours)) if ours.stripe_subscription_id != object.id => {
            let advice = "a second one under the same name: cancel or refund it at Stripe";
            (!has_ended).then_some(())?;
            at_stripe(Kind::Extra, &format!("another one, {}", ours.stripe_subscription_id), Some(advice))
        }
        Some(Record::Live(ours)) => {
            let next = ours.clone().apply_fetched(object, now_ms, rules).subscription;
            let (ours, stripes) = fields(ours, &next)?;
            Some(Difference { kind: Kind::Stale, ours, stripes, advice: None })
        }
    }
}

/// One of ours that Stripe does not know.
pub(super) fn unknown_there(ours: &Subscription) -> Difference {
    Difference {
        kind: Kind::Extra,
        ours: format!("{} {}", ours.status.as_str(), ours.plan),
        stripes: "no such subscription".to_owned(),
        advice: Some("Stripe has no such subscription: is the key of the right account? If so, erase it here"),
    }
}

fn summary(object: &SubscriptionObject) -> String {
    format!("{} {}", object.status.as_str(), object.price_id.as_deref().unwrap_or("without a price"))
}

/// The fields that differ, as `status=active` lists: ours and Stripe's. Our own counters say nothing about Stripe.
fn fields(ours: &Subscription, stripes: &Subscription) -> Option<(String, String)> {
    const COUNTERS: [&str; 3] = ["ver", "sequence", "past_due_since_ms"];
    let object = |subscription: &Subscription| match serde_json::to_value(subscription) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (ours, stripes) = (object(ours), object(stripes));
    let differ = |name: &&String| !COUNTERS.contains(&name.as_str()) && ours.get(*name) != stripes.get(*name);
    let names: Vec<&String> = stripes.keys().filter(differ).collect();
    let list = |of: &Map<String, Value>| {
        let one = |name: &&String| format!("{name}={}", of.get(*name).map_or("none".to_owned(), text));
        names.iter().map(one).collect::<Vec<_>>().join(" ")
    };
    (!names.is_empty()).then(|| (list(&ours), list(&stripes)))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
