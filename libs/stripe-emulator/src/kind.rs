/// The kinds of object kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Product,
    Price,
    Customer,
    PaymentMethod,
    Subscription,
    Invoice,
    PaymentIntent,
    Event,
    WebhookEndpoint,
    CheckoutSession,
    PortalSession,
    PortalConfiguration,
    Feature,
    ProductFeature,
    ActiveEntitlement,
    TestClock,
    EventDestination,
    ThinEvent,
}

/// Each kind with what Stripe's errors call it and what its ids begin with, in the order of the enum.
const KINDS: [(Kind, &str, &str); 18] = [
    (Kind::Product, "product", "prod"),
    (Kind::Price, "price", "price"),
    (Kind::Customer, "customer", "cus"),
    (Kind::PaymentMethod, "PaymentMethod", "pm"),
    (Kind::Subscription, "subscription", "sub"),
    (Kind::Invoice, "invoice", "in"),
    (Kind::PaymentIntent, "payment_intent", "pi"),
    (Kind::Event, "event", "evt"),
    (Kind::WebhookEndpoint, "webhook endpoint", "we"),
    (Kind::CheckoutSession, "checkout.session", "cs_test"),
    (Kind::PortalSession, "billing_portal.session", "bps"),
    (Kind::PortalConfiguration, "configuration", "bpc"),
    (Kind::Feature, "entitlements.feature", "feat_test"),
    (Kind::ProductFeature, "product_feature", "prodft_test"),
    (Kind::ActiveEntitlement, "entitlements.active_entitlement", "ent_test"),
    (Kind::TestClock, "test_helpers.test_clock", "clock"),
    (Kind::EventDestination, "event destination", "ed_test"),
    (Kind::ThinEvent, "event", "evt_test"),
];

impl Kind {
    /// Every kind, in the order of the enum.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|(kind, _, _)| *kind)
    }

    /// What Stripe's errors call it.
    pub(crate) fn noun(self) -> &'static str {
        KINDS[self as usize].1
    }

    /// What its ids begin with.
    pub(crate) fn prefix(self) -> &'static str {
        KINDS[self as usize].2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (at, kind) in Kind::all().enumerate() {
            assert_eq!(kind as usize, at, "{kind:?}");
        }
    }
}
