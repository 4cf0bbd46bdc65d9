//! One file per resource of the API: create, retrieve, update, delete, list, and the object's shape.

pub(crate) mod billing;
pub(crate) mod checkout_sessions;
pub(crate) mod customers;
pub(crate) mod entitlements;
pub(crate) mod event_destinations;
pub(crate) mod events;
mod invoice_lines;
pub(crate) mod invoices;
pub(crate) mod payment_intents;
pub(crate) mod payment_methods;
mod periods;
pub(crate) mod portal;
pub(crate) mod prices;
pub(crate) mod products;
pub(crate) mod renewals;
pub(crate) mod subscription_changes;
mod subscription_items;
pub(crate) mod subscriptions;
pub(crate) mod test_clocks;
pub(crate) mod thin_events;
pub(crate) mod webhook_endpoints;

use serde_json::{Value, json};
use url::Url;

use crate::error::ApiError;
use crate::params::Params;

/// Refuses what a browser can't be sent to.
fn web_url(text: &str, param: &str) -> Result<(), ApiError> {
    // Checkout's placeholder is no valid URL character, and Stripe takes it all the same.
    let plain = text.replace("{CHECKOUT_SESSION_ID}", "id");
    match Url::parse(&plain) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(()),
        _ => {
            let message = "Invalid URL: An explicit scheme (such as https) must be provided.";
            Err(ApiError::parameter(Some("url_invalid"), param, message))
        }
    }
}

/// Sets the text fields that were sent; an empty one becomes null.
fn set_texts(object: &mut Value, params: &Params, fields: &[&str]) -> Result<(), ApiError> {
    for field in fields {
        if params.has(field) {
            object[*field] = json!(params.text(field)?);
        }
    }
    Ok(())
}
