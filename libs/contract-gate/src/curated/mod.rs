//! The curated changes: pairs of small real types, what the gate must say about each, and what their parsers do.

#![allow(unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeSet;

use serde_json::Value;

use super::crosscheck::{Subject, observe};
use super::rule::Rule;
use super::{Direction, crosscheck, judge};

/// A change from one type to another.
struct Change {
    name: &'static str,
    expected: Expected,
    old: Side,
    new: Side,
}

/// One version of a message type.
struct Side {
    schema: Value,
    reparse: fn(&Value) -> Result<Value, String>,
}

/// What the gate must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Nothing.
    Allowed,
    /// This rule, and a parser fails.
    Fails(Rule),
    /// This rule, though every parser is content: data is lost or means something else.
    Silent(Rule),
}

impl Side {
    fn of<T: serde::Serialize + serde::de::DeserializeOwned + schemars::JsonSchema>() -> Self {
        let reparse = |value: &Value| {
            let parsed: T = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
            serde_json::to_value(parsed).map_err(|error| error.to_string())
        };
        Self { schema: schemars::schema_for!(T).to_value(), reparse }
    }

    fn typed(&self) -> Subject<'_> {
        Subject { schema: &self.schema, reparse: Some(&self.reparse) }
    }

    fn historic(&self) -> Subject<'_> {
        Subject { schema: &self.schema, reparse: None }
    }
}

/// `name: expected, { old items } => { new items };` with the message type named `M` on both sides.
macro_rules! changes {
    ($($name:ident: $expected:expr, { $($old:item)+ } => { $($new:item)+ };)+) => {
        $(mod $name {
            pub mod old {
                #[allow(unused_imports)]
                use crate::curated::support::*;
                $(#[derive(Serialize, Deserialize, JsonSchema)] $old)+
            }
            pub mod new {
                #[allow(unused_imports)]
                use crate::curated::support::*;
                $(#[derive(Serialize, Deserialize, JsonSchema)] $new)+
            }
        })+

        pub(super) fn changes() -> Vec<super::Change> {
            #[allow(unused_imports)]
            use super::{Expected::*, Rule::*};
            vec![$(super::Change {
                name: stringify!($name),
                expected: $expected,
                old: super::Side::of::<$name::old::M>(),
                new: super::Side::of::<$name::new::M>(),
            },)+]
        }
    };
}

mod enums;
mod fields;
mod limits;
mod retyped;
mod support;
mod variants;

/// Instances read in each direction, each change.
const COUNT: u64 = 120;

fn all() -> Vec<Change> {
    [fields::changes(), enums::changes(), variants::changes(), retyped::changes(), limits::changes()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn the_list_is_long_enough_and_every_rule_is_on_it() {
    let all = all();
    let names: BTreeSet<_> = all.iter().map(|change| change.name).collect();
    assert_eq!(names.len(), all.len(), "two changes have one name");
    let allowed = all.iter().filter(|change| change.expected == Expected::Allowed).count();
    assert!(allowed >= 30, "{allowed} allowed changes");
    assert!(all.len() - allowed >= 30, "{} breaking changes", all.len() - allowed);
    let rules: BTreeSet<Rule> = all
        .iter()
        .filter_map(|change| match change.expected {
            Expected::Allowed => None,
            Expected::Fails(rule) | Expected::Silent(rule) => Some(rule),
        })
        .collect();
    assert_eq!(rules.len(), 22, "a rule of the gate has no change that shows it: {rules:?}");
}

#[test]
fn the_gate_says_what_the_list_says() {
    let mut wrong = Vec::new();
    for Change { name, expected, old, new } in all() {
        let verdict = judge(&old.schema, &new.schema);
        let as_expected = match expected {
            Expected::Allowed => verdict.is_empty(),
            Expected::Fails(rule) => verdict.iter().any(|one| one.rule == rule && one.direction != Direction::Meaning),
            Expected::Silent(rule) => {
                verdict.iter().any(|one| one.rule == rule)
                    && verdict.iter().all(|one| one.direction == Direction::Meaning)
            }
        };
        if !as_expected {
            let said: Vec<String> = verdict.iter().map(ToString::to_string).collect();
            wrong.push(format!(
                "{name}: expected {expected:?}, the gate says {said:#?}\n{}\n{}",
                old.schema, new.schema
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_parsers_agree_with_the_gate_in_both_directions() {
    let mut wrong = Vec::new();
    for Change { name, expected, old, new } in all() {
        let verdict = judge(&old.schema, &new.schema);
        let observed = observe(&old.typed(), &new.typed(), COUNT).unwrap();
        assert!(observed.read.0 >= 50 && observed.read.1 >= 50, "{name}: only {:?} instances", observed.read);
        for direction in [Direction::Backward, Direction::Forward] {
            let refused = verdict.iter().any(|one| one.direction == direction);
            // Two patterns can't be compared, so both directions are refused where one may be fine.
            let unsure = verdict.iter().any(|one| one.rule == Rule::PatternChanged)
                && (observed.any(Direction::Backward) || observed.any(Direction::Forward));
            if refused != observed.any(direction) && !(refused && unsure) {
                wrong
                    .push(format!("{name}: {direction:?} refused {refused}, parsers say {:?}", observed.found.first()));
            }
        }
        // A lossless change may be refused for failing; a lossy one that parses must be refused for its meaning.
        let fails = matches!(expected, Expected::Fails(_));
        if !fails && observed.any(Direction::Meaning) != matches!(expected, Expected::Silent(_)) {
            wrong.push(format!("{name}: {expected:?}, yet the parsers' views show {:?}", observed.found.first()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_schema_alone_stands_in_for_a_type_that_is_history() {
    let mut wrong = Vec::new();
    for Change { name, expected, old, new } in all() {
        if let Err(error) = crosscheck(&old.historic(), &new.typed(), COUNT)
            && !matches!(expected, Expected::Silent(_))
        {
            wrong.push(format!("{name}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_wrong_verdict_is_caught_by_the_cross_check() {
    // The schema claims text where the type wants a number: the gate sees no change, the parser fails.
    let schema = serde_json::json!({"type": "object", "properties": {"n": {"type": "string"}}, "required": ["n"]});
    let reparse = |value: &Value| value["n"].as_u64().map(|_| value.clone()).ok_or("n: not a number".to_owned());
    let old = Subject { schema: &schema, reparse: None };
    let new = Subject { schema: &schema, reparse: Some(&reparse) };
    let error = crosscheck(&old, &new, 10).unwrap_err();
    assert!(error.contains("the gate allows it") && error.contains("n: not a number"), "{error}");
}

#[test]
fn a_violation_says_where_which_rule_and_what_to_do() {
    let old = serde_json::json!({"type": "object", "properties": {"peers": {"type": "array", "items":
        {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}}}});
    let new = serde_json::json!({"type": "object", "properties": {"peers": {"type": "array", "items":
        {"type": "object", "properties": {"status": {"type": "string"}}}}}});
    let [violation] = judge(&old, &new).try_into().unwrap();
    assert_eq!(
        violation.to_string(),
        "$.peers[].status: [required-made-optional] the field was required and is optional; \
         yesterday's readers can't read today's data. Instead: keep sending it every time"
    );
}

#[test]
fn keywords_the_gate_does_not_know_must_not_change() {
    let plain = serde_json::json!({"type": "integer", "multipleOf": 5});
    assert!(judge(&plain, &plain).is_empty());
    let [violation] = judge(&serde_json::json!({"type": "integer"}), &plain).try_into().unwrap();
    assert_eq!((violation.rule, violation.direction), (Rule::Unjudged, Direction::Backward));
}
