use crate::support::{options, start};

const OLD: &str = "2024-06-20";
const NEW: &str = "2025-03-31.basil";

#[tokio::test]
async fn periods_move_to_the_items() {
    let (_emulator, api) = start(options()).await;
    let customer = api.customer().await;
    let id = api.subscribe(&customer, &[]).await.ok()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/subscriptions/{id}");
    let old = api.at(OLD).get(&path).await;
    assert_eq!(old.header("stripe-version"), OLD);
    let old = old.ok();
    assert!(old["current_period_end"].is_i64());
    assert!(old["items"]["data"][0].get("current_period_end").is_none());
    let new = api.at(NEW).get(&path).await.ok();
    assert!(new.get("current_period_end").is_none());
    assert_eq!(new["items"]["data"][0]["current_period_end"], old["current_period_end"]);
    let account = api.get(&path).await;
    assert_eq!(account.header("stripe-version"), "2025-11-17.clover");
    assert_eq!(account.ok(), new);
    let listed = api.at(OLD).get("/v1/subscriptions").await.ok();
    assert_eq!(listed["data"][0], old);
}

#[tokio::test]
async fn the_way_to_the_payment_differs() {
    let (_emulator, api) = start(options()).await;
    let customer = api.customer().await;
    let id = api.subscribe(&customer, &[("payment_behavior", "default_incomplete")]).await.ok()["id"].clone();
    let path = |field: &str| format!("/v1/subscriptions/{}?expand[]={field}", id.as_str().unwrap());

    let old = api.at(OLD).get(&path("latest_invoice.payment_intent")).await.ok();
    let intent = &old["latest_invoice"]["payment_intent"];
    assert_eq!(intent["object"], "payment_intent");
    assert_eq!(intent["invoice"], old["latest_invoice"]["id"]);
    assert_eq!(old["latest_invoice"]["subscription"], id);
    assert_eq!(old["latest_invoice"]["lines"]["data"][0]["price"]["id"], "price_demo");
    api.at(OLD).get(&path("latest_invoice.confirmation_secret")).await.refused(400);

    let new = api.at(NEW).get(&path("latest_invoice.confirmation_secret")).await.ok();
    let invoice = &new["latest_invoice"];
    assert_eq!(invoice["confirmation_secret"]["client_secret"], intent["client_secret"]);
    assert_eq!(invoice["parent"]["subscription_details"]["subscription"], id);
    assert_eq!(invoice["lines"]["data"][0]["pricing"]["price_details"]["price"], "price_demo");
    assert!(invoice.get("payment_intent").is_none() && invoice.get("payments").is_none());
    let error = api.at(NEW).get(&path("latest_invoice.payment_intent")).await.refused(400);
    assert_eq!(error["message"], "This property cannot be expanded (payment_intent).");
    let new = api.at(NEW).get(&path("latest_invoice.payments.data.payment.payment_intent")).await;
    new.refused(400);
    let invoice = invoice["id"].as_str().unwrap();
    let paid =
        api.at(NEW).get(&format!("/v1/invoices/{invoice}?expand[]=payments.data.payment.payment_intent")).await.ok();
    let payment = &paid["payments"]["data"][0];
    assert_eq!(payment["status"], "paid");
    assert_eq!(payment["payment"]["payment_intent"]["id"], intent["id"]);
}

#[tokio::test]
async fn references_expand_in_objects_and_lists() {
    let (_emulator, api) = start(options()).await;
    let customer = api.customer().await;
    api.subscribe(&customer, &[]).await.ok();
    let listed = api.get("/v1/subscriptions?expand[]=data.customer&expand[]=data.items.data.price.product").await.ok();
    assert_eq!(listed["data"][0]["customer"]["email"], "a@example.org");
    assert_eq!(listed["data"][0]["items"]["data"][0]["price"]["product"]["name"], "Demo");
    for bad in ["data.metadata", "data.nothing", "data.status", "data.a.b.c.d.e"] {
        let reply = api.get(&format!("/v1/subscriptions?expand[]={bad}")).await;
        if bad == "data.metadata" {
            // An object that is already whole.
            reply.ok();
        } else {
            reply.refused(400);
        }
    }
}
