//! A schema as a list of its fields, to tell in words what came and went.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Below this depth a recursive type is not followed.
const DEEP: usize = 8;

/// Each field with its type, and the values it may have where those are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) types: BTreeSet<String>,
    pub(super) values: BTreeSet<String>,
    pub(super) is_required: bool,
}

/// Every field by path (`peers[].status`, `metadata.*`).
pub(super) fn fields(schema: &Value) -> BTreeMap<String, Field> {
    let mut found = BTreeMap::new();
    walk(schema, schema, "", DEEP, &mut found);
    found
}

fn walk(root: &Value, schema: &Value, path: &str, depth: usize, found: &mut BTreeMap<String, Field>) {
    if depth == 0 {
        return;
    }
    if let Some(part) =
        schema["$ref"].as_str().and_then(|place| place.strip_prefix('#')).and_then(|place| root.pointer(place))
    {
        walk(root, part, path, depth - 1, found);
    }
    let own = found.entry(path.to_owned()).or_default();
    match &schema["type"] {
        Value::String(name) => drop(own.types.insert(name.clone())),
        Value::Array(names) => own.types.extend(names.iter().filter_map(Value::as_str).map(str::to_owned)),
        _ => {}
    }
    let listed = schema["enum"].as_array().into_iter().flatten().chain(schema.get("const"));
    own.values.extend(listed.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    for keyword in ["oneOf", "anyOf", "allOf"] {
        for member in schema[keyword].as_array().into_iter().flatten() {
            walk(root, member, path, depth - 1, found);
        }
    }
    let required: BTreeSet<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        walk(root, part, &inner, depth - 1, found);
        found.entry(inner).or_default().is_required |= required.contains(name.as_str());
    }
    if schema["items"].is_object() {
        walk(root, &schema["items"], &format!("{path}[]"), depth - 1, found);
    }
    if schema["additionalProperties"].is_object() {
        let inner = if path.is_empty() { "*".to_owned() } else { format!("{path}.*") };
        walk(root, &schema["additionalProperties"], &inner, depth - 1, found);
    }
}

/// What came and what went, in words; what the gate refuses is told by the gate.
pub(super) fn words(old: &Value, new: &Value) -> Vec<String> {
    let (old, new) = (fields(old), fields(new));
    let mut words = Vec::new();
    for (path, field) in new.iter().filter(|(path, _)| !old.contains_key(*path)) {
        let how = if field.is_required { "required" } else { "optional" };
        words.push(format!("adds the {how} field `{path}` ({})", types(field)));
    }
    for (path, field) in old.iter().filter(|(path, _)| !new.contains_key(*path)) {
        words.push(format!("drops the field `{path}` ({})", types(field)));
    }
    for (path, now) in &new {
        let Some(before) = old.get(path) else { continue };
        let place = if path.is_empty() { "the message itself".to_owned() } else { format!("`{path}`") };
        if before.types != now.types {
            words.push(format!("changes the type of {place} from {} to {}", types(before), types(now)));
        }
        if before.is_required != now.is_required {
            let how = if now.is_required { "required" } else { "optional" };
            words.push(format!("makes {place} {how}"));
        }
        let came: Vec<&String> = now.values.difference(&before.values).collect();
        let went: Vec<&String> = before.values.difference(&now.values).collect();
        for (verb, values) in [("adds to", came), ("takes from", went)] {
            if !values.is_empty() {
                let list: Vec<String> = values.into_iter().map(|value| format!("`{value}`")).collect();
                words.push(format!("{verb} the values of {place}: {}", list.join(", ")));
            }
        }
    }
    words
}

fn types(field: &Field) -> String {
    if field.types.is_empty() {
        return if field.values.is_empty() { "anything".to_owned() } else { "one of a list".to_owned() };
    }
    field.types.iter().cloned().collect::<Vec<_>>().join(" or ")
}
