//! Our Stripe emulator as the sender: its own signatures, every event twice.

use serde_json::Value;
use stripe_emulator::{DeliveryPlan, Options, SeedPrice, SeedWebhook, StripeEmulator};
use tempfile::tempdir;
use testkit::eventually;

use crate::harness::{PATIENCE, Running, SECRET};

#[tokio::test]
async fn a_subscription_created_at_the_emulator_is_announced_once_per_event() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let facts = service.reader().await;
    let price = SeedPrice {
        id: "price_demo".into(),
        unit_amount: 1_000,
        currency: "eur".into(),
        interval: "month".into(),
        nickname: String::new(),
    };
    let url = format!("http://{}/stripe/webhook", service.address);
    let options = Options {
        clock: service.host.clock.clone(),
        prices: vec![price],
        webhooks: vec![SeedWebhook { url, secret: SECRET.into(), enabled_events: vec!["*".into()] }],
        delivery: DeliveryPlan { copies: 2, ..DeliveryPlan::default() },
        ..Options::default()
    };
    let emulator = StripeEmulator::start(options).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |path: &str, form: &str| -> Value {
        let request = client.post(format!("{}{path}", emulator.base_url())).header("authorization", "Bearer sk_test_1");
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        let response = request.send().await.unwrap();
        let text = response.text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let customer = post("/v1/customers", "email=a%40example.com").await;
    let customer = customer["id"].as_str().unwrap();
    let form = format!(
        "customer={customer}&items[0][price]=price_demo&metadata[synapse_tenant]=acme&metadata[synapse_subscription]=s-1"
    );
    let subscription = post("/v1/subscriptions", &form).await;
    let stripe_id = subscription["id"].as_str().unwrap_or_else(|| panic!("{subscription}"));

    let seen = |kind: &str| facts.payloads().iter().any(|fact| fact.stripe_event_type == kind);
    eventually(PATIENCE, "both facts", async || {
        (seen("customer.subscription.created") && seen("invoice.paid")).then_some(())
    })
    .await;
    service.drained().await;
    let payloads = facts.payloads();
    assert!(payloads.iter().all(|fact| fact.stripe_subscription_id == stripe_id && !fact.livemode));
    let mut ids: Vec<_> = payloads.iter().map(|fact| fact.stripe_event_id.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), payloads.len(), "each event once");
    assert_eq!(service.listed("quarantined").await.len(), 0);
    emulator.shutdown().await;
}
