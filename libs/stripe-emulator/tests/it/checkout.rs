use serde_json::{Value, json};

use crate::support::{Api, finish, options, start};

const SUCCESS: &str = "https://shop.example/done?s={CHECKOUT_SESSION_ID}";

async fn open(api: &Api, more: &[(&str, &str)]) -> Value {
    let mut form = vec![
        ("mode", "subscription"),
        ("line_items[0][price]", "price_demo"),
        ("line_items[0][quantity]", "2"),
        ("success_url", SUCCESS),
        ("cancel_url", "https://shop.example/back"),
    ];
    form.extend_from_slice(more);
    api.post("/v1/checkout/sessions", &form).await.ok()
}

fn path_of(session: &Value) -> String {
    format!("checkout/sessions/{}", session["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_payer_completes_a_session() {
    let (_emulator, api) = start(options()).await;
    let more = [("customer_email", "p@example.org"), ("subscription_data[metadata][team]", "blue")];
    let session = open(&api, &more).await;
    assert_eq!((&session["status"], &session["payment_status"]), (&json!("open"), &json!("unpaid")));
    assert_eq!((&session["amount_total"], &session["subscription"]), (&json!(1800), &json!(null)));
    assert!(session.get("line_items").is_none() && session.get("_subscription_data").is_none());
    let path = path_of(&session);
    let done = api.control(&format!("{path}/complete"), json!({})).await;
    assert_eq!((&done["status"], &done["payment_status"]), (&json!("complete"), &json!("paid")));
    assert_eq!(done["customer_details"]["email"], "p@example.org");
    let seen = api.get(&format!("/v1/{path}?expand[]=subscription&expand[]=line_items")).await.ok();
    let subscription = &seen["subscription"];
    assert_eq!((&subscription["status"], &subscription["metadata"]), (&json!("active"), &json!({ "team": "blue" })));
    assert_eq!(subscription["items"]["data"][0]["quantity"], 2);
    assert_eq!(subscription["customer"], done["customer"]);
    assert_eq!(seen["line_items"]["data"][0]["price"]["id"], "price_demo");
    assert_eq!(seen["url"], json!(null));
    let types = api.event_types().await;
    assert_eq!(types.first().unwrap(), "customer.created");
    assert_eq!(types.last().unwrap(), "checkout.session.completed");
    let again = api.http.post(format!("{}/_emulator/{path}/complete", api.base)).json(&json!({}));
    finish(again).await.unwrap().refused(400);
}

#[tokio::test]
async fn a_refused_card_leaves_the_session_open() {
    let (_emulator, api) = start(options()).await;
    let session = open(&api, &[]).await;
    let url = format!("{}/_emulator/{}/complete", api.base, path_of(&session));
    let before = api.event_types().await.len();
    for (card, authenticate) in [
        ("pm_card_chargeCustomerFail", true),
        ("pm_card_chargeDeclined", true),
        ("pm_card_authenticationRequired", false),
    ] {
        let body = json!({ "payment_method": card, "authenticate": authenticate });
        let error = finish(api.http.post(&url).json(&body)).await.unwrap().refused(402);
        assert_eq!(error["code"], "card_declined", "{card}");
    }
    assert_eq!(api.event_types().await.len(), before, "nothing came into being");
    let body = json!({ "payment_method": "pm_card_authenticationRequired" });
    let done = finish(api.http.post(&url).json(&body)).await.unwrap().ok();
    assert_eq!(api.status_of(done["subscription"].as_str().unwrap()).await, "active");
}

#[tokio::test]
async fn a_trial_needs_no_payment_and_a_customer_is_used_again() {
    let (_emulator, api) = start(options()).await;
    let customer = api.customer().await;
    let more = [("customer", customer.as_str()), ("subscription_data[trial_period_days]", "7")];
    let session = open(&api, &more).await;
    assert_eq!(session["amount_total"], 0);
    let done = api.control(&format!("{}/complete", path_of(&session)), json!({})).await;
    assert_eq!((&done["payment_status"], &done["customer"]), (&json!("no_payment_required"), &json!(customer)));
    assert_eq!(api.status_of(done["subscription"].as_str().unwrap()).await, "trialing");
    let found = api.get(&format!("/v1/checkout/sessions?customer={customer}&status=complete")).await.ok();
    assert_eq!(found["data"][0]["id"], done["id"]);
}

#[tokio::test]
async fn a_session_can_be_expired_and_bad_ones_name_their_parameter() {
    let (_emulator, api) = start(options()).await;
    let session = open(&api, &[]).await;
    let path = format!("/v1/{}/expire", path_of(&session));
    assert_eq!(api.post(&path, &[]).await.ok()["status"], "expired");
    assert_eq!(api.event_types().await.last().unwrap(), "checkout.session.expired");
    api.post(&path, &[]).await.refused(400);
    let good = [("mode", "subscription"), ("line_items[0][price]", "price_demo"), ("success_url", SUCCESS)];
    for (name, value, param) in [
        ("mode", "payment", "mode"),
        ("success_url", "javascript:alert(1)", "success_url"),
        ("line_items[0][price]", "price_none", "line_items[0][price]"),
        ("customer", "cus_none", "customer"),
        ("subscription_data[trial_period_days]", "soon", "subscription_data[trial_period_days]"),
        ("expires_at", "1", "expires_at"),
        ("discounts[0][coupon]", "x", "discounts"),
    ] {
        let mut form: Vec<_> = good.iter().copied().filter(|(known, _)| *known != name).collect();
        form.push((name, value));
        let error = api.post("/v1/checkout/sessions", &form).await.refused(400);
        assert_eq!(error["param"], param, "{name}={value}");
    }
}

#[tokio::test]
async fn the_hosted_page_takes_a_card_and_goes_to_the_success_url() {
    let (_emulator, api) = start(options()).await;
    let session = open(&api, &[("customer_email", "a@example.org")]).await;
    let url = session["url"].as_str().unwrap();
    assert!(url.starts_with(&api.base));
    let page = finish(api.http.get(url)).await.unwrap();
    assert!(page.text.contains("2 × Demo") && page.text.contains("value=\"pm_card_visa\""), "{}", page.text);
    let browser = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let form = "application/x-www-form-urlencoded";
    let send = |body: &'static str| finish(browser.post(url).header("content-type", form).body(body));
    let declined = send("card=pm_card_chargeDeclined").await.unwrap();
    assert_eq!(declined.status, 402);
    assert!(declined.text.contains("Your card was declined."));
    let paid = send("card=pm_card_visa").await.unwrap();
    assert_eq!(paid.status, 303);
    let id = session["id"].as_str().unwrap();
    assert_eq!(paid.header("location"), format!("https://shop.example/done?s={id}"));
    assert_eq!(api.get(&format!("/v1/checkout/sessions/{id}")).await.ok()["status"], "complete");
}
