use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::params::Params;

/// Stripe's limits: 50 pairs, names of 40 characters, values of 500.
/// Source: Stripe's API reference, "Metadata".
const MAX_PAIRS: usize = 50;
const MAX_NAME_CHARS: usize = 40;
const MAX_VALUE_CHARS: usize = 500;

/// Merges the request's `metadata` into what an object has: an empty value removes a pair, an empty `metadata`
/// removes them all.
///
/// # Errors
/// 400 naming the pair that is over a limit.
pub(crate) fn merged(current: &Value, params: &Params) -> Result<Value, ApiError> {
    let mut pairs = current.as_object().cloned().unwrap_or_else(Map::new);
    if params.is_unset("metadata") {
        return Ok(Value::Object(Map::new()));
    }
    let sent = params.nested("metadata")?;
    for (name, value) in sent.entries() {
        let param = sent.name(name);
        let Some(text) = value.as_str() else {
            let message = "Metadata values must be strings, and metadata names cannot contain square brackets.";
            return Err(ApiError::parameter(None, param, message));
        };
        if name.chars().count() > MAX_NAME_CHARS || name.is_empty() {
            let message = format!("Metadata keys must have 1 to {MAX_NAME_CHARS} characters: '{name}'.");
            return Err(ApiError::parameter(None, param, message));
        }
        if text.chars().count() > MAX_VALUE_CHARS {
            let message = format!("Metadata values can have up to {MAX_VALUE_CHARS} characters, '{name}' has more.");
            return Err(ApiError::parameter(None, param, message));
        }
        if text.is_empty() {
            pairs.remove(name);
        } else {
            pairs.insert(name.clone(), value.clone());
        }
    }
    if pairs.len() > MAX_PAIRS {
        let message = format!("Metadata can have up to {MAX_PAIRS} keys, {} were given.", pairs.len());
        return Err(ApiError::parameter(None, "metadata", message));
    }
    Ok(Value::Object(pairs))
}
