use stripe_emulator::{Limits, Options};

use crate::support::{options, start};

#[tokio::test]
async fn a_customer_lives_and_dies() {
    let (_emulator, api) = start(options()).await;
    let form = [("email", "a@example.org"), ("name", "A"), ("metadata[tenant]", "t1"), ("address[city]", "Graz")];
    let created = api.post("/v1/customers", &form).await.ok();
    let id = created["id"].as_str().unwrap();
    assert!(id.starts_with("cus_") && id.len() == 28, "{id}");
    assert_eq!(created["object"], "customer");
    assert_eq!(created["livemode"], false);
    assert_eq!(created["address"]["city"], "Graz");
    let path = format!("/v1/customers/{id}");
    let changed = api.post(&path, &[("name", ""), ("metadata[tenant]", ""), ("metadata[x]", "y")]).await.ok();
    assert!(changed["name"].is_null());
    assert_eq!(changed["metadata"], serde_json::json!({ "x": "y" }));
    assert_eq!(api.post(&path, &[("metadata", "")]).await.ok()["metadata"], serde_json::json!({}));
    let gone = api.delete(&path).await.ok();
    assert_eq!(gone["deleted"], true);
    assert_eq!(api.get(&path).await.ok()["deleted"], true);
    assert_eq!(api.post(&path, &[("name", "B")]).await.refused(404)["code"], "resource_missing");
    assert_eq!(
        api.event_types().await,
        ["customer.created", "customer.updated", "customer.updated", "customer.deleted"]
    );
}

#[tokio::test]
async fn a_price_is_made_with_its_product_and_can_be_sold() {
    let (_emulator, api) = start(options()).await;
    let form = [
        ("currency", "EUR"),
        ("unit_amount", "1500"),
        ("recurring[interval]", "year"),
        ("product_data[name]", "Gold"),
        ("nickname", "gold"),
    ];
    let price = api.post("/v1/prices", &form).await.ok();
    assert_eq!(price["currency"], "eur");
    assert_eq!(price["unit_amount_decimal"], "1500");
    assert_eq!(price["type"], "recurring");
    let product = api.get(&format!("/v1/products/{}", price["product"].as_str().unwrap())).await.ok();
    assert_eq!(product["name"], "Gold");
    let customer = api.customer().await;
    let form = [("customer", customer.as_str()), ("items[0][price]", price["id"].as_str().unwrap())];
    let subscription = api.post("/v1/subscriptions", &form).await.ok();
    let item = &subscription["items"]["data"][0];
    let days = (item["current_period_end"].as_i64().unwrap() - item["current_period_start"].as_i64().unwrap()) / 86_400;
    assert!((365..=366).contains(&days), "{days}");
    assert_eq!(api.get("/v1/prices/price_demo").await.ok()["nickname"], "Demo");
    let retired = api.post(&format!("/v1/prices/{}", price["id"].as_str().unwrap()), &[("active", "false")]).await;
    assert_eq!(retired.ok()["active"], false);
    assert_eq!(api.post("/v1/subscriptions", &form).await.refused(400)["param"], "items[0][price]");
}

#[tokio::test]
async fn errors_look_like_stripes() {
    let (_emulator, api) = start(options()).await;
    let missing = api.get("/v1/subscriptions/sub_none").await;
    assert!(missing.header("request-id").starts_with("req_"));
    let error = missing.refused(404);
    assert_eq!(error["type"], "invalid_request_error");
    assert_eq!(error["code"], "resource_missing");
    assert_eq!(error["message"], "No such subscription: 'sub_none'");
    assert_eq!(error["param"], "id");

    let error = api.post("/v1/subscriptions", &[("items[0][price]", "price_demo")]).await.refused(400);
    assert_eq!((&error["code"], &error["param"]), (&"parameter_missing".into(), &"customer".into()));
    let error = api.subscribe("cus_none", &[]).await.refused(400);
    assert_eq!((&error["code"], &error["param"]), (&"resource_missing".into(), &"customer".into()));
    let customer = api.customer().await;
    for (name, value, param) in [
        ("items[0][prize]", "x", "items[0][prize]"),
        ("payment_behavior", "hope", "payment_behavior"),
        ("trial_period_days", "soon", "trial_period_days"),
        ("cancel_at_period_end", "maybe", "cancel_at_period_end"),
        ("collection_method", "send_invoice", "collection_method"),
        ("surprise", "1", "surprise"),
        ("items[1][price]", "price_none", "items[1][price]"),
        ("items[1][price]", "price_demo", "items"),
    ] {
        let error = api.subscribe(&customer, &[(name, value)]).await.refused(400);
        assert_eq!(error["param"], param, "{name}={value}");
    }
    assert_eq!(api.get("/v1/teapots").await.refused(404)["type"], "invalid_request_error");
    let error = api.at("yesterday").get("/v1/customers").await.refused(400);
    assert!(error["message"].as_str().unwrap().contains("Invalid Stripe API version: yesterday"));
}

#[tokio::test]
async fn metadata_has_stripes_limits() {
    let (_emulator, api) = start(options()).await;
    let long_name = format!("metadata[{}]", "k".repeat(41));
    let long_value = "v".repeat(501);
    for (name, value) in
        [(long_name.as_str(), "v"), ("metadata[k]", long_value.as_str()), ("metadata[a][b]", "v"), ("metadata[]", "")]
    {
        let reply = api.post("/v1/customers", &[(name, value)]).await;
        if name == "metadata[]" {
            // Names may be digits; an empty value only removes.
            reply.ok();
        } else {
            assert!(reply.refused(400)["param"].as_str().unwrap().starts_with("metadata["), "{name}");
        }
    }
    let names: Vec<String> = (0..51).map(|index| format!("metadata[k{index}]")).collect();
    let form: Vec<_> = names.iter().map(|name| (name.as_str(), "v")).collect();
    assert_eq!(api.post("/v1/customers", &form).await.refused(400)["param"], "metadata");
    let fits = "é".repeat(500);
    api.post("/v1/customers", &[("metadata[k]", fits.as_str())]).await.ok();
    api.post("/v1/customers", &form[..50]).await.ok();
}

#[tokio::test]
async fn a_body_has_to_be_a_form_and_not_too_large() {
    let (_emulator, api) = start(options()).await;
    let url = format!("{}/v1/customers", api.base);
    let post = |kind: &'static str, body: String| {
        api.http.post(&url).header("authorization", "Bearer sk_test_1").header("content-type", kind).body(body).send()
    };
    assert_eq!(post("application/json", "{}".to_owned()).await.unwrap().status(), 400);
    let large = format!("name={}", "x".repeat(1024 * 1024));
    assert_eq!(post("application/x-www-form-urlencoded", large).await.unwrap().status(), 413);
}

#[tokio::test]
async fn what_it_keeps_is_bounded() {
    let limits = Limits { objects: 2, events: 3, ..Limits::default() };
    let (_emulator, api) = start(Options { limits, ..options() }).await;
    api.customer().await;
    let customer = api.customer().await;
    assert_eq!(api.post("/v1/customers", &[]).await.refused(400)["code"], "emulator_full");
    api.subscribe(&customer, &[]).await.ok();
    assert_eq!(api.event_types().await.len(), 3);
}
