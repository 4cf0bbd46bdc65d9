//! From a kept object to a response: the caller's version and `expand[]`.

use serde_json::Value;

use crate::error::ApiError;
use crate::version::ApiVersion;
use crate::world::World;

/// The deepest expansion Stripe allows.
const MAX_DEPTH: usize = 4;

/// Renders an object (or a list of them) for `version`, with the fields `expand` names.
///
/// # Errors
/// 400 when a field cannot be expanded or lies too deep.
pub(crate) fn render(
    world: &World,
    mut value: Value,
    version: &ApiVersion,
    expand: &[String],
) -> Result<Value, ApiError> {
    settle(&mut value, version);
    for path in expand {
        let segments: Vec<&str> = path.split('.').collect();
        let listed = usize::from(segments[0] == "data");
        if segments.len() - listed > MAX_DEPTH {
            let message = format!("You cannot expand more than {MAX_DEPTH} levels of a property. Property: {path}");
            return Err(ApiError::parameter(None, "expand", message));
        }
        expand_path(world, &mut value, &segments, version)?;
    }
    Ok(value)
}

/// Takes away the fields that are only there when expanded, and the emulator's own, whose names begin with `_`.
pub(crate) fn strip(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Object(fields) => {
            let hidden = fields.get("object").and_then(Value::as_str).map(includable).unwrap_or_default();
            let object = fields.contains_key("object");
            fields.retain(|name, _| !hidden.contains(&name.as_str()) && (!object || !name.starts_with('_')));
            fields.iter_mut().filter(|(name, _)| *name != "metadata").for_each(|(_, field)| strip(field));
        }
        _ => {}
    }
}

fn settle(value: &mut Value, version: &ApiVersion) {
    strip(value);
    version.shape(value);
}

// Fields that come only when asked for.
fn includable(object: &str) -> &'static [&'static str] {
    match object {
        "invoice" => &["confirmation_secret", "payments"],
        "checkout.session" => &["line_items"],
        _ => &[],
    }
}

fn expandable(object: &str, field: &str) -> bool {
    match object {
        "subscription" => matches!(field, "customer" | "default_payment_method" | "latest_invoice"),
        "invoice" => matches!(field, "customer" | "default_payment_method" | "payment_intent" | "subscription"),
        "payment_intent" => matches!(field, "customer" | "payment_method" | "invoice"),
        "price" | "plan" => field == "product",
        "payment_method" => field == "customer",
        "checkout.session" => matches!(field, "customer" | "invoice" | "subscription"),
        "billing_portal.session" => field == "configuration",
        "entitlements.active_entitlement" => field == "feature",
        "product" => field == "default_price",
        "customer" => false,
        // Parts without a kind of their own: invoice_settings, parent, payment and so on.
        _ => matches!(field, "default_payment_method" | "payment_intent" | "subscription"),
    }
}

fn expand_path(world: &World, value: &mut Value, path: &[&str], version: &ApiVersion) -> Result<(), ApiError> {
    let Some((field, rest)) = path.split_first() else { return Ok(()) };
    if let Value::Array(items) = value {
        return items.iter_mut().try_for_each(|item| expand_path(world, item, path, version));
    }
    let refused = || {
        let message = format!("This property cannot be expanded ({field}).");
        ApiError::parameter(None, "expand", message)
    };
    let object = value["object"].as_str().unwrap_or_default().to_owned();
    if includable(&object).contains(field) && version.has(&object, field) && value.get(*field).is_none() {
        let kept = value["id"].as_str().and_then(|id| world.find_any(id));
        let mut part = kept.map(|whole| whole[*field].clone()).unwrap_or_default();
        settle(&mut part, version);
        value[*field] = part;
    }
    match value.get_mut(*field) {
        None => Err(refused()),
        Some(Value::Null) => Ok(()),
        Some(Value::String(id)) if expandable(&object, field) => {
            let Some(found) = world.find_any(id) else { return Ok(()) };
            let mut found = found.clone();
            settle(&mut found, version);
            expand_path(world, &mut found, rest, version)?;
            value[*field] = found;
            Ok(())
        }
        Some(inner @ (Value::Object(_) | Value::Array(_))) => expand_path(world, inner, rest, version),
        Some(_) => Err(refused()),
    }
}
