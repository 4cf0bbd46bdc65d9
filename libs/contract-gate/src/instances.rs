//! Values that fit a schema, from a seed: the same seed gives the same values.

use std::collections::BTreeSet;

use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Map, Value, json};

use super::diff::{number_limits, size_limits};
use super::shape::{Choice, Object, Rest, Shape, choice, tags};

/// Below this depth a recursive type ends as soon as it can.
const DEEP: usize = 6;
/// Longest repetition of a pattern's part and longest text; a limit that asks for more is met at its lower end.
const LONG: u32 = 12;

/// A small generator (SplitMix64): tests and the gate need repeatable values, not good randomness.
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    // Below `bound`, which is at least 1. The bias of the remainder does not matter here.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }

    fn chance(&mut self) -> bool {
        self.next() & 1 == 0
    }
}

/// What the data may hold beside what the schema names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extras {
    /// What a writer of this very schema sends.
    None,
    /// Also what a reader must tolerate: unknown fields, unknown values of open enums.
    Tolerated,
}

/// The name of every unknown field begins so.
pub(crate) const EXTRA: &str = "zz_extra_";

/// A value of an open enum that its readers don't know yet.
pub(crate) const UNSEEN: &str = "zz_unseen";

/// A value of `schema` (a whole document), or `None` where no value fits.
pub(crate) fn instance(schema: &Value, random: &mut Seeded, extras: Extras) -> Option<Value> {
    Generator { root: schema, random, extras }.value(schema, 0)
}

struct Generator<'a> {
    root: &'a Value,
    random: &'a mut Seeded,
    extras: Extras,
}

impl Generator<'_> {
    fn value(&mut self, schema: &Value, depth: usize) -> Option<Value> {
        let choice = choice(self.root, schema);
        if choice.any {
            let values = [json!(null), json!(7), json!("text"), json!([1, "two"]), json!({"deep": {"er": true}})];
            return Some(values[self.random.below(values.len())].clone());
        }
        if let Some(unknown) = self.unseen(&choice) {
            return Some(unknown);
        }
        let shapes: Vec<&Shape> = choice.alternatives.values().collect();
        let cheap = shapes.iter().position(|shape| !matches!(shape, Shape::Object(_) | Shape::Array(_)));
        let first = match cheap {
            Some(position) if depth > DEEP => position,
            _ => self.random.below(shapes.len()),
        };
        // An alternative that no value fits (a variant of an empty enum) leaves the turn to the next.
        (0..shapes.len()).find_map(|step| self.shape(shapes[(first + step) % shapes.len()], depth))
    }

    // A value of an open enum that is newer than its reader.
    fn unseen(&mut self, choice: &Choice) -> Option<Value> {
        choice.unknown.as_ref()?;
        if self.extras == Extras::None || self.random.below(4) > 0 {
            return None;
        }
        let tagged = choice.alternatives.values().find_map(|shape| match shape {
            Shape::Object(object) => tags(object).into_iter().next(),
            _ => None,
        });
        match tagged {
            Some((name, _)) => Some(json!({name: UNSEEN, "zz_extra_content": 1})),
            None => Some(json!(UNSEEN)),
        }
    }

    fn shape(&mut self, shape: &Shape, depth: usize) -> Option<Value> {
        Some(match shape {
            Shape::Null => Value::Null,
            Shape::Boolean => json!(self.random.chance()),
            Shape::Literal(value) => value.clone(),
            Shape::Text(rules) => json!(self.text(rules)),
            Shape::Number { integer, rules } => self.number(rules, *integer),
            Shape::Array(rules) => self.array(rules, depth)?,
            Shape::Object(object) => self.object(object, depth)?,
        })
    }

    fn text(&mut self, rules: &Map<String, Value>) -> String {
        if let Some(pattern) = rules.get("pattern").and_then(Value::as_str)
            && let Ok(pattern) = regex_syntax::parse(pattern)
        {
            let mut text = String::new();
            self.matching(&pattern, &mut text);
            return text;
        }
        match rules.get("format").and_then(Value::as_str) {
            Some("date-time") => return "2026-11-20T12:00:00Z".into(),
            Some("date") => return "2026-11-20".into(),
            Some("uuid") => return format!("00000000-0000-7000-8000-{:012x}", self.random.next() >> 16),
            Some("ip" | "ipv4") => return "192.0.2.7".into(),
            Some("ipv6") => return "2001:db8::7".into(),
            _ => {}
        }
        let (low, high) = size_limits(rules, "minLength", "maxLength");
        let length = self.size(low, high);
        const LETTERS: &[char] = &['a', 'Z', '0', '-', ' ', '"', '\\', 'é', '狐', '\n'];
        (0..length).map(|_| LETTERS[self.random.below(LETTERS.len())]).collect()
    }

    // A size between two limits, at both ends as often as in between.
    fn size(&mut self, low: f64, high: f64) -> usize {
        let low = low as usize;
        let high = if high.is_finite() { high as usize } else { low + LONG as usize };
        match self.random.below(3) {
            0 => low,
            1 => high,
            _ => low + self.random.below(high.saturating_sub(low) + 1),
        }
    }

    fn matching(&mut self, pattern: &Hir, text: &mut String) {
        match pattern.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => text.push_str(&String::from_utf8_lossy(&literal.0)),
            HirKind::Class(Class::Unicode(class)) => {
                let ranges = class.ranges();
                if !ranges.is_empty() {
                    let range = ranges[self.random.below(ranges.len())];
                    let (low, high) = (u32::from(range.start()), u32::from(range.end()));
                    let code = low + self.random.below((high - low + 1) as usize) as u32;
                    text.push(char::from_u32(code).unwrap_or(range.start()));
                }
            }
            HirKind::Class(Class::Bytes(class)) => {
                text.extend(class.ranges().first().map(|range| char::from(range.start())))
            }
            HirKind::Repetition(repetition) => {
                let high = repetition.max.unwrap_or(repetition.min + LONG);
                for _ in 0..self.size(repetition.min.into(), high.into()) {
                    self.matching(&repetition.sub, text);
                }
            }
            HirKind::Capture(capture) => self.matching(&capture.sub, text),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.matching(part, text)),
            HirKind::Alternation(parts) => {
                let part = self.random.below(parts.len());
                self.matching(&parts[part], text);
            }
        }
    }

    fn number(&mut self, rules: &Map<String, Value>, integer: bool) -> Value {
        let (low, high) = number_limits(rules, integer);
        if integer {
            // `as` saturates: an unsigned 64-bit limit fits i128 exactly.
            let (low, high) = (low.max(-(2f64.powi(63))) as i128, (high as i128).min(u64::MAX.into()));
            let near = |value: i128| value.clamp(low, high);
            let picks = [
                low,
                high,
                near(0),
                near(1),
                near(200),
                near(70_000),
                near(1 << 33),
                near(i128::from(self.random.next())),
            ];
            let pick = picks[self.random.below(picks.len())];
            return u64::try_from(pick).map_or_else(|_| json!(i64::try_from(pick).unwrap_or(i64::MIN)), |n| json!(n));
        }
        let picks = [0.0, 0.1, -2.5, 3.0, 123_456.789_012_3, low, high].map(|value: f64| value.clamp(low, high));
        let finite: Vec<f64> = picks.into_iter().filter(|value| value.is_finite()).collect();
        json!(finite[self.random.below(finite.len())])
    }

    fn array(&mut self, rules: &Map<String, Value>, depth: usize) -> Option<Value> {
        let (low, high) = size_limits(rules, "minItems", "maxItems");
        let high = if depth > DEEP { low } else { high.min(low + 3.0) };
        let length = self.size(low, high);
        let places = rules.get("prefixItems").and_then(Value::as_array).cloned().unwrap_or_default();
        let items = rules.get("items").cloned().unwrap_or(Value::Bool(true));
        let mut list = Vec::new();
        for place in 0..length.max(places.len()) {
            match self.value(places.get(place).unwrap_or(&items), depth + 1) {
                Some(value) => list.push(value),
                None if list.len() >= low as usize => break,
                None => return None,
            }
        }
        if rules.get("uniqueItems") == Some(&Value::Bool(true)) {
            let mut seen = BTreeSet::new();
            list.retain(|item| seen.insert(item.to_string()));
        } else if let Some(first) = list.first().cloned()
            && places.is_empty()
            && (list.len() as f64) < high
        {
            list.push(first);
        }
        Some(Value::Array(list))
    }

    fn object(&mut self, object: &Object, depth: usize) -> Option<Value> {
        let mut fields = Map::new();
        for (name, schema) in &object.properties {
            let required = object.required.contains(name);
            if !required && (depth > DEEP || self.random.chance()) {
                continue;
            }
            match self.value(schema, depth + 1) {
                Some(value) => {
                    fields.insert(name.clone(), value);
                }
                None if required => return None,
                None => {}
            }
        }
        match &object.rest {
            Rest::Typed(schema) if depth <= DEEP => {
                for number in 0..self.random.below(3) {
                    if let Some(value) = self.value(schema, depth + 1) {
                        fields.insert(format!("key {number}"), value);
                    }
                }
            }
            Rest::Ignored if self.extras == Extras::Tolerated && self.random.chance() => {
                fields.insert(format!("{EXTRA}{}", self.random.below(9)), json!({"unknown": ["to", "readers"]}));
            }
            _ => {}
        }
        Some(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_fit_their_schema_and_repeat_with_the_seed() {
        for entry in contracts::catalogue() {
            let schema = (entry.schema)().to_value();
            let validator = jsonschema::validator_for(&schema).unwrap();
            for seed in 0..40 {
                let value = instance(&schema, &mut Seeded::new(seed), Extras::None).unwrap();
                assert!(validator.is_valid(&value), "{}: {value}", entry.kind);
                assert_eq!(Some(value), instance(&schema, &mut Seeded::new(seed), Extras::None));
            }
        }
    }

    #[test]
    fn extras_reach_open_objects_and_open_enums_only() {
        let schema = json!({"type": "object", "required": ["e", "c"], "properties": {
            "e": {"oneOf": [{"const": "a", "type": "string"}], "x-unknown": "a"},
            "c": {"type": "object", "properties": {}, "additionalProperties": false}}});
        let all: Vec<String> = (0..50)
            .filter_map(|seed| instance(&schema, &mut Seeded::new(seed), Extras::Tolerated))
            .map(|value| value.to_string())
            .collect();
        assert!(all.iter().any(|text| text.contains(UNSEEN)) && all.iter().any(|text| text.contains(EXTRA)));
        assert!(all.iter().all(|text| text.contains("\"c\":{}")));
    }
}
