//! Changes that everybody parses and that still lose what somebody relied on.

use serde_json::Value;

use super::rule::{Direction, Rule, Violation};
use super::shape::{Choice, Key, Object, Rest, Shape, choice};

/// What `old` told and `new` does not.
pub(crate) fn lost(old: &Value, new: &Value) -> Vec<Violation> {
    let mut comparison = Comparison { old, new, open: Vec::new(), found: Vec::new() };
    comparison.schema(old, new, "$");
    comparison.found
}

struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    open: Vec<(Value, Value)>,
    found: Vec<Violation>,
}

impl Comparison<'_> {
    fn refuse(&mut self, path: &str, rule: Rule, sentence: String) {
        self.found.push(Violation::new(path, rule, Direction::Meaning, sentence));
    }

    fn schema(&mut self, old: &Value, new: &Value, path: &str) {
        self.defaults(old, new, path);
        let pair = old.get("$ref").cloned().zip(new.get("$ref").cloned());
        if let Some(pair) = &pair {
            if self.open.contains(pair) {
                return;
            }
            self.open.push(pair.clone());
        }
        self.choices(&choice(self.old, old), &choice(self.new, new), path);
        if pair.is_some() {
            self.open.pop();
        }
    }

    fn defaults(&mut self, old: &Value, new: &Value, path: &str) {
        let (was, is) = (old.get("default"), new.get("default"));
        if was != is {
            let show = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
            let sentence = format!("a missing field meant {} and means {}", show(was), show(is));
            self.refuse(path, Rule::DefaultChanged, sentence);
        }
    }

    fn choices(&mut self, old: &Choice, new: &Choice, path: &str) {
        for (key, was) in &old.alternatives {
            match (was, new.alternatives.get(key)) {
                (_, Some(is)) => self.shapes(was, is, path),
                (Shape::Literal(Value::String(text)), None) if new.unknown.is_some() => {
                    let sentence = format!("the value {text:?} is gone and reads as unknown");
                    self.refuse(path, Rule::ValueRemoved, sentence);
                }
                (Shape::Object(_), None) if new.unknown.is_some() => {
                    let sentence = format!("the variant `{key}` is gone and reads as unknown");
                    self.refuse(path, Rule::VariantRemoved, sentence);
                }
                (Shape::Text(_), None) if new.unknown.is_some() && *key == Key::Type("string") => {
                    self.refuse(path, Rule::Retyped, "free text reads as an enum's unknown value".into());
                }
                _ => {}
            }
        }
    }

    fn shapes(&mut self, old: &Shape, new: &Shape, path: &str) {
        match (old, new) {
            (Shape::Object(old), Shape::Object(new)) => self.object(old, new, path),
            (Shape::Array(old), Shape::Array(new)) => {
                if old.get("uniqueItems") != new.get("uniqueItems") {
                    let sentence = "a list keeps order and doubles, a set does not";
                    self.refuse(path, Rule::UniquenessChanged, sentence.into());
                }
                for keyword in ["items", "prefixItems"] {
                    match (old.get(keyword), new.get(keyword)) {
                        (Some(Value::Array(old)), Some(Value::Array(new))) => {
                            for (place, (old, new)) in old.iter().zip(new).enumerate() {
                                self.schema(old, new, &format!("{path}[{place}]"));
                            }
                        }
                        (Some(old), Some(new)) => self.schema(old, new, &format!("{path}[]")),
                        _ => {}
                    }
                }
            }
            (Shape::Number { rules: old, .. }, Shape::Number { rules: new, .. }) => {
                let digits = |format: Option<&Value>| match format.and_then(Value::as_str) {
                    Some("float") => Some(24),
                    Some("double") => Some(53),
                    _ => None,
                };
                if let (Some(was), Some(is)) = (digits(old.get("format")), digits(new.get("format")))
                    && was != is
                {
                    let sentence = format!("{was} bits of precision became {is}");
                    self.refuse(path, Rule::PrecisionChanged, sentence);
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, old: &Object, new: &Object, path: &str) {
        for (name, was) in &old.properties {
            let at = format!("{path}.{name}");
            match (new.properties.get(name), &new.rest) {
                (Some(is), _) | (None, Rest::Typed(is)) => self.schema(was, is, &at),
                (None, Rest::Ignored) => self.refuse(&at, Rule::FieldRemoved, "the field is gone".into()),
                (None, Rest::Refused) => {}
            }
        }
        match (&old.rest, &new.rest) {
            (Rest::Typed(was), Rest::Typed(is)) => self.schema(was, is, &format!("{path}.*")),
            (Rest::Typed(_), Rest::Ignored) => {
                self.refuse(path, Rule::Retyped, "a map became fixed fields; its entries are dropped".into());
            }
            _ => {}
        }
    }
}
