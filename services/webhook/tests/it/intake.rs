//! Signatures, and what becomes of every kind of body.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use service::config::Secret;
use tempfile::tempdir;

use crate::harness::{NOW_S, Running, SECRET, Setup, config, event, host, pretty, signed, subscription_event, v1};

#[tokio::test]
async fn it_does_not_start_without_a_secret() {
    let folder = tempdir().unwrap();
    let (host, _hand) = host(folder.path(), false);
    for secrets in [Secret::new(""), Secret::new(" ,")] {
        let platform = host.platform(webhook::NAME).await.unwrap();
        let config = webhook::Config { secrets, ..config() };
        let error = webhook::start(config, platform).await.unwrap_err().to_string();
        assert!(error.starts_with("secrets: "), "{error}");
    }
}

#[tokio::test]
async fn only_what_stripe_signed_is_taken_in() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let body = pretty(&subscription_event("evt_1", "active"));
    let good = signed(SECRET, NOW_S, body.as_bytes());
    service.post_with(body.as_str(), &[]).await.refused(400, "invalid_signature");
    service.post_with(body.as_str(), &[""]).await.refused(400, "invalid_signature");
    service.post_with(body.as_str(), &[&good, &good]).await.refused(400, "invalid_signature");
    let forged = signed("whsec_other", NOW_S, body.as_bytes());
    service.post_with(body.as_str(), &[&forged]).await.refused(400, "invalid_signature");
    service.post_with(body.replace("active", "actiwe"), &[&good]).await.refused(400, "invalid_signature");
    // The same content in other bytes is not what was signed.
    let compact = subscription_event("evt_1", "active").to_string();
    service.post_with(compact, &[&good]).await.refused(400, "invalid_signature");
    let only_v0 = format!("t={NOW_S},v0={}", v1(SECRET, NOW_S, body.as_bytes()));
    service.post_with(body.as_str(), &[&only_v0]).await.refused(400, "invalid_signature");
    assert_eq!((service.event("evt_1").await, service.listed("quarantined").await.len()), (None, 0));
    service.post_with(body.as_str(), &[&good]).await.ok();
    assert!(service.event("evt_1").await.is_some());
}

#[tokio::test]
async fn a_rolled_secret_is_good_with_the_new_one_beside_it() {
    let folder = tempdir().unwrap();
    let config = |config: &mut webhook::Config| config.secrets = Secret::new(format!("whsec_new,{SECRET}"));
    let service = Running::with(folder.path(), Setup { config: Some(config), ..Setup::default() }).await;
    let body = pretty(&event("evt_1", "x.y", &Value::Null));
    let (old, new) = (v1(SECRET, NOW_S, body.as_bytes()), v1("whsec_new", NOW_S, body.as_bytes()));
    for header in [format!("t={NOW_S},v1={old}"), format!("t={NOW_S},v1={new}"), format!("t={NOW_S},v1={new},v1={old}")]
    {
        service.post_with(body.as_str(), &[&header]).await.ok();
    }
    let many = format!("t={NOW_S}{}", format!(",v1={old}").repeat(9));
    service.post_with(body.as_str(), &[&many]).await.refused(400, "invalid_signature");
}

#[tokio::test]
async fn a_signature_is_good_for_five_minutes_both_ways() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let body = pretty(&event("evt_1", "x.y", &Value::Null));
    let at = |time_s: u64| signed(SECRET, time_s, body.as_bytes());
    for (time_s, good) in [(NOW_S - 300, true), (NOW_S + 300, true), (NOW_S - 301, false), (NOW_S + 301, false)] {
        let answer = service.post_with(body.as_str(), &[&at(time_s)]).await;
        if good { answer.ok() } else { answer.refused(400, "invalid_signature") }
    }
    service.hand.advance(Duration::from_millis(1));
    service.post_with(body.as_str(), &[&at(NOW_S - 300)]).await.refused(400, "invalid_signature");
    service.hand.set((NOW_S - 3_600) * 1_000);
    service.post_with(body.as_str(), &[&at(NOW_S)]).await.refused(400, "invalid_signature");
}

#[tokio::test]
async fn every_event_is_kept_with_what_it_is() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let charge = json!({"id": "ch_1", "object": "charge", "customer": "cus_1"});
    service.post(pretty(&event("evt_unknown", "charge.from_the_future", &charge))).await.ok();
    let foreign = json!({"id": "sub_9", "object": "subscription", "status": "active", "metadata": {}});
    service.post(pretty(&event("evt_foreign", "customer.subscription.created", &foreign))).await.ok();
    let thin = json!({
        "id": "evt_thin", "object": "v2.core.event", "type": "v1.billing.meter.no_meter_found", "livemode": false,
        "created": "2026-09-21T14:13:18.000Z", "related_object": {"id": "mtr_1", "type": "billing.meter"},
    });
    service.post(thin.to_string()).await.ok();
    let unknown = service.event("evt_unknown").await.unwrap();
    assert_eq!((&unknown["state"], &unknown["type"]), (&json!("unmapped"), &json!("charge.from_the_future")));
    assert_eq!((&unknown["object_id"], &unknown["customer"]), (&json!("ch_1"), &json!("cus_1")));
    assert_eq!((&unknown["created"], &unknown["received_ms"]), (&json!(NOW_S - 2), &json!(NOW_S * 1_000)));
    assert_eq!((&unknown["api_version"], &unknown["livemode"]), (&json!("2025-03-31.basil"), &json!(false)));
    assert_eq!(service.event("evt_foreign").await.unwrap()["state"], "unassigned");
    assert_eq!(service.event("evt_thin").await.unwrap()["object_id"], "mtr_1");
    assert_eq!(service.listed("received").await.len(), 3);
    assert_eq!(service.platform.outbox.pending().await.unwrap(), 0, "nothing follows from any of them");
}

#[tokio::test]
async fn what_must_not_act_is_kept_aside_and_answered_with_200() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let mut live = subscription_event("evt_live", "active");
    live["livemode"] = json!(true);
    service.post(pretty(&live)).await.ok();
    let mut connected = subscription_event("evt_connected", "active");
    connected["account"] = json!("acct_1");
    service.post(pretty(&connected)).await.ok();
    let mut confused = subscription_event("evt_confused", "active");
    confused["data"]["object"]["metadata"] = json!(["acme"]);
    service.post(pretty(&confused)).await.ok();
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let twice = r#"{"id":"evt_1","id":"evt_2","object":"event","type":"x","created":1,"livemode":false}"#;
    for body in ["{", "", "null", "\u{1f}\u{8b}", &deep, twice] {
        service.post(body).await.ok();
        service.post(body).await.ok();
    }
    for (id, reason) in
        [("evt_live", "wrong_livemode"), ("evt_connected", "other_account"), ("evt_confused", "unreadable_object")]
    {
        let record = service.event(id).await.unwrap();
        assert_eq!((&record["state"], &record["reason"]), (&json!("quarantined"), &json!(reason)));
    }
    let aside = service.listed("quarantined").await;
    assert_eq!(aside.len(), 9, "each once");
    assert_eq!(aside.iter().filter(|record| record["reason"] == "not_an_event").count(), 6);
    assert_eq!(service.listed("duplicate").await.len(), 6, "the rubbish came twice");
    assert_eq!(service.listed("published").await.len(), 0);
    assert_eq!(service.platform.outbox.pending().await.unwrap(), 0);
}

#[tokio::test]
async fn a_live_installation_takes_no_test_money() {
    let folder = tempdir().unwrap();
    let service = Running::with(folder.path(), Setup { production: true, ..Setup::default() }).await;
    let facts = service.reader().await;
    service.post(pretty(&subscription_event("evt_test", "active"))).await.ok();
    let mut live = subscription_event("evt_live", "active");
    live["livemode"] = json!(true);
    service.post(pretty(&live)).await.ok();
    service.drained().await;
    assert_eq!(service.event("evt_test").await.unwrap()["reason"], "wrong_livemode");
    assert_eq!(facts.payloads().iter().map(|fact| fact.stripe_event_id.as_str()).collect::<Vec<_>>(), ["evt_live"]);
}

#[tokio::test]
async fn another_api_version_is_taken_in_all_the_same() {
    let folder = tempdir().unwrap();
    let config = |config: &mut webhook::Config| config.expected_api_version = "2020-08-27".into();
    let service = Running::with(folder.path(), Setup { config: Some(config), ..Setup::default() }).await;
    let facts = service.reader().await;
    service.post(pretty(&subscription_event("evt_1", "active"))).await.ok();
    service.drained().await;
    assert_eq!(facts.payloads()[0].api_version.as_deref(), Some("2025-03-31.basil"));
    assert_eq!(service.event("evt_1").await.unwrap()["unexpected_version"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_copies_at_once_are_one_fact() {
    let folder = tempdir().unwrap();
    let service = Arc::new(Running::start(folder.path()).await);
    let facts = service.reader().await;
    let body = pretty(&subscription_event("evt_1", "active"));
    let post = |_| {
        let (service, body) = (Arc::clone(&service), body.clone());
        tokio::spawn(async move { service.post(body).await.status })
    };
    let posts: Vec<_> = (0..50).map(post).collect();
    for post in posts {
        assert_eq!(post.await.unwrap(), 200);
    }
    service.drained().await;
    assert_eq!(facts.envelopes().len(), 1);
    assert_eq!(service.listed("received").await.len(), 1);
}

#[tokio::test]
async fn the_same_id_with_other_content_is_a_conflict_and_with_another_count_of_deliveries_is_none() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let facts = service.reader().await;
    service.post(pretty(&subscription_event("evt_1", "active"))).await.ok();
    let mut again = subscription_event("evt_1", "active");
    again["pending_webhooks"] = json!(0);
    service.post(pretty(&again)).await.ok();
    assert_eq!(service.listed("quarantined").await.len(), 0);
    let other = pretty(&subscription_event("evt_1", "canceled"));
    service.post(&other).await.ok();
    service.post(&other).await.ok();
    service.drained().await;
    let aside = service.listed("conflict").await;
    assert_eq!(
        (aside.len(), &aside[0]["reason"], &aside[0]["stripe_event_id"]),
        (1, &json!("conflict"), &json!("evt_1"))
    );
    assert_eq!(facts.payloads().len(), 1);
    assert_eq!(facts.payloads()[0].hinted_status.as_deref(), Some("active"));
}
