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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;
    use service::config::Mode;

    use super::*;
    use crate::catalogue::Catalogue;

    const NOW: u64 = 1_790_000_000_000;

    fn object(change: Value) -> SubscriptionObject {
        let mut value = json!({"id": "sub_1", "customer": "cus_1", "status": "active", "livemode": false,
            "metadata": {"synapse_tenant": "acme", "synapse_subscription": "s-1", "synapse_user": "ada"},
            "items": {"data": [{"price": {"id": "price_team_monthly"}, "current_period_end": 1_800_000_000}]}});
        for (name, field) in change.as_object().unwrap() {
            value[name] = field.clone();
        }
        SubscriptionObject::read(&value).unwrap()
    }

    fn live(change: Value) -> Record {
        let mut value = json!({"subscription_id": "s-1", "user_id": "ada", "plan": "team",
            "price_id": "price_team_monthly", "metadata": {}, "stripe_subscription_id": "sub_1",
            "stripe_customer_id": "cus_1", "status": "active", "cancel_at_period_end": false,
            "current_period_end_ms": 1_800_000_000_000_u64, "past_due_since_ms": null, "ver": 1, "sequence": 1});
        for (name, field) in change.as_object().unwrap() {
            value[name] = field.clone();
        }
        Record::Live(serde_json::from_value(value).unwrap())
    }

    fn look(record: Option<&Record>, object: &SubscriptionObject) -> Option<Difference> {
        let catalogue = Catalogue::new(&crate::config::tests::config().plans, Mode::Development);
        let tenant = "acme".parse().unwrap();
        let rules = Rules { catalogue: &catalogue, tenant: &tenant, proof_ttl_ms: 300_000 };
        compare(record, object, NOW, rules)
    }

    #[test]
    fn what_is_the_same_is_no_difference() {
        assert_eq!(look(Some(&live(json!({}))), &object(json!({}))), None);
        let ended = object(json!({"status": "canceled"}));
        assert_eq!(look(None, &ended), None, "what has ended and was never here is nobody's loss");
        assert_eq!(look(Some(&live(json!({"stripe_subscription_id": "sub_2"}))), &ended), None);
        let by_hand = object(json!({"items": {"data": [{"price": {"id": "price_unknown"},
            "current_period_end": 1_800_000_000}]}}));
        assert_eq!(look(Some(&live(json!({}))), &by_hand), None, "a price of no plan leaves the plan");
    }

    #[test]
    fn every_field_that_stripe_says_otherwise_is_named() {
        let ours = live(json!({"cancel_at_period_end": true, "stripe_customer_id": "cus_9"}));
        let found = look(Some(&ours), &object(json!({"status": "past_due"}))).unwrap();
        assert_eq!((found.kind, found.advice), (Kind::Stale, None));
        assert_eq!(found.ours, "cancel_at_period_end=true status=active stripe_customer_id=cus_9");
        assert_eq!(found.stripes, "cancel_at_period_end=false status=past_due stripe_customer_id=cus_1");
        let canceled = look(Some(&live(json!({}))), &object(json!({"status": "canceled"}))).unwrap();
        assert_eq!((canceled.kind, canceled.ours.as_str()), (Kind::Stale, "status=active"));
    }

    #[test]
    fn what_is_missing_or_too_much_is_told_apart() {
        let kind = |record: Option<&Record>| {
            look(record, &object(json!({}))).map(|found| (found.kind, found.advice.is_some()))
        };
        assert_eq!(kind(None), Some((Kind::Missing, false)));
        assert_eq!(kind(Some(&live(json!({"stripe_subscription_id": "sub_2"})))), Some((Kind::Extra, true)));
    }

    #[test]
    fn only_what_names_us_and_is_of_our_mode_is_ours() {
        let of = |change| named(&object(change), false);
        assert_eq!(of(json!({})).map(|named| named.id.to_string()), Some("s-1".to_owned()));
        for strangers in [
            json!({"metadata": {}}),
            json!({"metadata": {"synapse_tenant": "acme"}}),
            json!({"metadata": {"synapse_tenant": "a b", "synapse_subscription": "s-1"}}),
            json!({"livemode": true}),
        ] {
            assert_eq!(of(strangers.clone()), None, "{strangers}");
        }
    }
}
