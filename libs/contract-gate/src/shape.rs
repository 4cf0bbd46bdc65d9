//! A JSON Schema (draft 2020-12, as schemars writes it) as a list of shapes a value may have.
//!
//! `$ref`, `allOf`, `oneOf` and `anyOf` are folded away one level at a time, so recursive types are fine. Each
//! alternative has a key by which two schemas are compared: its JSON type, its literal, or a variant's tag.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

type Keywords = Map<String, Value>;

/// Deepest chain of `$ref`s and compositions followed before it counts as endless; ours have at most four.
const MAX_DEPTH: usize = 32;

/// Every shape a value may have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    /// Anything at all is fine (`serde_json::Value`).
    pub(crate) any: bool,
    /// The open enum's catch-all value (`x-unknown`).
    pub(crate) unknown: Option<String>,
    /// By key.
    pub(crate) alternatives: BTreeMap<Key, Shape>,
}

/// What makes two alternatives the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A constant, as JSON text.
    Literal(String),
    /// A JSON type.
    Type(&'static str),
    /// A tagged variant by its constants: `type=offer`.
    Tagged(String),
    /// An externally tagged variant by its only field.
    Wrapped(String),
    /// The n-th of several alternatives that can't be told apart.
    Numbered(String, usize),
}

/// One alternative with its rules.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Null,
    Boolean,
    Literal(Value),
    Text(Keywords),
    Number { integer: bool, rules: Keywords },
    Array(Keywords),
    Object(Object),
}

/// An object's rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object {
    pub(crate) properties: BTreeMap<String, Value>,
    pub(crate) required: BTreeSet<String>,
    pub(crate) rest: Rest,
    /// Keywords the gate can't judge.
    pub(crate) other: Keywords,
}

/// What happens to fields that are not named.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Rest {
    /// A reader ignores them.
    #[default]
    Ignored,
    /// A reader refuses the object.
    Refused,
    /// A map: each has this schema.
    Typed(Value),
}

const ANNOTATIONS: &[&str] =
    &["$schema", "$defs", "$id", "$comment", "title", "description", "examples", "default", "deprecated"];

/// The shapes that `schema` allows; `root` is the document that its `$ref`s point into.
pub(crate) fn choice(root: &Value, schema: &Value) -> Choice {
    let mut flat = Flat { root, unknown: None };
    let bodies = flat.flatten(schema, MAX_DEPTH);
    let mut choice = Choice { unknown: flat.unknown, ..Choice::default() };
    for (body, in_one_of) in bodies {
        add(&mut choice, &body, in_one_of);
    }
    choice
}

struct Flat<'a> {
    root: &'a Value,
    unknown: Option<String>,
}

impl Flat<'_> {
    // Each alternative's keywords without compositions, and whether it came out of a `oneOf` (then its tag counts).
    fn flatten(&mut self, schema: &Value, depth: usize) -> Vec<(Keywords, bool)> {
        let schema = match schema {
            Value::Object(schema) if depth > 0 => schema,
            Value::Bool(false) => return Vec::new(),
            _ => return vec![(Keywords::new(), false)],
        };
        if schema.get("not").is_some_and(|not| not.as_object().is_some_and(Map::is_empty)) {
            return Vec::new();
        }
        if let Some(Value::String(unknown)) = schema.get("x-unknown") {
            self.unknown = Some(unknown.clone());
        }
        let mut own = schema.clone();
        own.retain(|key, _| {
            !ANNOTATIONS.contains(&key.as_str())
                && !["$ref", "allOf", "oneOf", "anyOf"].contains(&key.as_str())
                && !key.starts_with("x-")
        });
        let mut bodies = vec![(own, false)];
        let referred =
            schema.get("$ref").and_then(Value::as_str).and_then(|path| self.root.pointer(path.strip_prefix('#')?));
        for part in referred.into_iter().chain(schema.get("allOf").and_then(Value::as_array).into_iter().flatten()) {
            bodies = cross(bodies, &self.flatten(part, depth - 1));
        }
        for (keyword, one_of) in [("oneOf", true), ("anyOf", false)] {
            let Some(members) = schema.get(keyword).and_then(Value::as_array) else { continue };
            let mut list = Vec::new();
            for member in members {
                list.extend(self.flatten(member, depth - 1).into_iter().map(|(body, inner)| (body, inner || one_of)));
            }
            bodies = cross(bodies, &list);
        }
        bodies
    }
}

fn cross(left: Vec<(Keywords, bool)>, right: &[(Keywords, bool)]) -> Vec<(Keywords, bool)> {
    let pair = |(a, tag_a): &(Keywords, bool), (b, tag_b): &(Keywords, bool)| (merged(a, b), *tag_a || *tag_b);
    left.iter().flat_map(|a| right.iter().map(move |b| pair(a, b))).collect()
}

// Both hold. Properties and required fields add up; elsewhere the first one's keyword stands.
fn merged(a: &Keywords, b: &Keywords) -> Keywords {
    let mut all = a.clone();
    for (key, value) in b {
        match (key.as_str(), all.get_mut(key), value) {
            (_, None, value) => {
                all.insert(key.clone(), value.clone());
            }
            ("properties", Some(Value::Object(mine)), Value::Object(theirs)) => {
                for (name, schema) in theirs {
                    mine.entry(name).or_insert_with(|| schema.clone());
                }
            }
            ("required", Some(Value::Array(mine)), Value::Array(theirs)) => mine.extend(theirs.iter().cloned()),
            _ => {}
        }
    }
    all
}

fn add(choice: &mut Choice, body: &Keywords, in_one_of: bool) {
    let literals: Vec<Value> = match (body.get("const"), body.get("enum")) {
        (Some(constant), _) => vec![constant.clone()],
        (None, Some(Value::Array(values))) => values.clone(),
        _ => Vec::new(),
    };
    if !literals.is_empty() {
        for literal in literals {
            choice.alternatives.insert(Key::Literal(literal.to_string()), Shape::Literal(literal));
        }
        return;
    }
    let types: Vec<&str> = match body.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ if body.contains_key("properties") || body.contains_key("required") => vec!["object"],
        _ => {
            choice.any = true;
            return;
        }
    };
    for name in types {
        let (key, shape) = match name {
            "null" => (Key::Type("null"), Shape::Null),
            "boolean" => (Key::Type("boolean"), Shape::Boolean),
            "integer" | "number" => {
                (Key::Type("number"), Shape::Number { integer: name == "integer", rules: rules(body) })
            }
            "array" => (Key::Type("array"), Shape::Array(rules(body))),
            "object" => {
                let object = object(body);
                (if in_one_of { tag(&object) } else { Key::Type("object") }, Shape::Object(object))
            }
            _ => (Key::Type("string"), Shape::Text(rules(body))),
        };
        let taken = choice.alternatives.contains_key(&key);
        let key = if taken { Key::Numbered(name.to_owned(), choice.alternatives.len()) } else { key };
        choice.alternatives.insert(key, shape);
    }
}

fn rules(body: &Keywords) -> Keywords {
    body.iter().filter(|(key, _)| *key != "type").map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn object(body: &Keywords) -> Object {
    let mut object = Object::default();
    for (key, value) in body {
        match (key.as_str(), value) {
            ("type", _) => {}
            ("properties", Value::Object(properties)) => {
                object.properties = properties.iter().map(|(name, schema)| (name.clone(), schema.clone())).collect();
            }
            ("required", Value::Array(names)) => {
                object.required = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            }
            ("additionalProperties" | "unevaluatedProperties", schema) => {
                object.rest = match schema {
                    Value::Bool(true) => Rest::Ignored,
                    Value::Bool(false) => Rest::Refused,
                    schema => Rest::Typed(schema.clone()),
                };
            }
            _ => {
                object.other.insert(key.clone(), value.clone());
            }
        }
    }
    object
}

fn tag(object: &Object) -> Key {
    let constants = tags(object);
    if !constants.is_empty() {
        let words = constants.iter().map(|(name, value)| format!("{name}={value}"));
        return Key::Tagged(words.collect::<Vec<_>>().join(","));
    }
    match (object.properties.keys().next(), object.properties.len(), &object.rest) {
        (Some(only), 1, Rest::Refused) => Key::Wrapped(only.clone()),
        _ => Key::Type("object"),
    }
}

/// An object's constant fields, which tell its variant.
pub(crate) fn tags(object: &Object) -> Vec<(String, String)> {
    let constant = |(name, schema): (&String, &Value)| {
        let value = schema.get("const")?;
        Some((name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
    };
    object.properties.iter().filter_map(constant).collect()
}

impl std::fmt::Display for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Literal(text) | Self::Tagged(text) | Self::Wrapped(text) => write!(out, "{text}"),
            Self::Type(name) => write!(out, "{name}"),
            Self::Numbered(name, number) => write!(out, "{name} #{number}"),
        }
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.any {
            return write!(out, "anything");
        }
        let keys: Vec<String> = self.alternatives.keys().map(Key::to_string).collect();
        write!(out, "{}", if keys.is_empty() { "nothing".to_owned() } else { keys.join(" or ") })
    }
}
