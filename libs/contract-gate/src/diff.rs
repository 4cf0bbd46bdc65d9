//! Can every value that one schema describes be read by a reader of the other?

use serde_json::{Map, Value};

use super::rule::{Direction, Rule, Violation};
use super::shape::{Choice, Key, Object, Rest, Shape, choice, tags};

/// Why a reader of `reader` fails on data of `writer`. `direction` says which of the two is newer.
pub(crate) fn unreadable(writer: &Value, reader: &Value, direction: Direction) -> Vec<Violation> {
    let mut comparison = Comparison { writer, reader, direction, open: Vec::new(), found: Vec::new() };
    comparison.schema(writer, reader, "$");
    comparison.found
}

struct Comparison<'a> {
    writer: &'a Value,
    reader: &'a Value,
    direction: Direction,
    // Pairs of `$ref`s being compared further up: a recursive type is as readable as its other fields.
    open: Vec<(Value, Value)>,
    found: Vec<Violation>,
}

impl Comparison<'_> {
    fn backward(&self) -> bool {
        self.direction == Direction::Backward
    }

    fn either(&self, backward: Rule, forward: Rule) -> Rule {
        if self.backward() { backward } else { forward }
    }

    fn refuse(&mut self, path: &str, rule: Rule, sentence: String) {
        self.found.push(Violation::new(path, rule, self.direction, sentence));
    }

    fn schema(&mut self, writer: &Value, reader: &Value, path: &str) {
        let pair = (writer.get("$ref").cloned(), reader.get("$ref").cloned());
        if let (Some(mine), Some(theirs)) = pair {
            if self.open.iter().any(|(a, b)| *a == mine && *b == theirs) {
                return;
            }
            self.open.push((mine, theirs));
            self.choices(&choice(self.writer, writer), &choice(self.reader, reader), path);
            self.open.pop();
        } else {
            self.choices(&choice(self.writer, writer), &choice(self.reader, reader), path);
        }
    }

    fn choices(&mut self, writer: &Choice, reader: &Choice, path: &str) {
        if reader.any {
            return;
        }
        let strange = |shape: &Shape| matches!(shape, Shape::Literal(_) | Shape::Null) || is_variant(shape);
        let meet = writer.alternatives.keys().any(|key| reader.alternatives.contains_key(key));
        // Lists of values or variants are compared one by one even where they have nothing in common.
        let lists = [writer, reader].iter().all(|side| side.alternatives.values().all(strange));
        let apart = !meet && !lists;
        let text_to_open =
            reader.unknown.is_some() && writer.alternatives.keys().all(|key| *key == Key::Type("string"));
        let values_to_text = reader.alternatives.contains_key(&Key::Type("string"))
            && writer.alternatives.values().all(|shape| matches!(shape, Shape::Literal(Value::String(_))));
        if writer.any || (apart && !text_to_open && !values_to_text) {
            self.retyped(writer, reader, path);
            return;
        }
        for (key, shape) in &writer.alternatives {
            match reader.alternatives.get(key) {
                Some(theirs) => {
                    let inside = if is_variant(shape) { format!("{path}<{key}>") } else { path.to_owned() };
                    self.shapes(shape, theirs, &inside);
                }
                None => self.strange(key, shape, reader, path),
            }
        }
        let readable_as_text = reader.alternatives.contains_key(&Key::Type("string"));
        if self.backward() && writer.unknown.is_some() && reader.unknown.is_none() && !readable_as_text {
            self.refuse(path, Rule::EnumClosed, "values that the type does not list are refused now".into());
        }
    }

    fn retyped(&mut self, writer: &Choice, reader: &Choice, path: &str) {
        let (was, is) = if self.backward() { (writer, reader) } else { (reader, writer) };
        self.refuse(path, Rule::Retyped, format!("it was {was} and is {is}"));
    }

    // The writer has an alternative that the reader does not list.
    fn strange(&mut self, key: &Key, shape: &Shape, reader: &Choice, path: &str) {
        let change = if self.backward() { "is gone" } else { "is new" };
        match shape {
            Shape::Literal(Value::String(text)) => {
                if let Some(Shape::Text(rules)) = reader.alternatives.get(&Key::Type("string")) {
                    if !rules.is_empty() {
                        self.refuse(path, Rule::PatternChanged, format!("{text:?} may break the text's rules"));
                    }
                } else if reader.unknown.is_none() {
                    let rule = self.either(Rule::ValueRemoved, Rule::ValueAdded);
                    self.refuse(path, rule, format!("the value {text:?} {change}"));
                }
            }
            Shape::Literal(value) => {
                let rule = self.either(Rule::ValueRemoved, Rule::ValueAdded);
                self.refuse(path, rule, format!("the value {value} {change}"));
            }
            Shape::Null => {
                let rule = self.either(Rule::NullRemoved, Rule::NullAdded);
                self.refuse(path, rule, format!("null {change}"));
            }
            Shape::Text(_) if reader.unknown.is_some() => {}
            Shape::Object(object) if is_variant(shape) => {
                if !(reader.unknown.is_some() && same_tag(object, reader)) {
                    let rule = self.either(Rule::VariantRemoved, Rule::VariantAdded);
                    self.refuse(path, rule, format!("the variant `{key}` {change}"));
                }
            }
            _ => self.refuse(path, Rule::Retyped, format!("the alternative `{key}` {change}")),
        }
    }

    fn shapes(&mut self, writer: &Shape, reader: &Shape, path: &str) {
        match (writer, reader) {
            (Shape::Text(writer), Shape::Text(reader)) => self.text(writer, reader, path),
            (Shape::Number { integer, rules }, Shape::Number { integer: whole, rules: limits }) => {
                if *whole && !*integer {
                    let sentence = "whole numbers on one side, fractions on the other";
                    self.refuse(path, Rule::Retyped, sentence.into());
                } else {
                    self.limits(&number_limits(rules, *integer), &number_limits(limits, *whole), path);
                    self.other(rules, limits, &["minimum", "maximum", "format"], path);
                }
            }
            (Shape::Array(writer), Shape::Array(reader)) => self.array(writer, reader, path),
            (Shape::Object(writer), Shape::Object(reader)) => self.object(writer, reader, path),
            _ => {}
        }
    }

    fn text(&mut self, writer: &Map<String, Value>, reader: &Map<String, Value>, path: &str) {
        for keyword in ["pattern", "format", "contentEncoding"] {
            if let Some(rule) = reader.get(keyword).filter(|rule| writer.get(keyword) != Some(rule)) {
                let other = writer.get(keyword).map_or("none".to_owned(), Value::to_string);
                self.refuse(
                    path,
                    Rule::PatternChanged,
                    format!("{keyword} {rule} on the reader's side, {other} on the writer's"),
                );
            }
        }
        let limits = |rules| size_limits(rules, "minLength", "maxLength");
        self.limits(&limits(writer), &limits(reader), path);
        self.other(writer, reader, &["pattern", "format", "contentEncoding", "minLength", "maxLength"], path);
    }

    fn limits(&mut self, writer: &(f64, f64), reader: &(f64, f64), path: &str) {
        if reader.0 > writer.0 || reader.1 < writer.1 {
            let (was, is) = if self.backward() { (writer, reader) } else { (reader, writer) };
            let rule = self.either(Rule::Tightened, Rule::Loosened);
            self.refuse(path, rule, format!("the limits were {} to {} and are {} to {}", was.0, was.1, is.0, is.1));
        }
    }

    fn array(&mut self, writer: &Map<String, Value>, reader: &Map<String, Value>, path: &str) {
        let limits = |rules| size_limits(rules, "minItems", "maxItems");
        self.limits(&limits(writer), &limits(reader), path);
        let anything = Value::Bool(true);
        let places = |rules: &Map<String, Value>| {
            rules.get("prefixItems").and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let (mine, theirs) = (places(writer), places(reader));
        for place in 0..mine.len().max(theirs.len()) {
            let at = |places: &[Value], rules: &Map<String, Value>| {
                places.get(place).or(rules.get("items")).cloned().unwrap_or(anything.clone())
            };
            // A place beyond a tuple's end is not there; the limits on the number of items speak for it.
            let (mine, theirs) = (at(&mine, writer), at(&theirs, reader));
            if mine != Value::Bool(false) {
                self.schema(&mine, &theirs, &format!("{path}[{place}]"));
            }
        }
        if mine.is_empty() && theirs.is_empty() {
            let items = |rules: &Map<String, Value>| rules.get("items").cloned().unwrap_or(anything.clone());
            self.schema(&items(writer), &items(reader), &format!("{path}[]"));
        }
        self.other(writer, reader, &["items", "prefixItems", "minItems", "maxItems", "uniqueItems"], path);
    }

    fn object(&mut self, writer: &Object, reader: &Object, path: &str) {
        for name in &reader.required {
            let at = format!("{path}.{name}");
            if writer.required.contains(name) {
                continue;
            }
            let (rule, sentence) = match (writer.properties.contains_key(name), self.backward()) {
                (true, true) => (Rule::MadeRequired, "the field was optional and is required"),
                (true, false) => (Rule::MadeOptional, "the field was required and is optional"),
                (false, true) => (Rule::RequiredAdded, "the field is new and required"),
                (false, false) => (Rule::RequiredRemoved, "the field was required and is gone"),
            };
            self.refuse(&at, rule, sentence.into());
        }
        for (name, schema) in &writer.properties {
            let at = format!("{path}.{name}");
            match (reader.properties.get(name), &reader.rest) {
                (Some(theirs), _) | (None, Rest::Typed(theirs)) => self.schema(schema, theirs, &at),
                (None, Rest::Ignored) => {}
                (None, Rest::Refused) => {
                    let rule = self.either(Rule::FieldRemoved, Rule::AddedToClosed);
                    self.refuse(&at, rule, "one side denies unknown fields and does not know this one".into());
                }
            }
        }
        match (&writer.rest, &reader.rest) {
            (Rest::Typed(mine), Rest::Typed(theirs)) => self.schema(mine, theirs, &format!("{path}.*")),
            (Rest::Typed(_), Rest::Refused) => {
                let sentence = "a map on one side, fixed fields on the other";
                self.refuse(path, Rule::Retyped, sentence.into());
            }
            (Rest::Ignored, Rest::Typed(_)) if self.backward() => {
                let sentence = "unknown fields were ignored and must fit the map's type now";
                self.refuse(path, Rule::Retyped, sentence.into());
            }
            (Rest::Ignored, Rest::Refused) if self.backward() => {
                self.refuse(path, Rule::ObjectClosed, "unknown fields were ignored and are refused now".into());
            }
            _ => {}
        }
        self.other(&writer.other, &reader.other, &[], path);
    }

    // Keywords this gate does not know must be the same.
    fn other(&mut self, writer: &Map<String, Value>, reader: &Map<String, Value>, known: &[&str], path: &str) {
        for (keyword, rule) in reader {
            if !known.contains(&keyword.as_str()) && writer.get(keyword) != Some(rule) {
                self.refuse(path, Rule::Unjudged, format!("the keyword `{keyword}` differs"));
            }
        }
    }
}

fn is_variant(shape: &Shape) -> bool {
    match shape {
        Shape::Object(object) => {
            !tags(object).is_empty() || (object.rest == Rest::Refused && object.properties.len() == 1)
        }
        _ => false,
    }
}

// An open tagged enum reads any value of its tag, so the unknown variant must be tagged by the same field.
fn same_tag(object: &Object, reader: &Choice) -> bool {
    let names = |object: &Object| tags(object).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let mine = names(object);
    !mine.is_empty()
        && reader.alternatives.values().any(|shape| matches!(shape, Shape::Object(theirs) if names(theirs) == mine))
}

/// Smallest and largest number, from the limits and from Rust's integer formats.
pub(crate) fn number_limits(rules: &Map<String, Value>, integer: bool) -> (f64, f64) {
    let format = rules.get("format").and_then(Value::as_str).unwrap_or_default();
    let (low, high) = if integer { format_limits(format) } else { (f64::NEG_INFINITY, f64::INFINITY) };
    let limit = |keyword: &str, fallback: f64| rules.get(keyword).and_then(Value::as_f64).unwrap_or(fallback);
    (limit("minimum", low).max(low), limit("maximum", high).min(high))
}

fn format_limits(format: &str) -> (f64, f64) {
    match format {
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "int64" | "int" => (-(2f64.powi(63)), 2f64.powi(63) - 1.0),
        "uint8" => (0.0, u8::MAX.into()),
        "uint16" => (0.0, u16::MAX.into()),
        "uint32" => (0.0, u32::MAX.into()),
        "uint64" | "uint" => (0.0, 2f64.powi(64)),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    }
}

/// Smallest and largest size, from two keywords.
pub(crate) fn size_limits(rules: &Map<String, Value>, low: &str, high: &str) -> (f64, f64) {
    let limit = |keyword: &str, fallback: f64| rules.get(keyword).and_then(Value::as_f64).unwrap_or(fallback);
    (limit(low, 0.0), limit(high, f64::INFINITY))
}
