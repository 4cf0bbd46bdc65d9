//! One endpoint per Stripe mode and for connected accounts, each with its own secrets.

use std::time::Duration;

use serde_json::json;
use service::config::Secret;
use tempfile::tempdir;
use testkit::eventually;
use webhook::{Config, EndpointConfig, StripeMode};

use crate::harness::{NOW_S, PATIENCE, Running, SECRET, Setup, config, host, pretty, signed, subscription_event};

fn further(config: &mut Config) {
    let of = |path: &str, secret: &str| EndpointConfig {
        path: path.into(),
        secrets: Secret::new(secret),
        ..EndpointConfig::default()
    };
    let live = EndpointConfig { stripe_mode: StripeMode::Live, ..of("/stripe/live", "whsec_live") };
    let connect = EndpointConfig { accounts: "acct_1, acct_2".into(), ..of("/stripe/connect", "whsec_connect") };
    config.endpoints = [("live".to_owned(), live), ("connect".to_owned(), connect)].into();
}

#[tokio::test]
async fn each_endpoint_has_its_own_path_secrets_mode_and_accounts() {
    let folder = tempdir().unwrap();
    let service = Running::with(folder.path(), Setup { config: Some(further), ..Setup::default() }).await;
    let facts = service.reader().await;
    let post = async |path: &str, secret: &str, event: &serde_json::Value| {
        let body = pretty(event);
        service.post_to(path, body.clone(), &[&signed(secret, NOW_S, body.as_bytes())]).await
    };
    let mut live = subscription_event("evt_live", "active");
    live["livemode"] = json!(true);
    // Another endpoint's secret is nobody's.
    post("/stripe/live", SECRET, &live).await.refused(400, "invalid_signature");
    post("/stripe/webhook", "whsec_live", &live).await.refused(400, "invalid_signature");
    post("/stripe/live", "whsec_live", &live).await.ok();
    let test = subscription_event("evt_test", "active");
    post("/stripe/live", "whsec_live", &test).await.ok();
    for (id, account) in [("evt_1", "acct_1"), ("evt_3", "acct_3")] {
        let mut event = subscription_event(id, "active");
        event["account"] = json!(account);
        post("/stripe/connect", "whsec_connect", &event).await.ok();
    }
    service.drained().await;
    let published: Vec<_> =
        facts.payloads().into_iter().map(|fact| (fact.stripe_event_id, fact.stripe_account)).collect();
    assert_eq!(published, [("evt_live".into(), None), ("evt_1".into(), Some("acct_1".to_owned()))]);
    let aside = service.listed("quarantined").await;
    let reasons: Vec<_> = aside.iter().map(|event| (&event["id"], &event["endpoint"], &event["reason"])).collect();
    assert_eq!(json!(reasons), json!([["evt_3", "connect", "other_account"], ["evt_test", "live", "wrong_livemode"]]));
}

#[tokio::test]
async fn a_further_endpoint_without_a_secret_keeps_the_service_from_starting() {
    let folder = tempdir().unwrap();
    let (host, _hand) = host(folder.path(), false);
    let mut config = config();
    config.endpoints.insert("test".into(), EndpointConfig { path: "/t".into(), ..EndpointConfig::default() });
    let platform = host.platform(webhook::NAME).await.unwrap();
    let error = webhook::start(config, platform).await.unwrap_err().to_string();
    assert!(error.starts_with("endpoints.test.secrets: "), "{error}");
}

#[tokio::test]
async fn a_further_endpoints_secrets_are_rolled_by_their_file() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("secrets");
    std::fs::write(&file, "whsec_old\n").unwrap();
    let (host, hand) = host(folder.path(), false);
    let mut config = config();
    let endpoint = EndpointConfig {
        path: "/stripe/rolled".into(),
        secrets_file: file.display().to_string(),
        ..EndpointConfig::default()
    };
    config.endpoints.insert("rolled".into(), endpoint);
    let service = Running::on(host, hand, config, None).await;
    let body = pretty(&subscription_event("evt_1", "active"));
    let post = async |secret: &str| {
        let header = signed(secret, service.now_s(), body.as_bytes());
        service.post_to("/stripe/rolled", body.clone(), &[&header]).await.status
    };
    assert_eq!((post("whsec_old").await, post("whsec_new").await), (200, 400));
    std::fs::write(&file, "whsec_new,whsec_old\n").unwrap();
    eventually(PATIENCE, "the new secret to be good", async || {
        service.hand.advance(Duration::from_secs(10));
        (post("whsec_new").await == 200).then_some(())
    })
    .await;
    assert_eq!(post("whsec_old").await, 200, "both are good while it is being rolled");
}
