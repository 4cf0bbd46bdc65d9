use std::time::Duration;

use serde_json::Value;
use stripe_emulator::Options;

use crate::support::{START_MS, manual, options, start};

fn ids(list: &Value) -> Vec<String> {
    list["data"].as_array().unwrap().iter().map(|object| object["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn lists_page_forwards_and_backwards() {
    let (_emulator, api) = start(options()).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(api.customer().await);
    }
    made.reverse();
    let first = api.get("/v1/customers?limit=2").await.ok();
    assert_eq!(first["object"], "list");
    assert_eq!(first["url"], "/v1/customers");
    assert_eq!(first["has_more"], true);
    assert_eq!(ids(&first), made[..2]);
    let second = api.get(&format!("/v1/customers?limit=2&starting_after={}", made[1])).await.ok();
    assert_eq!(ids(&second), made[2..4]);
    let last = api.get(&format!("/v1/customers?limit=2&starting_after={}", made[3])).await.ok();
    assert_eq!((ids(&last), &last["has_more"]), (made[4..].to_vec(), &false.into()));
    let back = api.get(&format!("/v1/customers?limit=2&ending_before={}", made[3])).await.ok();
    assert_eq!((ids(&back), &back["has_more"]), (made[1..3].to_vec(), &true.into()));
    for bad in ["limit=0", "limit=101", "limit=x", "starting_after=cus_none", "starting_after=a&ending_before=b"] {
        api.get(&format!("/v1/customers?{bad}")).await.refused(400);
    }
}

#[tokio::test]
async fn subscriptions_are_found_by_customer_status_price_and_time() {
    let (clock, hand) = manual();
    let (_emulator, api) = start(Options { clock, ..options() }).await;
    let (anna, berta) = (api.customer().await, api.customer().await);
    let early = api.subscribe(&anna, &[]).await.ok()["id"].as_str().unwrap().to_owned();
    hand.advance(Duration::from_secs(100));
    let late = api.subscribe(&berta, &[]).await.ok()["id"].as_str().unwrap().to_owned();
    let ended = api.subscribe(&anna, &[("metadata[op_id]", "7")]).await.ok()["id"].as_str().unwrap().to_owned();
    api.delete(&format!("/v1/subscriptions/{ended}")).await.ok();
    let middle = START_MS / 1_000 + 50;
    for (query, expected) in [
        (String::new(), vec![&late, &early]),
        ("status=all".to_owned(), vec![&ended, &late, &early]),
        ("status=canceled".to_owned(), vec![&ended]),
        ("status=ended".to_owned(), vec![&ended]),
        ("status=active".to_owned(), vec![&late, &early]),
        (format!("customer={anna}"), vec![&early]),
        (format!("customer={anna}&status=all&limit=1"), vec![&ended]),
        (format!("created[gte]={middle}"), vec![&late]),
        (format!("created[lt]={middle}"), vec![&early]),
        (format!("created={}", START_MS / 1_000), vec![&early]),
        ("price=price_demo".to_owned(), vec![&late, &early]),
        ("price=price_other".to_owned(), vec![]),
    ] {
        let found = api.get(&format!("/v1/subscriptions?{query}")).await.ok();
        assert_eq!(ids(&found).iter().collect::<Vec<_>>(), expected, "{query}");
    }
    api.get("/v1/subscriptions?status=odd").await.refused(400);
}

#[tokio::test]
async fn customers_are_found_by_email_and_events_by_type() {
    let (_emulator, api) = start(options()).await;
    let customer = api.customer().await;
    api.post("/v1/customers", &[("email", "b@example.org")]).await.ok();
    let found = api.get("/v1/customers?email=a%40example.org").await.ok();
    assert_eq!(ids(&found), [customer.as_str()]);
    api.subscribe(&customer, &[]).await.ok();
    let paid = api.get("/v1/events?type=invoice.paid").await.ok();
    assert_eq!(ids(&paid).len(), 1);
    let group = api.get("/v1/events?type=customer.subscription.*").await.ok();
    assert_eq!(ids(&group).len(), 2);
    let several = api.get("/v1/events?types[]=invoice.paid&types[]=customer.created").await.ok();
    assert_eq!(ids(&several).len(), 3);
    let id = &ids(&paid)[0];
    assert_eq!(api.get(&format!("/v1/events/{id}")).await.ok()["type"], "invoice.paid");
    let invoices = api.get(&format!("/v1/invoices?customer={customer}&status=paid")).await.ok();
    assert_eq!(ids(&invoices).len(), 1);
}
