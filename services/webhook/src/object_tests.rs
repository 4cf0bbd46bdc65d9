use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::Created;

fn event(kind: &str, object: Value) -> Vec<u8> {
    json!({
        "id": "evt_1", "object": "event", "api_version": "2025-03-31.basil", "created": 1_790_000_000,
        "data": {"object": object}, "livemode": false, "pending_webhooks": 1,
        "request": {"id": "req_1", "idempotency_key": "k"}, "type": kind,
    })
    .to_string()
    .into_bytes()
}

fn news(kind: &str, object: Value) -> Result<Option<News>, String> {
    Event::parse(&event(kind, object)).unwrap().news()
}

#[test]
fn a_subscription_event_tells_its_subscription() {
    let object = json!({
        "id": "sub_1", "object": "subscription", "status": "past_due", "customer": "cus_1",
        "metadata": {"synapse_tenant": "acme"}, "items": {"data": [{"current_period_end": 1}]},
    });
    let found = news("customer.subscription.updated", object).unwrap().unwrap();
    assert_eq!(found.stripe_subscription_id.as_deref(), Some("sub_1"));
    let Subject::Subscription { status } = &found.subject else { panic!("{found:?}") };
    assert_eq!(status.as_ref().map(Short::as_str), Some("past_due"));
    assert_eq!(found.metadata["synapse_tenant"], "acme");
}

#[test]
fn an_invoice_tells_its_subscription_in_every_versions_shape() {
    let metadata = json!({"synapse_tenant": "acme"});
    let details = json!({"subscription": "sub_1", "metadata": metadata});
    for object in [
        json!({"id": "in_1", "object": "invoice", "parent": {"type": "subscription_details", "subscription_details": details}}),
        json!({"id": "in_1", "object": "invoice", "subscription": "sub_1", "subscription_details": {"metadata": metadata}}),
        json!({"object": "invoice", "parent": null, "subscription": {"id": "sub_1"}, "subscription_details": {"metadata": metadata}}),
    ] {
        let found = news("invoice.payment_failed", object).unwrap().unwrap();
        assert_eq!(found.stripe_subscription_id.as_deref(), Some("sub_1"));
        assert!(matches!(found.subject, Subject::Invoice(_)));
        assert_eq!(found.metadata["synapse_tenant"], "acme");
    }
    let single = json!({"id": "in_1", "object": "invoice", "subscription": null, "parent": null});
    assert_eq!(news("invoice.paid", single), Ok(None));
}

#[test]
fn other_types_are_about_no_subscription_whatever_they_hold() {
    for (kind, object) in [
        ("charge.failed", json!({"id": "ch_1", "object": "charge", "status": 7})),
        ("customer.source.created", json!({"id": 5, "object": ["subscription"], "customer": {"id": "cus_1"}})),
        ("invoiceitem.created", json!({"id": "ii_1", "object": "invoiceitem", "subscription": "sub_1"})),
        ("balance.available", Value::Null),
        ("x", json!("text")),
    ] {
        assert_eq!(news(kind, object), Ok(None), "{kind}");
    }
}

#[test]
fn a_subscription_of_the_wrong_shape_is_an_error_and_no_guess() {
    for object in [
        json!({"object": "subscription", "status": "active"}),
        json!({"id": "sub_1", "object": "subscription", "metadata": {"synapse_tenant": 5}}),
        json!({"id": "sub_1", "object": "subscription", "status": ["active"]}),
        json!({"id": "x".repeat(256), "object": "subscription"}),
        json!({"id": "sub_../../customers", "object": "subscription"}),
        json!({"id": {"$ne": null}, "object": "subscription"}),
    ] {
        assert!(news("customer.subscription.updated", object).is_err());
    }
}

#[test]
fn the_object_and_its_customer_are_noted_for_every_type() {
    let about = |object| Event::parse(&event("x", object)).unwrap().about();
    let text = |text: &str| Some(text.to_owned());
    let found = about(json!({"id": "ch_1", "object": "charge", "customer": {"id": "cus_1", "object": "customer"}}));
    let charge = About { object_id: text("ch_1"), object: text("charge"), customer: text("cus_1"), subscription: None };
    assert_eq!(found, charge);
    let found = about(json!({"id": "sub_1", "object": "subscription", "customer": "cus_1"}));
    assert_eq!((found.customer, found.subscription), (text("cus_1"), text("sub_1")));
    assert_eq!(about(json!({"id": "cus_1", "object": "customer"})).customer, text("cus_1"));
    assert_eq!(about(json!({"id": 1, "customer": [1]})), About::default());
}

#[test]
fn thin_events_are_events() {
    let body = json!({
        "id": "evt_test_65R", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered",
        "livemode": true, "created": "2026-09-17T06:20:52.246Z",
        "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
    })
    .to_string();
    let event = Event::parse(body.as_bytes()).unwrap();
    assert_eq!(event.about().object_id.as_deref(), Some("mtr_1"));
    assert_eq!(event.news(), Ok(None));
    assert!(matches!(event.created, Created::Text(_)) && event.account().is_none());
    assert_eq!(event.created.seconds(), 1_789_626_052);
    let about_ours = body.replace("mtr_1", "sub_1");
    let news = Event::parse(about_ours.as_bytes()).unwrap().news().unwrap().unwrap();
    assert_eq!((news.stripe_subscription_id.as_deref(), news.metadata.len()), (Some("sub_1"), 0));
}

#[test]
fn deep_nesting_is_skipped_and_not_descended_into() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for field in ["customer", "x", "metadata"] {
        let body = format!(
            r#"{{"id":"evt_1","object":"event","type":"customer.subscription.updated","created":1,"livemode":false,
               "data":{{"object":{{"id":"sub_1","object":"subscription","{field}":{deep}}}}}}}"#
        );
        // No stack overflow; whether it can be read is another matter.
        if let Ok(event) = Event::parse(body.as_bytes()) {
            let _ = (event.about(), event.news());
        }
    }
}

#[test]
fn a_name_that_comes_twice_in_metadata_is_no_owner() {
    let body = r#"{"id":"evt_1","object":"event","type":"customer.subscription.updated","created":1,"livemode":false,
        "data":{"object":{"id":"sub_1","object":"subscription",
                          "metadata":{"synapse_tenant":"acme","synapse_tenant":"evil"}}}}"#;
    let error = Event::parse(body.as_bytes()).unwrap().news().unwrap_err();
    assert!(error.contains("a name comes twice"), "{error}");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(body in "[\\[\\]{}:,\"a-z0-9 .]{0,200}") {
        let _ = Event::parse(body.as_bytes());
    }

    #[test]
    fn no_object_makes_it_panic(kind in "(customer.subscription.|invoice.)[a-z]{1,5}", object in object()) {
        if let Ok(event) = Event::parse(&event(&kind, object)) {
            let _ = (event.about(), event.news());
        }
    }
}

fn object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "(subscription|invoice|sub_1|)".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let keys = "(id|object|status|customer|metadata|subscription|parent|subscription_details|data)";
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map(keys, inner, 0..8).prop_map(|fields| json!(fields)),
        ]
    })
}
