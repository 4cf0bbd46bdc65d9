use serde_json::{Value, json};

use crate::support::{Api, Receiver, finish, options, start};

async fn on_account(api: &Api, account: &str, method: &str, path: &str, form: &str) -> crate::support::Reply {
    let request = api.http.request(method.parse().unwrap(), format!("{}{path}", api.base));
    let request = request.header("authorization", "Bearer sk_test_123").header("stripe-account", account);
    let form = form.to_owned();
    finish(request.header("content-type", "application/x-www-form-urlencoded").body(form)).await.unwrap()
}

#[tokio::test]
async fn connected_accounts_have_objects_of_their_own() {
    let (_emulator, api) = start(options()).await;
    let made = on_account(&api, "acct_one", "POST", "/v1/customers", "name=A").await.ok();
    let path = format!("/v1/customers/{}", made["id"].as_str().unwrap());
    on_account(&api, "acct_one", "GET", &path, "").await.ok();
    on_account(&api, "acct_two", "GET", &path, "").await.refused(404);
    api.get(&path).await.refused(404);
    let error = on_account(&api, "someone", "GET", "/v1/customers", "").await.refused(403);
    assert_eq!(error["code"], "account_invalid");
    let events = on_account(&api, "acct_one", "GET", "/v1/events", "").await.ok();
    assert_eq!(events["data"][0]["account"], "acct_one");
    assert_eq!(api.get("/v1/events").await.ok()["data"], json!([]));
    for number in 3..=16 {
        on_account(&api, &format!("acct_{number}"), "GET", "/v1/customers", "").await.ok();
    }
    let error = on_account(&api, "acct_toomany", "GET", "/v1/customers", "").await.refused(400);
    assert_eq!(error["code"], "emulator_full");
}

#[tokio::test]
async fn connect_endpoints_hear_of_connected_accounts_only() {
    let (_emulator, api) = start(options()).await;
    let (mut own, mut connect) = (Receiver::start().await, Receiver::start().await);
    own.register(&api, &["*"]).await;
    let form = [("url", connect.url.as_str()), ("enabled_events[]", "*"), ("connect", "true")];
    let endpoint = api.post("/v1/webhook_endpoints", &form).await.ok();
    assert!(endpoint.get("_connect").is_none());
    on_account(&api, "acct_one", "POST", "/v1/customers", "name=A").await.ok();
    api.customer().await;
    let event = connect.next().await.event();
    assert_eq!((&event["account"], &event["type"]), (&json!("acct_one"), &json!("customer.created")));
    assert!(own.next().await.event().get("account").is_none());
    connect.nothing_more();
    own.nothing_more();
}

async fn v2(api: &Api, path: &str, body: Value) -> Value {
    let request = api.http.post(format!("{}/v2/core/{path}", api.base)).header("authorization", "Bearer sk_test_1");
    finish(request.json(&body)).await.unwrap().ok()
}

fn destination(url: &str, payload: &str, events: &[&str]) -> Value {
    json!({
        "name": "mine", "type": "webhook_endpoint", "event_payload": payload, "enabled_events": events,
        "webhook_endpoint": { "url": url },
        "include": ["webhook_endpoint.signing_secret", "webhook_endpoint.url"],
    })
}

#[tokio::test]
async fn thin_events_name_their_object_and_can_be_fetched() {
    let (_emulator, api) = start(options()).await;
    let mut receiver = Receiver::start().await;
    let wish = destination(&receiver.url, "thin", &["v1.customer.subscription.created"]);
    let made = v2(&api, "event_destinations", wish).await;
    let secret = made["webhook_endpoint"]["signing_secret"].as_str().unwrap();
    assert_eq!(made["webhook_endpoint"]["url"], receiver.url.as_str());
    let customer = api.customer().await;
    let subscription = api.subscribe(&customer, &[]).await.ok();
    let hook = receiver.next().await;
    crate::webhooks::verified_at(&hook, secret);
    let thin = hook.event();
    assert_eq!((&thin["object"], &thin["type"]), (&json!("v2.core.event"), &json!("v1.customer.subscription.created")));
    let url = format!("/v1/subscriptions/{}", subscription["id"].as_str().unwrap());
    assert_eq!(thin["related_object"], json!({ "id": subscription["id"], "type": "subscription", "url": url }));
    assert!(thin.get("data").is_none() && thin["created"].as_str().unwrap().ends_with('Z'));
    let fetched = api.get(&format!("/v2/core/events/{}", thin["id"].as_str().unwrap())).await.ok();
    assert_eq!(fetched, thin);
    let snapshot = api.get(&format!("/v1/events/{}", thin["snapshot_event"].as_str().unwrap())).await.ok();
    assert_eq!(snapshot["type"], "customer.subscription.created");

    let path = format!("event_destinations/{}", made["id"].as_str().unwrap());
    v2(&api, &format!("{path}/ping"), json!({})).await;
    assert_eq!(receiver.next().await.event()["type"], "v2.core.event_destination.ping");
    assert_eq!(v2(&api, &format!("{path}/disable"), json!({})).await["status"], "disabled");
    api.subscribe(&customer, &[]).await.ok();
    assert_eq!(v2(&api, &format!("{path}/enable"), json!({})).await["status"], "enabled");
    let last = api.subscribe(&customer, &[]).await.ok();
    assert_eq!(receiver.next().await.event()["related_object"]["id"], last["id"]);

    let first = api.get("/v2/core/events?limit=2").await.ok();
    assert_eq!(first["data"].as_array().unwrap().len(), 2);
    let rest = api.get(first["next_page_url"].as_str().unwrap()).await.ok();
    assert_eq!((&rest["data"][0]["id"], &rest["next_page_url"]), (&thin["id"], &json!(null)));
    let about = api.get(&format!("/v2/core/events?object_id={}", last["id"].as_str().unwrap())).await.ok();
    assert_eq!(about["data"].as_array().unwrap().len(), 1);
    api.delete(&format!("/v2/core/{path}")).await.ok();
    assert_eq!(api.get("/v2/core/event_destinations").await.ok()["data"], json!([]));
}

#[tokio::test]
async fn a_destination_may_take_snapshots_of_one_version() {
    let (_emulator, api) = start(options()).await;
    let mut receiver = Receiver::start().await;
    let mut wish = destination(&receiver.url, "snapshot", &["customer.subscription.created"]);
    wish["snapshot_api_version"] = json!("2024-06-20");
    v2(&api, "event_destinations", wish).await;
    let customer = api.customer().await;
    api.subscribe(&customer, &[]).await.ok();
    let event = receiver.next().await.event();
    assert_eq!(event["api_version"], "2024-06-20");
    assert!(event["data"]["object"]["current_period_end"].is_i64());
}

#[tokio::test]
async fn events_nothing_happened_for_can_be_made_up() {
    let (_emulator, api) = start(options()).await;
    let mut receiver = Receiver::start().await;
    let (_, secret) = receiver.register(&api, &["*"]).await;
    let odd = json!({
        "type": "brand.new", "data": { "object": { "id": "x", "object": "novelty" } }, "livemode": true,
        "api_version": "2031-01-01.future",
    });
    api.control("events", json!({ "event": odd })).await;
    let event = receiver.next().await.event();
    assert_eq!((&event["type"], &event["livemode"]), (&json!("brand.new"), &json!(true)));
    assert_eq!(event["api_version"], "2031-01-01.future");
    api.get(&format!("/v1/events/{}", event["id"].as_str().unwrap())).await.ok();
    api.control("events", json!({ "raw": [1, 2] })).await;
    let hook = receiver.next().await;
    crate::webhooks::verified_at(&hook, &secret);
    assert_eq!(hook.event(), json!([1, 2]));
    for bad in [json!({}), json!({ "event": { "type": "x" } }), json!({ "event": {}, "raw": 1 })] {
        let reply = api.http.post(format!("{}/_emulator/events", api.base)).json(&bad).send().await.unwrap();
        assert_eq!(reply.status(), 400, "{bad}");
    }
}
