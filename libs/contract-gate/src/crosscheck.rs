//! Holds the gate's verdict against real parsers: generated instances of each side are read by the other.

use std::fmt;

use serde_json::{Map, Value, json};

use super::instances::{EXTRA, Extras, Seeded, UNSEEN, instance};
use super::judge;
use super::rule::Direction;

/// Reads a value with a type and writes it again: what a reader of that type sees.
pub type Reparse = dyn Fn(&Value) -> Result<Value, String>;

/// A side that can be asked to read: today's type, or a committed schema whose type is history.
pub struct Subject<'a> {
    /// Its schema.
    pub schema: &'a Value,
    /// Reads with the type and writes again what it saw; `None` when only the schema is left.
    pub reparse: Option<&'a Reparse>,
}

/// The verdict says one thing and a parser another: the gate has a hole, or a schema does not describe its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disagreement {
    /// Who read.
    pub(crate) direction: Direction,
    /// What was read.
    pub(crate) instance: Value,
    /// What went wrong.
    pub(crate) what: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reader = match self.direction {
            Direction::Backward => "today's type reads yesterday's",
            Direction::Forward => "yesterday's reader reads today's",
            Direction::Meaning => "today's type drops a part of yesterday's",
        };
        write!(out, "{reader} {}: {}", self.instance, self.what)
    }
}

/// What reading each other's instances showed, `count` in each direction.
#[derive(Default)]
pub(crate) struct Observed {
    /// Failures of today's reader, of yesterday's reader, and losses.
    pub(crate) found: Vec<Disagreement>,
    /// Instances read backward and forward.
    pub(crate) read: (usize, usize),
}

impl Observed {
    pub(crate) fn any(&self, direction: Direction) -> bool {
        self.found.iter().any(|one| one.direction == direction)
    }
}

/// Reads `count` instances of each side with the other.
pub(crate) fn observe(old: &Subject<'_>, new: &Subject<'_>, count: u64) -> Result<Observed, String> {
    let mut observed = Observed::default();
    let validator = Validators::of(old, new)?;
    for seed in 0..count {
        if let Some(value) = instance(old.schema, &mut Seeded::new(seed), Extras::Tolerated) {
            observed.read.0 += 1;
            match read(new, validator.new.as_ref(), &value) {
                Err(what) => {
                    observed.found.push(Disagreement { direction: Direction::Backward, instance: value, what })
                }
                Ok(seen) => {
                    let meant = match old.reparse {
                        Some(reparse) => reparse(&value).ok(),
                        None => Some(value.clone()),
                    };
                    if let (Some(meant), Some(seen)) = (meant, seen)
                        && let Some(path) = lost(&meant, &seen, "$")
                    {
                        let what = format!("{path} was lost or changed");
                        observed.found.push(Disagreement { direction: Direction::Meaning, instance: value, what });
                    }
                }
            }
        }
        if let Some(value) = instance(new.schema, &mut Seeded::new(seed), Extras::None) {
            observed.read.1 += 1;
            if let Err(what) = read(old, validator.old.as_ref(), &value) {
                observed.found.push(Disagreement { direction: Direction::Forward, instance: value, what });
            }
        }
    }
    Ok(observed)
}

/// Fails with the first instance on which the verdict of [`judge`] and the readers disagree.
///
/// # Errors
/// A schema can't be used for validation, or the disagreement as a sentence.
pub fn crosscheck(old: &Subject<'_>, new: &Subject<'_>, count: u64) -> Result<(), String> {
    let verdict = judge(old.schema, new.schema);
    let observed = observe(old, new, count)?;
    let refused = |direction| verdict.iter().any(|violation| violation.direction == direction);
    let parses = [Direction::Backward, Direction::Forward];
    let unforeseen = observed.found.iter().find(|one| match one.direction {
        // A refused change may lose more than the rule that refused it.
        Direction::Meaning => verdict.is_empty(),
        direction => !refused(direction),
    });
    if let Some(one) = unforeseen {
        return Err(format!("the gate allows it, but {one}"));
    }
    if parses.into_iter().any(refused) && !parses.into_iter().any(|one| refused(one) && observed.any(one)) {
        let rules: Vec<String> = verdict.iter().map(ToString::to_string).collect();
        return Err(format!("the gate refuses it, but {count} instances were read well: {}", rules.join("; ")));
    }
    Ok(())
}

struct Validators {
    old: Option<jsonschema::Validator>,
    new: Option<jsonschema::Validator>,
}

impl Validators {
    fn of(old: &Subject<'_>, new: &Subject<'_>) -> Result<Self, String> {
        let validator = |side: &Subject<'_>| match side.reparse {
            Some(_) => Ok(None),
            None => jsonschema::validator_for(&reader_form(side.schema)).map(Some).map_err(|error| error.to_string()),
        };
        Ok(Self { old: validator(old)?, new: validator(new)? })
    }
}

fn read(side: &Subject<'_>, validator: Option<&jsonschema::Validator>, value: &Value) -> Result<Option<Value>, String> {
    match (side.reparse, validator) {
        (Some(reparse), _) => reparse(value).map(Some),
        (None, Some(validator)) => validator.validate(value).map(|()| None).map_err(|error| error.to_string()),
        (None, None) => Ok(None),
    }
}

/// What a serde reader of this schema accepts, as a schema: open enums take any value, Rust's integer formats are
/// limits, a set takes doubles.
pub(crate) fn reader_form(schema: &Value) -> Value {
    match schema {
        Value::Array(list) => list.iter().map(reader_form).collect(),
        Value::Object(fields) => {
            let mut form: Map<String, Value> =
                fields.iter().map(|(key, value)| (key.clone(), reader_form(value))).collect();
            if form.get("uniqueItems") == Some(&Value::Bool(true)) {
                form.remove("uniqueItems");
            }
            if let Some(high) = form.get("format").and_then(Value::as_str).and_then(largest) {
                form.entry("maximum").or_insert(high);
            }
            match form.get("x-unknown") {
                Some(Value::String(_)) => opened(form),
                _ => Value::Object(form),
            }
        }
        plain => plain.clone(),
    }
}

fn largest(format: &str) -> Option<Value> {
    Some(match format {
        "int8" => json!(i8::MAX),
        "int16" => json!(i16::MAX),
        "int32" => json!(i32::MAX),
        "int64" | "int" => json!(i64::MAX),
        "uint8" => json!(u8::MAX),
        "uint16" => json!(u16::MAX),
        "uint32" => json!(u32::MAX),
        _ => return None,
    })
}

fn opened(mut form: Map<String, Value>) -> Value {
    let variants = form.remove("oneOf").and_then(|members| members.as_array().cloned()).unwrap_or_default();
    let tag = variants.iter().find_map(|variant| {
        let properties = variant.get("properties")?.as_object()?;
        properties.iter().find(|(_, schema)| schema.get("const").is_some()).map(|(name, _)| name.clone())
    });
    let Some(tag) = tag else { return json!({"type": "string"}) };
    let known: Vec<Value> = variants.iter().filter_map(|one| one["properties"][&tag].get("const").cloned()).collect();
    let newer = json!({
        "type": "object", "required": [&tag],
        "properties": {&tag: {"type": "string", "not": {"enum": known}}}
    });
    form.insert("anyOf".into(), variants.into_iter().chain([newer]).collect());
    Value::Object(form)
}

/// The first place where `seen` says less or something else than `meant`. Empty and null fields may be left out,
/// unknown fields and values may be dropped.
pub(crate) fn lost(meant: &Value, seen: &Value, path: &str) -> Option<String> {
    match (meant, seen) {
        (Value::Object(meant), Value::Object(seen)) => meant.iter().find_map(|(name, value)| {
            let at = format!("{path}.{name}");
            match seen.get(name) {
                _ if name.starts_with(EXTRA) => None,
                Some(seen) => lost(value, seen, &at),
                None if is_empty(value) => None,
                None => Some(at),
            }
        }),
        (Value::Array(meant), Value::Array(seen)) if meant.len() == seen.len() => meant
            .iter()
            .zip(seen)
            .enumerate()
            .find_map(|(place, (meant, seen))| lost(meant, seen, &format!("{path}[{place}]"))),
        // A value of an open enum that one side did not know: it may read as unknown, and later as itself.
        (Value::String(text), _) | (_, Value::String(text)) if text == UNSEEN => None,
        // `1` and `1.0` are one number; other numbers must agree to the last bit.
        (Value::Number(meant), Value::Number(seen)) if meant == seen || meant.as_f64() == seen.as_f64() => None,
        (meant, seen) if meant == seen => None,
        _ => Some(path.to_owned()),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.iter().all(|(name, value)| name.starts_with(EXTRA) || is_empty(value)),
        _ => false,
    }
}
