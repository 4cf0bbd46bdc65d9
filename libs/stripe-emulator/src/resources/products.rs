use serde_json::{Value, json};

use crate::error::ApiError;
use crate::kind::Kind;
use crate::listing::{self, PAGING};
use crate::metadata;
use crate::params::Params;
use crate::world::World;

pub(crate) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    params.only(&["id", "name", "active", "description", "metadata", "type", "unit_label", "url"])?;
    let id = params.text("id")?.unwrap_or_else(|| world.id(Kind::Product));
    let mut product = object(&id, &params.required("name")?, world.now_s());
    apply(&mut product, params)?;
    world.insert(Kind::Product, product.clone())?;
    world.emit("product.created", &product, None);
    Ok(product)
}

pub(crate) fn retrieve(world: &World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::Product, id).cloned()
}

pub(crate) fn update(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["name", "active", "description", "metadata", "unit_label", "url"])?;
    let mut changed = retrieve(world, id)?;
    apply(&mut changed, params)?;
    changed["updated"] = json!(world.now_s());
    world.change(Kind::Product, id, "product.updated", |product| *product = changed)
}

pub(crate) fn delete(world: &mut World, id: &str) -> Result<Value, ApiError> {
    let product = retrieve(world, id)?;
    if world.newest_first(Kind::Price).any(|price| price["product"] == id) {
        let message = "This product cannot be deleted because it has one or more user-created prices.";
        return Err(ApiError::refused(None, message));
    }
    world.remove(Kind::Product, id);
    world.emit("product.deleted", &product, None);
    Ok(json!({ "id": id, "object": "product", "deleted": true }))
}

pub(crate) fn list(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&[&PAGING[..], &["active"]].concat())?;
    let active = listing::is(params, "active")?;
    listing::page(world, Kind::Product, "/v1/products", params, active)
}

pub(crate) fn object(id: &str, name: &str, now_s: i64) -> Value {
    json!({
        "id": id,
        "object": "product",
        "active": true,
        "created": now_s,
        "default_price": null,
        "description": null,
        "images": [],
        "livemode": false,
        "marketing_features": [],
        "metadata": {},
        "name": name,
        "package_dimensions": null,
        "shippable": null,
        "statement_descriptor": null,
        "tax_code": null,
        "tax_details": null,
        "type": "service",
        "unit_label": null,
        "updated": now_s,
        "url": null,
    })
}

fn apply(product: &mut Value, params: &Params) -> Result<(), ApiError> {
    if let Some(name) = params.text("name")? {
        product["name"] = json!(name);
    }
    if let Some(active) = params.boolean("active")? {
        product["active"] = json!(active);
    }
    super::set_texts(product, params, &["description", "unit_label", "url"])?;
    product["metadata"] = metadata::merged(&product["metadata"], params)?;
    Ok(())
}
