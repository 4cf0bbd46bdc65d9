//! API versions. Objects are kept with the fields of every version; rendering takes away what a version does not have.

use serde_json::{Map, Value};

/// The version that moved billing periods to items and payments off invoices.
/// Source: Stripe's changelog, 2025-03-31.basil.
const BASIL: &str = "2025-03-31";

/// A dated API version such as `2024-06-20` or `2025-11-17.clover`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiVersion(String);

impl ApiVersion {
    /// Reads a version; `None` when it is not `YYYY-MM-DD` with an optional `.name`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (date, name) = text.split_once('.').unwrap_or((text, "x"));
        let digits = |range: std::ops::Range<usize>| date.as_bytes()[range].iter().all(u8::is_ascii_digit);
        let dated = date.len() == 10
            && date.is_ascii()
            && digits(0..4)
            && digits(5..7)
            && digits(8..10)
            && date.as_bytes()[4] == b'-'
            && date.as_bytes()[7] == b'-';
        let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
        (dated && named && text.len() <= 40).then(|| Self(text.to_owned()))
    }

    /// The version as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether objects have the shapes of 2025-03-31.basil and later.
    pub(crate) fn is_basil(&self) -> bool {
        self.0.as_str() >= BASIL
    }

    /// Takes away, at every depth, the fields this version's objects do not have.
    pub(crate) fn shape(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.shape(item)),
            Value::Object(fields) => {
                self.prune(fields);
                fields.iter_mut().filter(|(name, _)| *name != "metadata").for_each(|(_, field)| self.shape(field));
            }
            _ => {}
        }
    }

    // Source: Stripe's changelog, 2026-03-25.dahlia: checkout's modes have other names.
    fn rename(&self, fields: &mut Map<String, Value>) {
        let dahlia = self.0.as_str() >= "2026-03-25";
        if let Some(mode) = fields.get_mut("ui_mode").filter(|_| dahlia) {
            let renamed = match mode.as_str() {
                Some("hosted") => "hosted_page",
                Some("embedded") => "embedded_page",
                _ => return,
            };
            *mode = renamed.into();
        }
    }

    /// Whether this version's objects of that kind have the field.
    pub(crate) fn has(&self, object: &str, field: &str) -> bool {
        !self.gone(object).contains(&field)
    }

    fn gone(&self, object: &str) -> &'static [&'static str] {
        let (before, since) = only_in(object);
        if self.is_basil() { before } else { since }
    }

    fn prune(&self, fields: &mut Map<String, Value>) {
        let gone = match fields.get("object").and_then(Value::as_str) {
            Some("event") => return self.prune_previous(fields),
            Some("checkout.session") => {
                self.rename(fields);
                self.gone("checkout.session")
            }
            Some(object) => self.gone(object),
            None => return,
        };
        fields.retain(|name, _| !gone.contains(&name.as_str()));
        for (outer, inner) in gone.iter().filter_map(|path| path.split_once('.')) {
            if let Some(Value::Object(part)) = fields.get_mut(outer) {
                part.remove(inner);
            }
        }
    }

    // An event's previous attributes are a part of its object without the `object` field that names their kind.
    fn prune_previous(&self, event: &mut Map<String, Value>) {
        let Some(data) = event.get_mut("data").and_then(Value::as_object_mut) else { return };
        let object = data.get("object").and_then(|object| object["object"].as_str()).unwrap_or_default();
        let gone = self.gone(object);
        if let Some(previous) = data.get_mut("previous_attributes").and_then(Value::as_object_mut) {
            previous.retain(|name, _| !gone.contains(&name.as_str()));
        }
    }
}

/// Fields an object has only before basil, and only since; `outer.inner` names one of a part.
fn only_in(object: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match object {
        "subscription" => {
            (&["current_period_start", "current_period_end", "discount"], &["billing_mode", "customer_account"])
        }
        "subscription_item" => (&[], &["current_period_start", "current_period_end"]),
        "invoice" => (
            &[
                "application_fee_amount",
                "charge",
                "discount",
                "paid",
                "paid_out_of_band",
                "payment_intent",
                "quote",
                "subscription",
                "subscription_details",
                "tax",
                "total_tax_amounts",
                "transfer_data",
            ],
            &["amount_overpaid", "confirmation_secret", "customer_account", "parent", "payments", "total_taxes"],
        ),
        "line_item" => (
            &[
                "amount_excluding_tax",
                "invoice_item",
                "plan",
                "price",
                "proration",
                "proration_details",
                "subscription_item",
                "tax_amounts",
                "tax_rates",
                "type",
                "unit_amount_excluding_tax",
            ],
            &["parent", "pricing", "taxes", "subtotal"],
        ),
        "payment_intent" => (&["invoice"], &["customer_account"]),
        "checkout.session" => (&["shipping_details"], &["customer_account"]),
        "billing_portal.session" => (&[], &["customer_account"]),
        "price" => (&["recurring.aggregate_usage"], &[]),
        "plan" => (&["aggregate_usage"], &[]),
        "payment_method" | "customer" => (&[], &["customer_account"]),
        _ => (&[], &[]),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_dated_versions_are_accepted() {
        for good in ["2020-08-27", "2025-03-31.basil", "2026-09-30.endive"] {
            assert!(ApiVersion::parse(good).is_some(), "{good}");
        }
        for bad in ["", "latest", "2025-3-31", "2025-03-31.", "2025-03-31.Basil", "2025/03/31", "é025-03-31"] {
            assert!(ApiVersion::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_day_of_basil_is_basil() {
        assert!(ApiVersion::parse("2025-03-31.basil").unwrap().is_basil());
        assert!(!ApiVersion::parse("2025-02-24.acacia").unwrap().is_basil());
    }

    #[test]
    fn previous_attributes_follow_their_object() {
        let mut event = json!({"object": "event", "data": {
            "object": {"object": "subscription", "current_period_end": 2},
            "previous_attributes": {"current_period_end": 1, "status": "incomplete"}}});
        ApiVersion::parse("2025-11-17.clover").unwrap().shape(&mut event);
        assert_eq!(
            event["data"],
            json!({"object": {"object": "subscription"}, "previous_attributes": {"status": "incomplete"}})
        );
    }
}
