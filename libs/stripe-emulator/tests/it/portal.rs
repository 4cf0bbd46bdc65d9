use serde_json::{Value, json};

use crate::support::{Api, finish, options, start};

async fn subscribed(api: &Api) -> (String, String) {
    let customer = api.customer().await;
    let subscription = api.subscribe(&customer, &[]).await.ok()["id"].as_str().unwrap().to_owned();
    (customer, subscription)
}

async fn session(api: &Api, customer: &str) -> Value {
    let form = [("customer", customer), ("return_url", "https://shop.example/account")];
    api.post("/v1/billing_portal/sessions", &form).await.ok()
}

#[tokio::test]
async fn a_customer_cancels_resumes_and_changes_in_the_portal() {
    let (_emulator, api) = start(options()).await;
    let (customer, subscription) = subscribed(&api).await;
    let session = session(&api, &customer).await;
    assert_eq!(session["return_url"], "https://shop.example/account");
    let path = |action: &str| format!("portal/sessions/{}/{action}", session["id"].as_str().unwrap());
    let ending = api.control(&path("cancel"), json!({ "feedback": "too_expensive" })).await;
    assert_eq!((&ending["id"], &ending["cancel_at_period_end"]), (&json!(subscription), &json!(true)));
    assert_eq!(ending["cancellation_details"]["feedback"], "too_expensive");
    let kept = api.control(&path("resume"), json!({})).await;
    assert_eq!((&kept["cancel_at_period_end"], &kept["cancel_at"]), (&json!(false), &json!(null)));
    let more = api.control(&path("update"), json!({ "quantity": 3 })).await;
    assert_eq!(more["items"]["data"][0]["quantity"], 3);
    let customer = api.control(&path("payment_method"), json!({ "payment_method": "pm_card_mastercard" })).await;
    assert!(customer["invoice_settings"]["default_payment_method"].as_str().unwrap().starts_with("pm_"));
    let gone = api.control(&path("cancel"), json!({ "now": true })).await;
    assert_eq!(gone["status"], "canceled");
    let events = api.get("/v1/events?type=customer.subscription.*&limit=1").await.ok();
    assert_eq!(events["data"][0]["request"], json!({ "id": null, "idempotency_key": null }), "no API request did it");
}

#[tokio::test]
async fn a_configuration_says_what_is_allowed() {
    let (_emulator, api) = start(options()).await;
    let (customer, _) = subscribed(&api).await;
    let form = [
        ("features[subscription_cancel][enabled]", "true"),
        ("features[subscription_cancel][mode]", "immediately"),
        ("business_profile[headline]", "Ours"),
    ];
    let configuration = api.post("/v1/billing_portal/configurations", &form).await.ok();
    let id = configuration["id"].as_str().unwrap();
    assert_eq!(configuration["features"]["subscription_update"]["enabled"], false);
    let form = [("customer", customer.as_str()), ("configuration", id)];
    let session = api.post("/v1/billing_portal/sessions", &form).await.ok();
    let path = format!("portal/sessions/{}", session["id"].as_str().unwrap());
    let update = api.http.post(format!("{}/_emulator/{path}/update", api.base)).json(&json!({ "quantity": 2 }));
    finish(update).await.unwrap().refused(400);
    assert_eq!(api.control(&format!("{path}/cancel"), json!({})).await["status"], "canceled");
    assert_eq!(api.get("/v1/billing_portal/configurations?is_default=true").await.ok()["data"][0]["is_default"], true);
    let form = [("customer", "cus_none")];
    assert_eq!(api.post("/v1/billing_portal/sessions", &form).await.refused(400)["param"], "customer");
}

#[tokio::test]
async fn the_hosted_page_cancels_too() {
    let (_emulator, api) = start(options()).await;
    let (customer, subscription) = subscribed(&api).await;
    let session = session(&api, &customer).await;
    let url = session["url"].as_str().unwrap();
    let page = finish(api.http.get(url)).await.unwrap().text;
    assert!(page.contains(&subscription) && page.contains("https://shop.example/account"), "{page}");
    let form = "application/x-www-form-urlencoded";
    let body = format!("action=cancel&subscription={subscription}");
    let page = finish(api.http.post(url).header("content-type", form).body(body)).await.unwrap();
    assert!(page.text.contains("Don't cancel"), "{}", page.text);
    let found = api.get(&format!("/v1/subscriptions/{subscription}")).await.ok();
    assert_eq!(found["cancel_at_period_end"], true);
    assert_eq!(finish(api.http.get(format!("{url}x"))).await.unwrap().status, 404);
}
