use serde_json::Value;

use crate::call::Call;
use crate::error::ApiError;
use crate::params::Params;
use crate::resources::{
    checkout_sessions, customers, entitlements, event_destinations, events, invoices, payment_intents, payment_methods,
    portal, prices, products, subscription_changes, subscriptions, test_clocks, thin_events, webhook_endpoints,
};
use crate::world::World;

/// What a request names: up to two ids of its path, and its parameters.
struct Named<'a> {
    id: &'a str,
    second: &'a str,
    params: &'a Params,
}

/// An endpoint: method, path with `{}` where an id stands, and what it does. A new one is a line in a table and a
/// function in `resources`.
type Route = (&'static str, &'static str, fn(&mut World, &Named<'_>) -> Result<Value, ApiError>);

const CATALOGUE: &[Route] = &[
    ("POST", "/v1/products", |w, c| products::create(w, c.params)),
    ("GET", "/v1/products", |w, c| products::list(w, c.params)),
    ("GET", "/v1/products/{}", |w, c| products::retrieve(w, c.id)),
    ("POST", "/v1/products/{}", |w, c| products::update(w, c.id, c.params)),
    ("DELETE", "/v1/products/{}", |w, c| products::delete(w, c.id)),
    ("POST", "/v1/prices", |w, c| prices::create(w, c.params)),
    ("GET", "/v1/prices", |w, c| prices::list(w, c.params)),
    ("GET", "/v1/prices/{}", |w, c| prices::retrieve(w, c.id)),
    ("POST", "/v1/prices/{}", |w, c| prices::update(w, c.id, c.params)),
    ("POST", "/v1/entitlements/features", |w, c| entitlements::create_feature(w, c.params)),
    ("GET", "/v1/entitlements/features", |w, c| entitlements::list_features(w, c.params)),
    ("GET", "/v1/entitlements/features/{}", |w, c| entitlements::retrieve_feature(w, c.id)),
    ("POST", "/v1/entitlements/features/{}", |w, c| entitlements::update_feature(w, c.id, c.params)),
    ("GET", "/v1/entitlements/active_entitlements", |w, c| entitlements::list_active(w, c.params)),
    ("GET", "/v1/entitlements/active_entitlements/{}", |w, c| entitlements::retrieve_active(w, c.id)),
    ("POST", "/v1/products/{}/features", |w, c| entitlements::attach(w, c.id, c.params)),
    ("GET", "/v1/products/{}/features", |w, c| entitlements::list_attached(w, c.id, c.params)),
    ("GET", "/v1/products/{}/features/{}", |w, c| entitlements::attached(w, c.id, c.second)),
    ("DELETE", "/v1/products/{}/features/{}", |w, c| entitlements::detach(w, c.id, c.second)),
];

const CUSTOMERS: &[Route] = &[
    ("POST", "/v1/customers", |w, c| customers::create(w, c.params)),
    ("GET", "/v1/customers", |w, c| customers::list(w, c.params)),
    ("GET", "/v1/customers/{}", |w, c| customers::retrieve(w, c.id)),
    ("POST", "/v1/customers/{}", |w, c| customers::update(w, c.id, c.params)),
    ("DELETE", "/v1/customers/{}", |w, c| customers::delete(w, c.id)),
    ("GET", "/v1/customers/{}/payment_methods", |w, c| payment_methods::list_of_customer(w, c.id, c.params)),
    ("POST", "/v1/payment_methods", |w, c| payment_methods::create(w, c.params)),
    ("GET", "/v1/payment_methods", |w, c| payment_methods::list(w, c.params)),
    ("GET", "/v1/payment_methods/{}", |w, c| payment_methods::retrieve(w, c.id)),
    ("POST", "/v1/payment_methods/{}/attach", |w, c| payment_methods::attach(w, c.id, c.params)),
    ("POST", "/v1/payment_methods/{}/detach", |w, c| payment_methods::detach(w, c.id)),
];

const BILLING: &[Route] = &[
    ("POST", "/v1/subscriptions", |w, c| subscriptions::create(w, c.params)),
    ("GET", "/v1/subscriptions", |w, c| subscriptions::list(w, c.params)),
    ("GET", "/v1/subscriptions/{}", |w, c| subscriptions::retrieve(w, c.id)),
    ("POST", "/v1/subscriptions/{}", |w, c| subscription_changes::update(w, c.id, c.params)),
    ("DELETE", "/v1/subscriptions/{}", |w, c| subscription_changes::cancel(w, c.id, c.params)),
    ("POST", "/v1/subscriptions/{}/resume", |w, c| subscription_changes::resume(w, c.id, c.params)),
    ("GET", "/v1/invoices", |w, c| invoices::list(w, c.params)),
    ("GET", "/v1/invoices/{}", |w, c| invoices::retrieve(w, c.id)),
    ("POST", "/v1/invoices/{}", |w, c| invoices::update(w, c.id, c.params)),
    ("POST", "/v1/invoices/{}/finalize", |w, c| invoices::finalize(w, c.id, c.params)),
    ("POST", "/v1/invoices/{}/void", |w, c| invoices::void(w, c.id)),
    ("POST", "/v1/invoices/{}/pay", |w, c| invoices::pay(w, c.id, c.params)),
    ("GET", "/v1/payment_intents", |w, c| payment_intents::list(w, c.params)),
    ("GET", "/v1/payment_intents/{}", |w, c| payment_intents::retrieve(w, c.id)),
    ("POST", "/v1/payment_intents/{}/confirm", |w, c| payment_intents::confirm(w, c.id, c.params)),
];

const HOSTED: &[Route] = &[
    ("POST", "/v1/checkout/sessions", |w, c| checkout_sessions::create(w, c.params)),
    ("GET", "/v1/checkout/sessions", |w, c| checkout_sessions::list(w, c.params)),
    ("GET", "/v1/checkout/sessions/{}", |w, c| checkout_sessions::retrieve(w, c.id)),
    ("POST", "/v1/checkout/sessions/{}", |w, c| checkout_sessions::update(w, c.id, c.params)),
    ("POST", "/v1/checkout/sessions/{}/expire", |w, c| checkout_sessions::expire(w, c.id)),
    ("GET", "/v1/checkout/sessions/{}/line_items", |w, c| checkout_sessions::line_items_of(w, c.id, c.params)),
    ("POST", "/v1/billing_portal/sessions", |w, c| portal::create_session(w, c.params)),
    ("POST", "/v1/billing_portal/configurations", |w, c| portal::create_configuration(w, c.params)),
    ("GET", "/v1/billing_portal/configurations", |w, c| portal::list_configurations(w, c.params)),
    ("GET", "/v1/billing_portal/configurations/{}", |w, c| portal::retrieve_configuration(w, c.id)),
    ("POST", "/v1/billing_portal/configurations/{}", |w, c| portal::update_configuration(w, c.id, c.params)),
];

const TIME: &[Route] = &[
    ("POST", "/v1/test_helpers/test_clocks", |w, c| test_clocks::create(w, c.params)),
    ("GET", "/v1/test_helpers/test_clocks", |w, c| test_clocks::list(w, c.params)),
    ("GET", "/v1/test_helpers/test_clocks/{}", |w, c| test_clocks::retrieve(w, c.id)),
    ("POST", "/v1/test_helpers/test_clocks/{}/advance", |w, c| test_clocks::advance(w, c.id, c.params)),
    ("DELETE", "/v1/test_helpers/test_clocks/{}", |w, c| test_clocks::delete(w, c.id)),
];

const EVENTS: &[Route] = &[
    ("GET", "/v1/events", |w, c| events::list(w, c.params)),
    ("GET", "/v1/events/{}", |w, c| events::retrieve(w, c.id)),
    ("POST", "/v1/webhook_endpoints", |w, c| webhook_endpoints::create(w, c.params)),
    ("GET", "/v1/webhook_endpoints", |w, c| webhook_endpoints::list(w, c.params)),
    ("GET", "/v1/webhook_endpoints/{}", |w, c| webhook_endpoints::retrieve(w, c.id)),
    ("POST", "/v1/webhook_endpoints/{}", |w, c| webhook_endpoints::update(w, c.id, c.params)),
    ("DELETE", "/v1/webhook_endpoints/{}", |w, c| webhook_endpoints::delete(w, c.id)),
];

const SECOND_API: &[Route] = &[
    ("POST", "/v2/core/event_destinations", |w, c| event_destinations::create(w, c.params)),
    ("GET", "/v2/core/event_destinations", |w, c| event_destinations::list(w, c.params)),
    ("GET", "/v2/core/event_destinations/{}", |w, c| event_destinations::retrieve(w, c.id, c.params)),
    ("POST", "/v2/core/event_destinations/{}", |w, c| event_destinations::update(w, c.id, c.params)),
    ("DELETE", "/v2/core/event_destinations/{}", |w, c| event_destinations::delete(w, c.id)),
    ("POST", "/v2/core/event_destinations/{}/disable", |w, c| event_destinations::switch(w, c.id, false)),
    ("POST", "/v2/core/event_destinations/{}/enable", |w, c| event_destinations::switch(w, c.id, true)),
    ("POST", "/v2/core/event_destinations/{}/ping", |w, c| event_destinations::ping(w, c.id)),
    ("GET", "/v2/core/events", |w, c| thin_events::list(w, c.params)),
    ("GET", "/v2/core/events/{}", |w, c| thin_events::retrieve(w, c.id)),
];

/// Finds the endpoint for a call and runs it.
///
/// # Errors
/// Whatever the endpoint refuses; 404 when there is none.
pub(crate) fn route(world: &mut World, call: &Call) -> Result<Value, ApiError> {
    let tables = [CATALOGUE, CUSTOMERS, BILLING, HOSTED, EVENTS, TIME, SECOND_API];
    for (method, path, run) in tables.into_iter().flatten() {
        if *method == call.method
            && let Some([id, second]) = ids(path, &call.path)
        {
            return run(world, &Named { id, second, params: &call.params });
        }
    }
    Err(ApiError::unknown_url(&call.method, &call.path))
}

/// The ids in `path` when it has the form of `pattern`; those the pattern does not have are empty.
fn ids<'a>(pattern: &str, path: &'a str) -> Option<[&'a str; 2]> {
    let mut ids = [""; 2];
    let mut found = 0;
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(ids),
            (Some("{}"), Some(id)) if !id.is_empty() => {
                *ids.get_mut(found)? = id;
                found += 1;
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_fits_its_pattern_and_no_other() {
        assert_eq!(ids("/v1/a/{}/b/{}", "/v1/a/x/b/y"), Some(["x", "y"]));
        assert_eq!(ids("/v1/a", "/v1/a"), Some(["", ""]));
        for other in ["/v1/a/", "/v1/a//b/y", "/v1/a/x", "/v1/a/x/b/y/z", "/v2/a/x/b/y"] {
            assert_eq!(ids("/v1/a/{}/b/{}", other), None, "{other}");
        }
    }
}
