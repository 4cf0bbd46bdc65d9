//! `clients/typescript/src/contracts.ts`: types of every message, frame and HTTP body.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Result, ensure};
use contracts::{Class, Entry, frames, http, requests, split_kind};
use schemars::{JsonSchema, schema_for};
use serde_json::Value;

use super::prose::description;

const HEAD: &str = "// @generated from libs/contracts by `cargo xtask bless`; don't edit.
//
// Optional fields may be missing or null. An open enum (`| (string & {})`) may hold values newer than this file.
";

/// The whole module.
///
/// # Errors
/// Two types have one name.
pub(super) fn module(entries: &[Entry]) -> Result<String> {
    let mut types = BTreeMap::new();
    let mut kinds: BTreeMap<&str, Vec<(&str, String)>> = BTreeMap::new();
    for entry in entries {
        let schema = (entry.schema)().to_value();
        let name = type_name(entry)?;
        add(&mut types, &name, &schema)?;
        let map = match entry.class {
            Class::Event => "Events",
            Class::Request => "Requests",
            Class::Reply => "Replies",
            Class::Signal => "Signals",
        };
        kinds.entry(map).or_default().push((entry.kind, name));
    }
    for schema in [
        titled::<frames::ClientFrame>(),
        titled::<frames::ServerFrame>(),
        titled::<frames::AuthResult>(),
        titled::<http::Problem>(),
        titled::<http::CreateSubscription>(),
        titled::<http::VerifySubscription>(),
        titled::<http::TicketIssued>(),
        titled::<http::CreateApiKey>(),
        titled::<http::RotateApiKey>(),
        titled::<http::ApiKeyIssued>(),
        titled::<http::ApiKeyPage>(),
        titled::<requests::subscription::SubscriptionView>(),
        titled::<requests::subscription::ProofIssued>(),
        titled::<requests::presence::PeerPage>(),
    ] {
        let name = schema["title"].as_str().unwrap_or_default().to_owned();
        add(&mut types, &name, &schema)?;
    }
    let mut text = HEAD.to_owned();
    for (name, schema) in &types {
        text.push('\n');
        text.push_str(&declaration(name, schema));
    }
    for (map, mut rows) in kinds {
        rows.sort_unstable();
        write!(text, "\n/** {map} by kind. */\nexport interface {map} {{\n")?;
        for (kind, name) in rows {
            writeln!(text, "  \"{kind}\": {name};")?;
        }
        text.push_str("}\n");
    }
    Ok(text)
}

fn titled<T: JsonSchema>() -> Value {
    schema_for!(T).to_value()
}

// presence.peer_went_online.v1 → PresencePeerWentOnlineV1
fn type_name(entry: &Entry) -> Result<String> {
    let (owner, word, major) = split_kind(entry.kind)?;
    let pascal = |text: &str| {
        let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
        text.split('_').filter(|word| !word.is_empty()).map(capital).collect::<String>()
    };
    let reply = if entry.class == Class::Reply { "Reply" } else { "" };
    Ok(format!("{}{}V{major}{reply}", pascal(owner), pascal(word)))
}

fn add(types: &mut BTreeMap<String, Value>, name: &str, schema: &Value) -> Result<()> {
    let mut own = schema.clone();
    if let Value::Object(keywords) = &mut own {
        for keyword in ["$schema", "$defs", "title"] {
            keywords.remove(keyword);
        }
    }
    let definitions = schema["$defs"].as_object().into_iter().flatten();
    for (name, schema) in definitions.map(|(name, schema)| (name.as_str(), schema.clone())).chain([(name, own)]) {
        let other = types.insert(name.to_owned(), schema.clone());
        ensure!(other.is_none_or(|other| other == schema), "two different types are called `{name}`; rename one");
    }
    Ok(())
}

fn declaration(name: &str, schema: &Value) -> String {
    let comment = comment(schema, "");
    let plain_object = schema["properties"].is_object() && schema["oneOf"].is_null();
    if plain_object {
        return format!("{comment}export interface {name} {}\n", expression(schema, ""));
    }
    let text = expression(schema, "");
    let gap = if text.starts_with('\n') { "" } else { " " };
    format!("{comment}export type {name} ={gap}{text};\n")
}

fn comment(schema: &Value, indent: &str) -> String {
    let text = description(schema).replace("*/", "* /");
    if text.is_empty() { String::new() } else { format!("{indent}/** {text} */\n") }
}

fn expression(schema: &Value, indent: &str) -> String {
    if let Some(path) = schema["$ref"].as_str() {
        return path.rsplit('/').next().unwrap_or_default().to_owned();
    }
    if schema.get("not").is_some() {
        return "never".into();
    }
    if let Some(constant) = schema.get("const") {
        return constant.to_string();
    }
    if let Some(values) = schema["enum"].as_array() {
        return open(schema, values.iter().map(Value::to_string).collect(), "");
    }
    let union = ["oneOf", "anyOf"].iter().find_map(|keyword| schema[*keyword].as_array());
    if let Some(members) = union {
        let base = schema["properties"].is_object().then(|| object(schema, indent));
        let inner = format!("{indent}  ");
        let members: Vec<String> = members.iter().map(|member| expression(member, &inner)).collect();
        let wide = members.iter().any(|member| member.contains('\n'));
        let joined = open(schema, members, if wide { &inner } else { "" });
        return match base {
            Some(base) => format!("{base} & ({joined}\n{indent})"),
            None => joined,
        };
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return "unknown".into(),
    };
    types.into_iter().map(|name| primitive(name, schema, indent)).collect::<Vec<_>>().join(" | ")
}

fn open(schema: &Value, mut members: Vec<String>, indent: &str) -> String {
    // `string & {}` keeps the listed values in an editor's completion where plain `string` would swallow them.
    if schema.get("x-unknown").is_some() {
        members.push("(string & {})".into());
    }
    if indent.is_empty() {
        return members.join(" | ");
    }
    members.iter().map(|member| format!("\n{indent}| {member}")).collect()
}

fn primitive(name: &str, schema: &Value, indent: &str) -> String {
    match name {
        "integer" | "number" => "number".into(),
        "array" => {
            let items = expression(&schema["items"], indent);
            if items.contains(' ') { format!("Array<{items}>") } else { format!("{items}[]") }
        }
        "object" if schema.get("properties").is_some() => object(schema, indent),
        "object" => match &schema["additionalProperties"] {
            Value::Object(_) => format!("Record<string, {}>", expression(&schema["additionalProperties"], indent)),
            _ => "Record<string, never>".into(),
        },
        other => other.to_owned(),
    }
}

fn object(schema: &Value, indent: &str) -> String {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let inner = format!("{indent}  ");
    let mut text = "{\n".to_owned();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let mark = if required.contains(&name.as_str()) { "" } else { "?" };
        text.push_str(&comment(field, &inner));
        text.push_str(&format!("{inner}{name}{mark}: {};\n", expression(field, &inner)));
    }
    format!("{text}{indent}}}")
}
