//! Finds out which parts of a value a parser looks at, by changing one thing at a time.
//!
//! A recording `Deserializer` would be blind where serde buffers: in internally tagged enums, untagged enums and
//! flattened structs the fields that a variant asks for never reach it. What the parser makes of a changed value tells
//! the same for every serde attribute, and tells more: a field that is parsed and thrown away is not read.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Field, Fields};

/// What a parser makes of a value, as text that differs when it saw something else; `None` when it refuses.
pub(super) type View<'a> = &'a dyn Fn(&Value) -> Option<String>;

/// Two texts that no contract knows as values and that every id allows.
const UNSEEN: [&str; 2] = ["zz_unseen_1", "zz_unseen_2"];
/// A field that no contract has.
const STRANGER: &str = "zz_stranger";

/// Every path of `sample` that `view` reads. `constants` are the values that the contract's schema lists anywhere.
/// `None` when the sample is refused as it is.
pub(super) fn probe(sample: &Value, constants: &BTreeSet<String>, view: View<'_>) -> Option<Fields> {
    let seen = view(sample)?;
    let mut probe = Probe { sample: sample.clone(), constants, view, seen, found: Fields::new() };
    probe.inside(&mut Vec::new(), "");
    Some(probe.found)
}

struct Probe<'a> {
    sample: Value,
    constants: &'a BTreeSet<String>,
    view: View<'a>,
    seen: String,
    found: Fields,
}

#[derive(Clone)]
enum Step {
    Field(String),
    Item(usize),
}

impl Probe<'_> {
    /// What the parser makes of the sample with the value at `at` changed.
    fn with(&self, at: &[Step], change: impl FnOnce(&mut Value)) -> Option<String> {
        let mut value = self.sample.clone();
        let place = at.iter().try_fold(&mut value, |value, step| match step {
            Step::Field(name) => value.get_mut(name),
            Step::Item(index) => value.get_mut(index),
        });
        change(place?);
        (self.view)(&value)
    }

    fn differs(&self, outcome: Option<&String>) -> bool {
        outcome != Some(&self.seen)
    }

    fn value(&self, at: &[Step]) -> Value {
        let place = at.iter().try_fold(&self.sample, |value, step| match step {
            Step::Field(name) => value.get(name),
            Step::Item(index) => value.get(index),
        });
        place.cloned().unwrap_or_default()
    }

    /// Notes what is read below `at`; whether anything is.
    fn inside(&mut self, at: &mut Vec<Step>, path: &str) -> bool {
        match self.value(at) {
            Value::Object(fields) => {
                let like = fields.values().next().cloned().unwrap_or_else(|| json!("text"));
                let stranger = self.with(at, |object| object[STRANGER] = like);
                // A refusal is no map: variants by a field of their own, or strangers denied.
                let is_map = stranger.is_some() && self.differs(stranger.as_ref());
                let mut read = is_map;
                for name in fields.keys() {
                    let inner = if is_map { "*" } else { name };
                    let inner = if path.is_empty() { inner.to_owned() } else { format!("{path}.{inner}") };
                    let without = self.with(at, |object| {
                        object.as_object_mut().map(|object| object.remove(name));
                    });
                    at.push(Step::Field(name.clone()));
                    read |= self.place(at, &inner, !is_map && without.is_none(), self.differs(without.as_ref()));
                    at.pop();
                }
                read
            }
            Value::Array(items) => {
                let longer = self.with(at, |list| {
                    if let (Some(list), Some(last)) = (list.as_array_mut(), items.last()) {
                        list.push(last.clone());
                    }
                });
                let mut read = !items.is_empty() && self.differs(longer.as_ref());
                for index in 0..items.len() {
                    at.push(Step::Item(index));
                    read |= self.place(at, &format!("{path}[]"), false, false);
                    at.pop();
                }
                read
            }
            _ => false,
        }
    }

    /// Notes the place at `at` if it is read; whether it is. `missed` says that leaving it out made a difference.
    fn place(&mut self, at: &mut Vec<Step>, path: &str, required: bool, missed: bool) -> bool {
        let mut field = Field { required, ..Field::default() };
        let value = self.value(at);
        let kind = match &value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        field.types.insert(kind.to_owned());
        let changed = |probe: &Self, to: Value| {
            let outcome = probe.with(at, |place| *place = to);
            probe.differs(outcome.as_ref())
        };
        let read = match &value {
            Value::Bool(flag) => changed(self, json!(!flag)),
            Value::Number(number) => changed(
                self,
                match number.as_u64() {
                    Some(whole) => json!(whole ^ 1),
                    None => json!(number.as_f64().unwrap_or_default() + 1.0),
                },
            ),
            Value::Null => changed(self, json!("text")) || changed(self, json!(7)),
            Value::String(text) => self.text(at, text, &mut field),
            Value::Array(_) | Value::Object(_) => self.inside(at, path),
        };
        if read || missed {
            self.found.entry(path.to_owned()).or_default().merge(field);
        }
        read || missed
    }

    /// Whether a text is read, and if it is one of a list of values: which of them are told apart.
    fn text(&self, at: &[Step], text: &str, field: &mut Field) -> bool {
        let with = |other: &str| self.with(at, |place| *place = json!(other));
        let [one, two] = UNSEEN.map(with);
        if one.is_some() && one != two {
            return true;
        }
        if one.as_ref() == Some(&self.seen) {
            return false;
        }
        let others = self.constants.iter().filter(|other| *other != text);
        let known = others.filter(|other| with(other).is_some_and(|outcome| Some(&outcome) != one.as_ref()));
        let known: BTreeSet<String> = known.cloned().collect();
        if !known.is_empty() || self.constants.contains(text) {
            field.values = known;
            field.values.insert(text.to_owned());
            field.open = one.is_some();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    use super::*;

    fn probed<T: DeserializeOwned + Debug>(sample: Value, constants: &[&str]) -> BTreeMap<String, String> {
        let constants = constants.iter().map(|text| (*text).to_owned()).collect();
        let view = |value: &Value| serde_json::from_value::<T>(value.clone()).ok().map(|seen| format!("{seen:?}"));
        let found = probe(&sample, &constants, &view).expect("the sample is read");
        found.into_iter().map(|(path, field)| (path, serde_json::to_string(&field).unwrap())).collect()
    }

    fn paths(found: &BTreeMap<String, String>) -> Vec<&str> {
        found.keys().map(String::as_str).collect()
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mood {
        Good,
        Bad,
        #[serde(other)]
        Unknown,
    }

    #[derive(Debug, Deserialize)]
    enum Closed {
        On,
        Off,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)] // read by Debug alone
    struct Narrow {
        id: String,
        #[serde(default)]
        note: Option<String>,
        mood: Mood,
        switch: Closed,
    }

    #[test]
    fn fields_that_the_type_names_are_found_and_others_are_not() {
        let sample = json!({"id": "a", "note": "n", "mood": "good", "switch": "On", "price": 7, "tags": ["x"],
            "part": {"deep": true}});
        let found = probed::<Narrow>(sample, &["good", "bad", "On", "Off"]);
        assert_eq!(paths(&found), ["id", "mood", "note", "switch"]);
        assert_eq!(found["id"], r#"{"types":["string"],"required":true}"#);
        assert_eq!(found["note"], r#"{"types":["string"]}"#);
        assert_eq!(found["mood"], r#"{"types":["string"],"required":true,"values":["bad","good"],"open":true}"#);
        assert_eq!(found["switch"], r#"{"types":["string"],"required":true,"values":["Off","On"]}"#);
    }

    #[derive(Debug, Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case")]
    #[allow(dead_code)]
    enum Tagged {
        Offer {
            sdp: String,
        },
        Bye,
        #[serde(other)]
        Unknown,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Flat {
        #[serde(flatten)]
        inner: Tagged,
        list: Vec<Item>,
        map: BTreeMap<String, Item>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Item {
        n: u64,
        #[serde(skip)]
        skipped: u64,
    }

    #[test]
    fn it_sees_through_tags_flattening_lists_and_maps() {
        let item = json!({"n": 1, "skipped": 2});
        let sample = json!({"type": "offer", "sdp": "v=0", "other": 1, "list": [item], "map": {"a": item}});
        let found = probed::<Flat>(sample, &["offer", "bye"]);
        assert_eq!(paths(&found), ["list", "list[]", "list[].n", "map", "map.*", "map.*.n", "sdp", "type"]);
        assert_eq!(found["type"], r#"{"types":["string"],"required":true,"values":["bye","offer"],"open":true}"#);
        assert_eq!(found["list[].n"], r#"{"types":["integer"],"required":true}"#);
        assert_eq!(found["map.*"], r#"{"types":["object"]}"#);
    }

    #[test]
    fn a_sample_that_is_refused_says_so() {
        assert!(probe(&json!({"id": 7}), &BTreeSet::new(), &|_| None).is_none());
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Defaulted {
        #[serde(default)]
        count: u64,
        #[serde(default)]
        list: Vec<u64>,
    }

    #[test]
    fn a_value_that_equals_its_default_is_read_all_the_same() {
        let found = probed::<Defaulted>(json!({"count": 0, "list": [0]}), &[]);
        assert_eq!(paths(&found), ["count", "list", "list[]"]);
    }
}
