use serde_json::{Value, json};
use synapsed::development::PRICE;
use testkit::eventually;

use crate::child::{Child, PATIENCE, folder};

struct Welcome {
    api: String,
    admin: String,
    token: String,
}

fn serve(folder: &std::path::Path) -> (Child, Welcome) {
    let mut child = Child::start(folder, &["serve"], &[]);
    child.until_printed("Ctrl-C stops.");
    let welcome = Welcome { api: child.told("API "), admin: child.told("health "), token: child.told("export TOKEN=") };
    (child, welcome)
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn subscription(welcome: &Welcome, id: &str, token: &str) -> (u16, Value) {
    let url = format!("{}/v1/subscriptions/{id}", welcome.api);
    let response = client().get(url).bearer_auth(token).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn buy(welcome: &Welcome) -> String {
    let order = json!({"price_id": PRICE, "payment_method_id": "pm_card_visa"});
    let request = client().post(format!("{}/v1/subscriptions", welcome.api)).bearer_auth(&welcome.token);
    let response = request.header("idempotency-key", "first").json(&order).send().await.unwrap();
    assert_eq!(response.status(), 201);
    let created: Value = response.json().await.unwrap();
    created["subscription_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_was_bought_survives_a_kill_and_so_do_the_tokens() {
    let folder = folder();
    let (mut first, welcome) = serve(folder.path());
    let id = buy(&welcome).await;
    eventually(PATIENCE, "the subscription to be active", async || {
        let (_, view) = subscription(&welcome, &id, &welcome.token).await;
        if view["status"] == "active" { Ok(()) } else { Err(view.to_string()) }
    })
    .await;
    first.kill();

    let (mut second, again) = serve(folder.path());
    // The token of before the kill: the secret is the same.
    let (status, view) = subscription(&again, &id, &welcome.token).await;
    assert_eq!((status, &view["status"], &view["subscription_id"]), (200, &"active".into(), &id.as_str().into()));
    assert_eq!(subscription(&again, &id, "not.a.token").await.0, 401);
    second.signal("TERM");
    assert_eq!(second.wait(PATIENCE).code(), Some(0), "{}", second.everything());
    assert!(second.printed().contains("stopped; the data stays in"), "{}", second.everything());
}

#[tokio::test]
async fn it_says_where_it_is_ready_and_ends_at_ctrl_c() {
    let folder = folder();
    let (mut child, welcome) = serve(folder.path());
    let ready = client().get(&welcome.admin).send().await.unwrap();
    assert_eq!((ready.status().as_u16(), welcome.admin.ends_with("/readyz")), (200, true));
    let metrics = client().get(welcome.admin.replace("readyz", "metrics")).send().await.unwrap();
    assert!(metrics.text().await.unwrap().contains("process_resident_memory_bytes"));
    let peers = client().get(format!("{}/v1/peers", welcome.api)).bearer_auth(&welcome.token).send().await.unwrap();
    assert_eq!(peers.status(), 200);
    // Secrets are for their owner alone.
    let secrets = std::fs::metadata(folder.path().join("data/development.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&secrets.permissions()) & 0o777, 0o600);
    child.signal("INT");
    assert_eq!(child.wait(PATIENCE).code(), Some(0), "{}", child.everything());
}
