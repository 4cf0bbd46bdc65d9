//! Events as Stripe sends them.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

/// The endpoint's secret.
pub(crate) const SECRET: &str = "whsec_bench_0123456789abcdefghijklmnopqrstuv";
/// An event with one subscription item in today's API version.
pub(crate) const EVENT_BYTES: usize = 4_700;

/// A change of our subscription of this number, indented as Stripe writes it, 4.7 KB long.
pub(crate) fn event(number: usize, subscription: usize) -> String {
    let id = format!("sub_1PgafmB7WZ01zgkW{subscription:08}");
    let price = json!({
        "id": "price_1MoBy5LkdIwHu7ixZhnattbh", "object": "price", "active": true, "billing_scheme": "per_unit",
        "created": 1_679_431_181, "currency": "eur", "custom_unit_amount": null, "livemode": false, "lookup_key": null,
        "metadata": {}, "nickname": "Team, monthly", "product": "prod_NZKdYqrwEYx6iK",
        "recurring": {"interval": "month", "interval_count": 1, "meter": null, "trial_period_days": null, "usage_type": "licensed"},
        "tax_behavior": "exclusive", "tiers_mode": null, "transform_quantity": null, "type": "recurring",
        "unit_amount": 1_900, "unit_amount_decimal": "1900",
    });
    let item = json!({
        "id": "si_NcLYdDxLHxlFo7", "object": "subscription_item", "created": 1_680_126_546, "discounts": [],
        "current_period_end": 1_792_592_000, "current_period_start": 1_790_000_000, "metadata": {}, "price": price,
        "quantity": 5, "subscription": id, "tax_rates": [], "billing_thresholds": null,
    });
    let items =
        json!({"object": "list", "data": [item], "has_more": false, "total_count": 1, "url": "/v1/subscription_items"});
    let mut object = json!({
        "id": id, "object": "subscription", "application": null, "application_fee_percent": null,
        "automatic_tax": {"enabled": false, "liability": null}, "billing_cycle_anchor": 1_679_609_767,
        "cancel_at": null, "cancel_at_period_end": false, "canceled_at": null, "days_until_due": null,
        "collection_method": "charge_automatically", "created": 1_679_609_767, "currency": "eur", "discounts": [],
        "customer": format!("cus_NffrFeUf{subscription:08}"), "default_payment_method": "pm_1MqM05LkdIwHu7ixlDxxO6Mc",
        "ended_at": null, "latest_invoice": "in_1MtHbELkdIwHu7ixl4OzzPMv", "livemode": false, "status": "active",
    });
    object["items"] = items;
    object["metadata"] = json!({"synapse_tenant": "acme", "synapse_subscription": format!("s-{subscription:08}")});
    object["payment_settings"] = json!({"payment_method_types": null, "save_default_payment_method": "off"});
    object["trial_settings"] = json!({"end_behavior": {"missing_payment_method": "create_invoice"}});
    let mut event = json!({
        "id": format!("evt_1NG8Du2eZvKYlo2C{number:08}"), "object": "event", "api_version": "2025-03-31.basil",
        "created": 1_790_000_000, "livemode": false, "pending_webhooks": 1, "type": "customer.subscription.updated",
        "request": {"id": "req_7Yc5UP1F1lmVeX", "idempotency_key": "8e2e0bb0-6c43-4ae2-8a6e-d4a5e1bd3a6e"},
        "data": {"object": object, "previous_attributes": {"status": "past_due"}},
    });
    let length = |event: &Value| serde_json::to_string_pretty(event).map_or(0, |text| text.len());
    event["data"]["object"]["description"] = Value::String(String::new());
    let missing = EVENT_BYTES.saturating_sub(length(&event));
    event["data"]["object"]["description"] = Value::String("x".repeat(missing));
    serde_json::to_string_pretty(&event).unwrap_or_default()
}

/// The header that Stripe would send with it.
pub(crate) fn header(body: &str, now_s: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, format!("{now_s}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={now_s},v1={hex}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_as_long_as_said_and_its_signature_good() {
        let body = event(7, 3);
        assert_eq!(body.len(), EVENT_BYTES);
        let verifier = webhook::Verifier::try_new(service::config::Secret::new(SECRET), 300).unwrap();
        verifier.verify(header(&body, 1_000).as_bytes(), body.as_bytes(), 1_000_000).unwrap();
        webhook::Event::parse(body.as_bytes()).unwrap();
    }
}
