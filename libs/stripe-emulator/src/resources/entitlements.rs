//! Features, the products that carry them, and what a customer is entitled to while a subscription holds.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::kind::Kind;
use crate::listing::{self, PAGING};
use crate::metadata;
use crate::params::Params;
use crate::world::World;

pub(crate) fn create_feature(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    params.only(&["lookup_key", "metadata", "name"])?;
    let key = params.required("lookup_key")?;
    if world.newest_first(Kind::Feature).any(|feature| feature["lookup_key"] == key.as_str()) {
        let message = format!("A feature with lookup key `{key}` already exists.");
        return Err(ApiError::refused(Some("resource_already_exists"), message).at("lookup_key"));
    }
    let feature = json!({
        "id": world.id(Kind::Feature), "object": "entitlements.feature", "active": true, "livemode": false,
        "lookup_key": key, "metadata": metadata::merged(&json!({}), params)?, "name": params.required("name")?,
    });
    world.insert(Kind::Feature, feature.clone())?;
    Ok(feature)
}

pub(crate) fn retrieve_feature(world: &World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::Feature, id).cloned()
}

pub(crate) fn update_feature(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["active", "metadata", "name"])?;
    let mut changed = retrieve_feature(world, id)?;
    if let Some(active) = params.boolean("active")? {
        changed["active"] = json!(active);
    }
    if let Some(name) = params.text("name")? {
        changed["name"] = json!(name);
    }
    changed["metadata"] = metadata::merged(&changed["metadata"], params)?;
    world.modify(Kind::Feature, id, |feature| *feature = changed).map(|(_, feature)| feature)
}

pub(crate) fn list_features(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&[&PAGING[..], &["archived", "lookup_key"]].concat())?;
    let archived = params.boolean("archived")?.unwrap_or(false);
    let key = listing::equals(params, "lookup_key")?;
    listing::page(world, Kind::Feature, "/v1/entitlements/features", params, |feature| {
        feature["active"] == json!(!archived) && key(feature)
    })
}

/// Gives a product a feature: whoever subscribes to one of its prices is entitled to it.
///
/// # Errors
/// 400 when the feature does not exist or the product has it, 404 when there is no such product.
pub(crate) fn attach(world: &mut World, product: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["entitlement_feature"])?;
    world.get(Kind::Product, product)?;
    let id = params.required("entitlement_feature")?;
    let feature = world.referenced(Kind::Feature, &id, "entitlement_feature")?.clone();
    if features_of(world, product).any(|kept| kept["entitlement_feature"]["id"] == id.as_str()) {
        let message = "This feature is already attached to the product.";
        return Err(ApiError::refused(Some("resource_already_exists"), message).at("entitlement_feature"));
    }
    let attached = json!({
        "id": world.id(Kind::ProductFeature), "object": "product_feature", "entitlement_feature": feature,
        "livemode": false, "_product": product,
    });
    world.insert(Kind::ProductFeature, attached.clone())?;
    refresh_all(world);
    Ok(attached)
}

pub(crate) fn attached(world: &World, product: &str, id: &str) -> Result<Value, ApiError> {
    let found = world.get(Kind::ProductFeature, id)?;
    if found["_product"] == product { Ok(found.clone()) } else { Err(ApiError::missing("product_feature", id)) }
}

pub(crate) fn detach(world: &mut World, product: &str, id: &str) -> Result<Value, ApiError> {
    attached(world, product, id)?;
    world.remove(Kind::ProductFeature, id);
    refresh_all(world);
    Ok(json!({ "id": id, "object": "product_feature", "deleted": true }))
}

pub(crate) fn list_attached(world: &World, product: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&PAGING)?;
    world.get(Kind::Product, product)?;
    let url = format!("/v1/products/{product}/features");
    listing::page(world, Kind::ProductFeature, &url, params, |feature| feature["_product"] == product)
}

pub(crate) fn retrieve_active(world: &World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::ActiveEntitlement, id).cloned()
}

pub(crate) fn list_active(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&[&PAGING[..], &["customer"]].concat())?;
    let customer = params.required("customer")?;
    world.referenced(Kind::Customer, &customer, "customer")?;
    listing::page(world, Kind::ActiveEntitlement, "/v1/entitlements/active_entitlements", params, |entitlement| {
        entitlement["_customer"] == customer.as_str()
    })
}

/// Recomputes what the customer of a changed subscription is entitled to, and says so when it differs.
pub(crate) fn refresh(world: &mut World, subscription: &Value) {
    if let Some(customer) = subscription["customer"].as_str() {
        let customer = customer.to_owned();
        refresh_customer(world, &customer);
    }
}

fn refresh_all(world: &mut World) {
    let customers: BTreeSet<String> = world
        .newest_first(Kind::Subscription)
        .filter_map(|subscription| subscription["customer"].as_str().map(str::to_owned))
        .collect();
    for customer in customers {
        refresh_customer(world, &customer);
    }
}

fn refresh_customer(world: &mut World, customer: &str) {
    if world.newest_first(Kind::ProductFeature).next().is_none() && entitlements_of(world, customer).is_empty() {
        return;
    }
    let wanted = wanted(world, customer);
    let before = entitlements_of(world, customer);
    let gone: Vec<String> = before
        .iter()
        .filter(|kept| !wanted.iter().any(|feature| kept["feature"] == feature["id"]))
        .filter_map(|kept| kept["id"].as_str().map(str::to_owned))
        .collect();
    let new: Vec<&Value> =
        wanted.iter().filter(|feature| before.iter().all(|kept| kept["feature"] != feature["id"])).collect();
    if gone.is_empty() && new.is_empty() {
        return;
    }
    for id in gone {
        world.remove(Kind::ActiveEntitlement, &id);
    }
    for feature in new {
        let entitlement = json!({
            "id": world.id(Kind::ActiveEntitlement), "object": "entitlements.active_entitlement",
            "_customer": customer, "feature": feature["id"], "livemode": false, "lookup_key": feature["lookup_key"],
        });
        if let Err(error) = world.insert(Kind::ActiveEntitlement, entitlement) {
            tracing::warn!(customer, error = %error.body(), "an entitlement is not kept");
        }
    }
    let mut previous = serde_json::Map::new();
    previous.insert("entitlements".to_owned(), list_of(customer, &before));
    let after = entitlements_of(world, customer);
    let summary = json!({
        "object": "entitlements.active_entitlement_summary", "customer": customer,
        "entitlements": list_of(customer, &after), "livemode": false,
    });
    world.emit("entitlements.active_entitlement_summary.updated", &summary, Some(previous));
}

/// The features of everything the customer subscribes to, each once. A subscription entitles while it is trialing,
/// active or past due.
fn wanted(world: &World, customer: &str) -> Vec<Value> {
    let holds = |subscription: &&Value| {
        subscription["customer"] == customer
            && matches!(subscription["status"].as_str(), Some("trialing" | "active" | "past_due"))
    };
    let mut wanted: Vec<Value> = Vec::new();
    for subscription in world.newest_first(Kind::Subscription).filter(holds) {
        for item in subscription["items"]["data"].as_array().into_iter().flatten() {
            for carried in features_of(world, item["price"]["product"].as_str().unwrap_or_default()) {
                let feature = &carried["entitlement_feature"];
                if wanted.iter().all(|known| known["id"] != feature["id"]) {
                    wanted.push(feature.clone());
                }
            }
        }
    }
    wanted
}

fn features_of<'a>(world: &'a World, product: &'a str) -> impl Iterator<Item = &'a Value> {
    world.newest_first(Kind::ProductFeature).filter(move |feature| feature["_product"] == product)
}

fn entitlements_of(world: &World, customer: &str) -> Vec<Value> {
    let mine = |entitlement: &&Value| entitlement["_customer"] == customer;
    world.newest_first(Kind::ActiveEntitlement).filter(mine).cloned().collect()
}

fn list_of(customer: &str, entitlements: &[Value]) -> Value {
    json!({
        "object": "list", "data": entitlements, "has_more": false,
        "url": format!("/v1/customer/{customer}/entitlements"),
    })
}
