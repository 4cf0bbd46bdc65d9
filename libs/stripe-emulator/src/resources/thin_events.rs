use serde_json::Value;

use crate::world::World;

pub(crate) fn announce(_world: &mut World, _event: &Value) {}
