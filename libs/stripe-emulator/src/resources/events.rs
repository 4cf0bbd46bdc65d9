use serde_json::Value;

use crate::announce::matches;
use crate::error::ApiError;
use crate::kind::Kind;
use crate::listing::{self, PAGING};
use crate::params::Params;
use crate::world::World;

pub(crate) fn retrieve(world: &World, id: &str) -> Result<Value, ApiError> {
    as_recorded(world, world.get(Kind::Event, id)?.clone())
}

pub(crate) fn list(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&[&PAGING[..], &["type", "types"]].concat())?;
    let one = params.text("type")?;
    let many = params.texts("types")?;
    if one.is_some() && !many.is_empty() {
        return Err(ApiError::parameter(None, "types", "You may specify either type or types, not both."));
    }
    let wanted: Vec<String> = one.into_iter().chain(many).collect();
    let page = listing::page(world, Kind::Event, "/v1/events", params, |event| {
        let event_type = event["type"].as_str().unwrap_or_default();
        wanted.is_empty() || wanted.iter().any(|pattern| matches(pattern, event_type))
    })?;
    as_recorded(world, page)
}

/// Events keep the account's API version whatever version the reader asks for, as at Stripe.
fn as_recorded(world: &World, mut value: Value) -> Result<Value, ApiError> {
    world.version.shape(&mut value);
    Ok(value)
}
