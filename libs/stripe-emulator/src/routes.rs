use serde_json::Value;

use crate::call::Call;
use crate::error::ApiError;
use crate::resources::{
    checkout_sessions, customers, entitlements, events, invoices, payment_intents, payment_methods, portal, prices,
    products, subscription_changes, subscriptions, webhook_endpoints,
};
use crate::world::World;

/// Finds the endpoint for a call and runs it. A new endpoint is a line here and a function in `resources`.
///
/// # Errors
/// Whatever the endpoint refuses; 404 when there is none.
pub(crate) fn route(world: &mut World, call: &Call) -> Result<Value, ApiError> {
    let p = &call.params;
    let segments: Vec<&str> = call.path.split('/').skip(1).collect();
    match (call.method.as_str(), segments.as_slice()) {
        ("POST", ["v1", "products"]) => products::create(world, p),
        ("GET", ["v1", "products"]) => products::list(world, p),
        ("GET", ["v1", "products", id]) => products::retrieve(world, id),
        ("POST", ["v1", "products", id]) => products::update(world, id, p),
        ("DELETE", ["v1", "products", id]) => products::delete(world, id),

        ("POST", ["v1", "prices"]) => prices::create(world, p),
        ("GET", ["v1", "prices"]) => prices::list(world, p),
        ("GET", ["v1", "prices", id]) => prices::retrieve(world, id),
        ("POST", ["v1", "prices", id]) => prices::update(world, id, p),

        ("POST", ["v1", "customers"]) => customers::create(world, p),
        ("GET", ["v1", "customers"]) => customers::list(world, p),
        ("GET", ["v1", "customers", id]) => customers::retrieve(world, id),
        ("POST", ["v1", "customers", id]) => customers::update(world, id, p),
        ("DELETE", ["v1", "customers", id]) => customers::delete(world, id),
        ("GET", ["v1", "customers", id, "payment_methods"]) => payment_methods::list_of_customer(world, id, p),

        ("POST", ["v1", "payment_methods"]) => payment_methods::create(world, p),
        ("GET", ["v1", "payment_methods"]) => payment_methods::list(world, p),
        ("GET", ["v1", "payment_methods", id]) => payment_methods::retrieve(world, id),
        ("POST", ["v1", "payment_methods", id, "attach"]) => payment_methods::attach(world, id, p),
        ("POST", ["v1", "payment_methods", id, "detach"]) => payment_methods::detach(world, id),

        ("POST", ["v1", "subscriptions"]) => subscriptions::create(world, p),
        ("GET", ["v1", "subscriptions"]) => subscriptions::list(world, p),
        ("GET", ["v1", "subscriptions", id]) => subscriptions::retrieve(world, id),
        ("POST", ["v1", "subscriptions", id]) => subscription_changes::update(world, id, p),
        ("DELETE", ["v1", "subscriptions", id]) => subscription_changes::cancel(world, id, p),
        ("POST", ["v1", "subscriptions", id, "resume"]) => subscription_changes::resume(world, id, p),

        ("GET", ["v1", "invoices"]) => invoices::list(world, p),
        ("GET", ["v1", "invoices", id]) => invoices::retrieve(world, id),
        ("POST", ["v1", "invoices", id, "pay"]) => invoices::pay(world, id, p),

        ("GET", ["v1", "payment_intents"]) => payment_intents::list(world, p),
        ("GET", ["v1", "payment_intents", id]) => payment_intents::retrieve(world, id),
        ("POST", ["v1", "payment_intents", id, "confirm"]) => payment_intents::confirm(world, id, p),

        ("POST", ["v1", "checkout", "sessions"]) => checkout_sessions::create(world, p),
        ("GET", ["v1", "checkout", "sessions"]) => checkout_sessions::list(world, p),
        ("GET", ["v1", "checkout", "sessions", id]) => checkout_sessions::retrieve(world, id),
        ("POST", ["v1", "checkout", "sessions", id]) => checkout_sessions::update(world, id, p),
        ("POST", ["v1", "checkout", "sessions", id, "expire"]) => checkout_sessions::expire(world, id),
        ("GET", ["v1", "checkout", "sessions", id, "line_items"]) => checkout_sessions::line_items_of(world, id, p),

        ("POST", ["v1", "billing_portal", "sessions"]) => portal::create_session(world, p),
        ("POST", ["v1", "billing_portal", "configurations"]) => portal::create_configuration(world, p),
        ("GET", ["v1", "billing_portal", "configurations"]) => portal::list_configurations(world, p),
        ("GET", ["v1", "billing_portal", "configurations", id]) => portal::retrieve_configuration(world, id),
        ("POST", ["v1", "billing_portal", "configurations", id]) => portal::update_configuration(world, id, p),

        ("POST", ["v1", "entitlements", "features"]) => entitlements::create_feature(world, p),
        ("GET", ["v1", "entitlements", "features"]) => entitlements::list_features(world, p),
        ("GET", ["v1", "entitlements", "features", id]) => entitlements::retrieve_feature(world, id),
        ("POST", ["v1", "entitlements", "features", id]) => entitlements::update_feature(world, id, p),
        ("GET", ["v1", "entitlements", "active_entitlements"]) => entitlements::list_active(world, p),
        ("GET", ["v1", "entitlements", "active_entitlements", id]) => entitlements::retrieve_active(world, id),
        ("POST", ["v1", "products", id, "features"]) => entitlements::attach(world, id, p),
        ("GET", ["v1", "products", id, "features"]) => entitlements::list_attached(world, id, p),
        ("GET", ["v1", "products", id, "features", feature]) => entitlements::attached(world, id, feature),
        ("DELETE", ["v1", "products", id, "features", feature]) => entitlements::detach(world, id, feature),

        ("GET", ["v1", "events"]) => events::list(world, p),
        ("GET", ["v1", "events", id]) => events::retrieve(world, id),

        ("POST", ["v1", "webhook_endpoints"]) => webhook_endpoints::create(world, p),
        ("GET", ["v1", "webhook_endpoints"]) => webhook_endpoints::list(world, p),
        ("GET", ["v1", "webhook_endpoints", id]) => webhook_endpoints::retrieve(world, id),
        ("POST", ["v1", "webhook_endpoints", id]) => webhook_endpoints::update(world, id, p),
        ("DELETE", ["v1", "webhook_endpoints", id]) => webhook_endpoints::delete(world, id),

        _ => Err(ApiError::unknown_url(&call.method, &call.path)),
    }
}
