use serde_json::{Value, json};

use crate::support::{Api, options, start};

async fn feature(api: &Api, key: &str) -> String {
    let made = api.post("/v1/entitlements/features", &[("lookup_key", key), ("name", key)]).await.ok();
    let id = made["id"].as_str().unwrap().to_owned();
    let price = api.get("/v1/prices/price_demo").await.ok();
    let path = format!("/v1/products/{}/features", price["product"].as_str().unwrap());
    api.post(&path, &[("entitlement_feature", id.as_str())]).await.ok();
    id
}

async fn keys_of(api: &Api, customer: &str) -> Vec<Value> {
    let list = api.get(&format!("/v1/entitlements/active_entitlements?customer={customer}")).await.ok();
    list["data"].as_array().unwrap().iter().map(|entitlement| entitlement["lookup_key"].clone()).collect()
}

#[tokio::test]
async fn a_subscription_entitles_until_it_ends() {
    let (_emulator, api) = start(options()).await;
    let relay = feature(&api, "relay").await;
    let customer = api.customer().await;
    assert_eq!(keys_of(&api, &customer).await, [json!(null); 0]);
    let subscription = api.subscribe(&customer, &[]).await.ok();
    assert_eq!(keys_of(&api, &customer).await, ["relay"]);
    let updated = "/v1/events?type=entitlements.active_entitlement_summary.updated";
    let events = api.get(updated).await.ok();
    let event = &events["data"][0]["data"];
    assert_eq!(event["object"]["customer"], customer.as_str());
    let entitlement = &event["object"]["entitlements"]["data"][0];
    assert_eq!((&entitlement["feature"], &entitlement["lookup_key"]), (&json!(relay), &json!("relay")));
    assert!(entitlement.get("customer").is_none());
    assert_eq!(event["previous_attributes"]["entitlements"]["data"], json!([]));

    feature(&api, "tunnel").await;
    let mut keys: Vec<_> = keys_of(&api, &customer).await;
    keys.sort_by_key(ToString::to_string);
    assert_eq!(keys, ["relay", "tunnel"], "a product that gains a feature gives it at once");

    api.delete(&format!("/v1/subscriptions/{}", subscription["id"].as_str().unwrap())).await.ok();
    assert_eq!(keys_of(&api, &customer).await, [json!(null); 0]);
    assert_eq!(api.get(updated).await.ok()["data"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn an_unpaid_subscription_entitles_to_nothing() {
    let (_emulator, api) = start(options()).await;
    feature(&api, "relay").await;
    let card = "pm_card_chargeCustomerFail";
    let form = [("payment_method", card), ("invoice_settings[default_payment_method]", card)];
    let customer = api.post("/v1/customers", &form).await.ok()["id"].as_str().unwrap().to_owned();
    api.subscribe(&customer, &[]).await.ok();
    assert_eq!(keys_of(&api, &customer).await, [json!(null); 0]);
    let error = api.post("/v1/entitlements/features", &[("lookup_key", "relay"), ("name", "x")]).await.refused(400);
    assert_eq!(error["param"], "lookup_key");
}
