//! One file per resource of the API: create, retrieve, update, delete, list, and the object's shape.

pub(crate) mod billing;
pub(crate) mod customers;
pub(crate) mod events;
pub(crate) mod invoices;
pub(crate) mod payment_intents;
pub(crate) mod payment_methods;
mod periods;
pub(crate) mod prices;
pub(crate) mod products;
pub(crate) mod subscription_changes;
mod subscription_items;
pub(crate) mod subscriptions;
pub(crate) mod webhook_endpoints;

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::params::Params;

/// Sets the text fields that were sent; an empty one becomes null.
fn set_texts(object: &mut Value, params: &Params, fields: &[&str]) -> Result<(), ApiError> {
    for field in fields {
        if params.has(field) {
            object[*field] = json!(params.text(field)?);
        }
    }
    Ok(())
}
