use std::time::Duration;

use clock::ManualClock;
use serde_json::{Value, json};
use stripe_emulator::{Options, StripeEmulator};

use crate::support::{Api, manual, options, start};

struct Shop {
    _emulator: StripeEmulator,
    api: Api,
    hand: ManualClock,
    customer: String,
    subscription: String,
    item: String,
    big: String,
}

impl Shop {
    /// A customer half way through a period of the demo price (900), and a bigger price (1,900).
    async fn half_way() -> Self {
        let (clock, hand) = manual();
        let (emulator, api) = start(Options { clock, ..options() }).await;
        let form = [
            ("currency", "eur"),
            ("unit_amount", "1900"),
            ("recurring[interval]", "month"),
            ("product_data[name]", "Big"),
        ];
        let big = api.post("/v1/prices", &form).await.ok()["id"].as_str().unwrap().to_owned();
        let card = "pm_card_visa";
        let form = [("payment_method", card), ("invoice_settings[default_payment_method]", card)];
        let customer = api.post("/v1/customers", &form).await.ok()["id"].as_str().unwrap().to_owned();
        let made = api.subscribe(&customer, &[]).await.ok();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let item = &made["items"]["data"][0];
        let (start_s, end_s) = (&item["current_period_start"], &item["current_period_end"]);
        let half_s = (end_s.as_u64().unwrap() - start_s.as_u64().unwrap()) / 2;
        hand.advance(Duration::from_secs(half_s));
        let (subscription, item) = (text(&made["id"]), text(&item["id"]));
        Self { _emulator: emulator, api, hand, customer, subscription, item, big }
    }

    async fn change(&self, price: &str, more: &[(&str, &str)]) -> crate::support::Reply {
        let mut form = vec![("items[0][id]", self.item.as_str()), ("items[0][price]", price)];
        form.extend_from_slice(more);
        self.api.post(&format!("/v1/subscriptions/{}", self.subscription), &form).await
    }

    async fn latest_invoice(&self) -> Value {
        let path = format!("/v1/subscriptions/{}?expand[]=latest_invoice", self.subscription);
        self.api.get(&path).await.ok()["latest_invoice"].clone()
    }

    async fn balance(&self) -> Value {
        self.api.get(&format!("/v1/customers/{}", self.customer)).await.ok()["balance"].clone()
    }

    fn renew(&self) {
        self.hand.advance(Duration::from_secs(20 * 86_400));
    }
}

fn amounts(invoice: &Value) -> Vec<i64> {
    invoice["lines"]["data"].as_array().unwrap().iter().map(|line| line["amount"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn a_change_is_charged_at_once_when_asked() {
    let shop = Shop::half_way().await;
    shop.change(&shop.big, &[("proration_behavior", "always_invoice")]).await.ok();
    let invoice = shop.latest_invoice().await;
    assert_eq!((&invoice["billing_reason"], &invoice["status"]), (&json!("subscription_update"), &json!("paid")));
    assert_eq!((amounts(&invoice), &invoice["amount_paid"]), (vec![-450, 950], &json!(500)));
    let line = &invoice["lines"]["data"][0];
    assert_eq!(line["parent"]["invoice_item_details"]["proration"], true);
    let old = shop.api.at("2024-06-20").get(&format!("/v1/invoices/{}", invoice["id"].as_str().unwrap())).await.ok();
    assert_eq!(old["lines"]["data"][0]["proration"], true);
}

#[tokio::test]
async fn a_change_waits_for_the_next_invoice_by_default() {
    let shop = Shop::half_way().await;
    let before = shop.latest_invoice().await;
    let changed = shop.change(&shop.big, &[]).await.ok();
    assert!(changed.get("_pending").is_none());
    assert_eq!(shop.latest_invoice().await, before);
    shop.renew();
    let invoice = shop.latest_invoice().await;
    assert_eq!((amounts(&invoice), &invoice["amount_paid"]), (vec![-450, 950, 1_900], &json!(2_400)));
}

#[tokio::test]
async fn nothing_is_prorated_when_told_so() {
    let shop = Shop::half_way().await;
    shop.change(&shop.big, &[("proration_behavior", "none")]).await.ok();
    shop.renew();
    assert_eq!(amounts(&shop.latest_invoice().await), [1_900]);
}

#[tokio::test]
async fn what_is_owed_back_becomes_credit_and_is_used() {
    let shop = Shop::half_way().await;
    shop.change(&shop.big, &[("proration_behavior", "none")]).await.ok();
    shop.change("price_demo", &[("proration_behavior", "always_invoice")]).await.ok();
    let invoice = shop.latest_invoice().await;
    assert_eq!((amounts(&invoice), &invoice["total"]), (vec![-950, 450], &json!(-500)));
    assert_eq!((&invoice["status"], &invoice["amount_due"]), (&json!("paid"), &json!(0)));
    assert_eq!(shop.balance().await, -500);
    shop.renew();
    let invoice = shop.latest_invoice().await;
    assert_eq!((&invoice["total"], &invoice["amount_paid"]), (&json!(900), &json!(400)));
    assert_eq!((&invoice["starting_balance"], &invoice["ending_balance"]), (&json!(-500), &json!(0)));
    assert_eq!(shop.balance().await, 0);
}

#[tokio::test]
async fn a_strict_change_with_a_bad_card_changes_nothing() {
    let shop = Shop::half_way().await;
    let path = "/v1/payment_methods/pm_card_chargeCustomerFail/attach";
    let bad = shop.api.post(path, &[("customer", shop.customer.as_str())]).await.ok();
    let form = [("invoice_settings[default_payment_method]", bad["id"].as_str().unwrap())];
    shop.api.post(&format!("/v1/customers/{}", shop.customer), &form).await.ok();
    let strict = [("proration_behavior", "always_invoice"), ("payment_behavior", "error_if_incomplete")];
    assert_eq!(shop.change(&shop.big, &strict).await.refused(402)["code"], "card_declined");
    let kept = shop.api.get(&format!("/v1/subscriptions/{}", shop.subscription)).await.ok();
    assert_eq!(kept["items"]["data"][0]["price"]["id"], "price_demo");
    shop.change(&shop.big, &[("proration_behavior", "always_invoice")]).await.ok();
    assert_eq!(shop.api.status_of(&shop.subscription).await, "past_due");
    assert_eq!(
        shop.change(&shop.big, &[("payment_behavior", "pending_if_incomplete")]).await.refused(400)["param"],
        "payment_behavior"
    );
}
