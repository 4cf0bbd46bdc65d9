//! Schemas put into words: summaries, type names, field tables. Shared by the page and the AsyncAPI document.

use serde_json::Value;

/// A schema's description with its line breaks folded.
pub(super) fn description(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first sentence of a description.
pub(super) fn summary(schema: &Value) -> String {
    let text = description(schema);
    text.split_once(". ").map_or(text.clone(), |(first, _)| format!("{first}."))
}

/// A type in a few words: `text`, `list of PeerView`, `whole number ≥ 0`, `"a" or "b"`.
pub(super) fn type_name(schema: &Value) -> String {
    if let Some(path) = schema["$ref"].as_str() {
        return path.rsplit('/').next().unwrap_or_default().to_owned();
    }
    if let Some(constant) = schema.get("const") {
        return constant.to_string();
    }
    for keyword in ["oneOf", "anyOf"] {
        if let Some(members) = schema[keyword].as_array() {
            let names: Vec<String> = members.iter().map(type_name).filter(|name| name != "null").collect();
            return names.join(" or ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(Value::to_string).collect::<Vec<_>>().join(" or ");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return "anything".into(),
    };
    let plain = types.into_iter().find(|name| *name != "null").unwrap_or("null");
    match plain {
        "string" => schema["pattern"]
            .as_str()
            .map_or("text".into(), |pattern| format!("text, `{}`", pattern.replace('|', "\\|"))),
        "integer" => {
            schema["format"].as_str().map_or("whole number".into(), |format| format!("whole number ({format})"))
        }
        "number" => "number".into(),
        "boolean" => "true or false".into(),
        "array" => format!("list of {}", type_name(&schema["items"])),
        "object" if schema.get("properties").is_none() => {
            format!("map to {}", type_name(&schema["additionalProperties"]))
        }
        other => other.to_owned(),
    }
}

/// One row per field: name, type, whether it is required, meaning.
pub(super) fn fields(schema: &Value) -> Vec<[String; 4]> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let row = |(name, field): (&String, &Value)| {
        let need = if required.contains(&name.as_str()) { "yes" } else { "" };
        [format!("`{name}`"), type_name(field), need.to_owned(), description(field).replace('|', "\\|")]
    };
    schema["properties"].as_object().into_iter().flatten().map(row).collect()
}
