use contracts::events::webhook::CatalogueObject;
use serde_json::{Value, json};
use service::config::{Mode, Secret};

use super::*;
use crate::Config;

fn endpoint(change: impl FnOnce(&mut Config)) -> Endpoint {
    let sources = service::config::Sources {
        service: crate::NAME,
        defaults: &[crate::DEFAULTS],
        file: None,
        env: std::iter::empty(),
    };
    let mut config: Config = service::config::load(sources).unwrap();
    config.secrets = Secret::new("whsec_test");
    change(&mut config);
    Endpoint::all(&config, Mode::Development).unwrap().remove(0)
}

fn event(kind: &str, object: &Value) -> Value {
    json!({
        "id": "evt_1", "object": "event", "type": kind, "created": 1_790_000_000,
        "livemode": false, "api_version": "2025-03-31.basil", "data": {"object": object},
    })
}

fn subscription(metadata: &Value) -> Value {
    event(
        "customer.subscription.updated",
        &json!({
            "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "active", "metadata": metadata,
        }),
    )
}

fn ours() -> Value {
    json!({"synapse_tenant": "acme", "synapse_subscription": "s-1", "team": "blue"})
}

fn verdict_at(endpoint: &Endpoint, event: &Value) -> Verdict {
    let body = event.to_string();
    judge(&Event::parse(body.as_bytes()).unwrap(), endpoint)
}

fn verdict(event: &Value) -> Verdict {
    verdict_at(&endpoint(|_| ()), event)
}

/// Whom the event names, and the facts for them.
fn told(event: &Value) -> Option<(Whose, Vec<WebhookEvent>)> {
    let body = event.to_string();
    let event = Event::parse(body.as_bytes()).unwrap();
    let news = event.news().unwrap().expect("news");
    let whose = named(&news, &"platform".parse().unwrap())?;
    let facts = facts(&event, &news, &whose);
    Some((whose, facts))
}

#[test]
fn our_subscriptions_are_published_with_their_metadata() {
    let (whose, facts) = told(&subscription(&ours())).unwrap();
    assert_eq!(whose, Whose::Subscription("acme".parse().unwrap(), "s-1".parse().unwrap()));
    let [WebhookEvent::StripeSubscriptionChanged(fact)] = &facts[..] else { panic!("{facts:?}") };
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
        assert_eq!(told(&subscription(&metadata)), None, "{metadata}");
    }
}

#[test]
fn an_invoice_gives_its_own_fact_beside_the_subscriptions() {
    let details = json!({"subscription": "sub_1", "metadata": ours()});
    let (_, facts) = told(&event(
        "invoice.payment_action_required",
        &json!({
            "id": "in_1", "object": "invoice", "status": "open", "customer": "cus_1", "attempt_count": 1,
            "billing_reason": "subscription_cycle", "next_payment_attempt": 1_790_000_100,
            "parent": {"subscription_details": details},
        }),
    ))
    .unwrap();
    let [WebhookEvent::StripeSubscriptionChanged(hint), WebhookEvent::StripeInvoiceChanged(invoice)] = &facts[..]
    else {
        panic!("{facts:?}")
    };
    assert_eq!((hint.hinted_status.as_deref(), hint.stripe_subscription_id.as_str()), (None, "sub_1"));
    assert_eq!((invoice.stripe_invoice_id.as_deref(), invoice.hinted_status.as_deref()), (Some("in_1"), Some("open")));
    assert_eq!((invoice.attempt_count, invoice.next_payment_attempt_s), (Some(1), Some(1_790_000_100)));
    assert_eq!(invoice.event.stripe_event_type, "invoice.payment_action_required");
    assert_eq!(facts[0].aggregate(), facts[1].aggregate());
}

#[test]
fn checkouts_customers_and_the_catalogue_have_facts_of_their_own() {
    let session = json!({"id": "cs_1", "object": "checkout.session", "status": "complete", "payment_status": "paid",
                         "subscription": "sub_1", "customer": "cus_1", "metadata": ours()});
    let (_, facts) = told(&event("checkout.session.completed", &session)).unwrap();
    let [WebhookEvent::StripeCheckoutChanged(fact)] = &facts[..] else { panic!("{facts:?}") };
    assert_eq!((fact.stripe_checkout_session_id.as_str(), fact.stripe_customer_id.as_deref()), ("cs_1", Some("cus_1")));
    let customer = json!({"id": "cus_1", "object": "customer", "metadata": {"synapse_tenant": "acme"}});
    let (whose, facts) = told(&event("customer.deleted", &customer)).unwrap();
    let [WebhookEvent::StripeCustomerChanged(fact)] = &facts[..] else { panic!("{facts:?}") };
    assert!(fact.deleted && whose == Whose::Customer("acme".parse().unwrap()));
    let price = json!({"id": "price_1", "object": "price", "product": "prod_1"});
    let (whose, facts) = told(&event("price.updated", &price)).unwrap();
    let [WebhookEvent::StripeCatalogueChanged(fact)] = &facts[..] else { panic!("{facts:?}") };
    assert_eq!((fact.object, fact.stripe_product_id.as_deref()), (CatalogueObject::Price, Some("prod_1")));
    assert_eq!(whose.tenant().as_str(), "platform");
}

#[test]
fn another_livemode_and_another_account_never_act() {
    let mut event = subscription(&ours());
    event["livemode"] = json!(true);
    assert!(matches!(verdict(&event), Verdict::Quarantine(Reason::WrongLivemode, _)));
    assert!(matches!(
        verdict_at(&endpoint(|config| config.stripe_mode = crate::StripeMode::Live), &event),
        Verdict::Tell(_)
    ));
    let mut event = subscription(&ours());
    event["account"] = json!("acct_1");
    assert!(matches!(verdict(&event), Verdict::Quarantine(Reason::OtherAccount, _)));
    let connect = endpoint(|config| config.accounts = "acct_0, acct_1".into());
    assert!(matches!(verdict_at(&connect, &event), Verdict::Tell(_)));
    event["account"] = json!("acct_2");
    assert!(matches!(verdict_at(&connect, &event), Verdict::Quarantine(Reason::OtherAccount, _)));
    assert!(matches!(verdict_at(&connect, &subscription(&ours())), Verdict::Quarantine(Reason::OtherAccount, _)));
    let mut event = subscription(&ours());
    event["data"]["object"]["metadata"]["synapse_tenant"] = json!({"$ne": 1});
    assert!(matches!(verdict(&event), Verdict::Quarantine(Reason::UnreadableObject, _)));
}

#[test]
fn metadata_beyond_stripes_own_limits_is_left_out() {
    let mut metadata: BTreeMap<String, String> = (0..200).map(|n| (format!("a{n:03}"), "x".into())).collect();
    metadata.insert("long".into(), "x".repeat(501));
    let kept = bounded(&metadata);
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
