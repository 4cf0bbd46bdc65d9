//! Names, schemas, samples and ends of every kind.

use std::collections::BTreeSet;

use contracts::{Class, catalogue, split_kind};
use serde_json::Value;

use crate::{name, schema};

#[test]
fn kinds_are_well_formed_and_unique() {
    let mut seen = BTreeSet::new();
    for entry in catalogue() {
        assert!(split_kind(entry.kind).is_ok(), "{}", entry.kind);
        assert!(seen.insert(name(&entry)), "{} is there twice", name(&entry));
    }
    assert!(seen.len() >= 30, "{seen:?}");
}

#[test]
fn every_request_has_its_reply_and_every_event_its_key() {
    let entries = catalogue();
    let count = |class: Class| entries.iter().filter(|entry| entry.class == class).count();
    assert_eq!(count(Class::Request), count(Class::Reply));
    for entry in &entries {
        assert_eq!(entry.aggregate.is_some(), entry.class == Class::Event, "{}", entry.kind);
        let Some(aggregate) = entry.aggregate else { continue };
        for sample in (entry.samples)() {
            let key = aggregate(&sample).unwrap();
            assert!(!key.is_empty() && !key.contains(char::is_whitespace), "{}: key {key:?}", entry.kind);
        }
        assert!(aggregate(&Value::Null).is_err(), "{}: a key of nothing", entry.kind);
    }
}

#[test]
fn every_kind_says_what_it_is_and_so_does_every_field() {
    for entry in catalogue() {
        let schema = schema(&entry);
        assert!(schema["description"].is_string(), "{}: no doc comment", name(&entry));
        for (field, rules) in schema["properties"].as_object().into_iter().flatten() {
            assert!(rules["description"].is_string(), "{}.{field}: no doc comment", name(&entry));
        }
    }
}

#[test]
fn every_sample_fits_its_schema_and_survives_its_type() {
    for entry in catalogue() {
        let validator = jsonschema::validator_for(&schema(&entry)).unwrap();
        let samples = (entry.samples)();
        assert!(!samples.is_empty(), "{} has no sample", name(&entry));
        for sample in samples {
            assert!(validator.is_valid(&sample), "{}: {sample}", name(&entry));
            assert_eq!((entry.reparse)(&sample).unwrap(), sample, "{}", name(&entry));
        }
    }
}

#[test]
fn every_optional_field_appears_in_some_sample() {
    let mut missing = Vec::new();
    for entry in catalogue() {
        let schema = schema(&entry);
        let mut fields = BTreeSet::new();
        for sample in (entry.samples)() {
            visited(&schema, &schema, &sample, "$", &mut fields);
        }
        let mut all = BTreeSet::new();
        declared(&schema, &schema, "$", &mut all);
        missing.extend(all.difference(&fields).map(|field| format!("{} {field}", name(&entry))));
    }
    assert!(missing.is_empty(), "no sample shows these fields: {missing:#?}");
}

fn parts<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let referred = schema["$ref"].as_str().and_then(|path| root.pointer(path.strip_prefix('#')?));
    let members = ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|keyword| schema[keyword].as_array()).flatten();
    referred.into_iter().chain(members).chain(schema.get("items")).collect()
}

// Every field of the schema, as a path. None of our messages contains itself.
fn declared(root: &Value, schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, rules) in schema["properties"].as_object().into_iter().flatten() {
        // No value of an empty enum can be shown.
        if parts(root, rules).iter().any(|part| part.get("not").is_some()) {
            continue;
        }
        let at = format!("{path}.{name}");
        declared(root, rules, &at, found);
        found.insert(at);
    }
    parts(root, schema).into_iter().for_each(|part| declared(root, part, path, found));
}

// Those of them that a value has.
fn visited(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut BTreeSet<String>) {
    for item in value.as_array().into_iter().flatten() {
        visited(root, schema, item, path, found);
    }
    for (name, rules) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(inner) = value.get(name) {
            let at = format!("{path}.{name}");
            visited(root, rules, inner, &at, found);
            found.insert(at);
        }
    }
    parts(root, schema).into_iter().for_each(|part| visited(root, part, value, path, found));
}

#[test]
fn an_end_is_announced_90_days_ahead_and_names_a_successor_that_lives_on() {
    let entries = catalogue();
    let mut ends = 0;
    for entry in &entries {
        let Some(ending) = entry.deprecation else { continue };
        ends += 1;
        let date =
            |text: &str| text.parse::<jiff::civil::Date>().unwrap_or_else(|error| panic!("{}: {error}", entry.kind));
        let notice = (date(ending.sunset) - date(ending.since)).get_days();
        assert!(notice >= 90, "{}: {notice} days' notice", entry.kind);
        let successor = entries.iter().find(|other| other.kind == ending.successor && other.class == entry.class);
        let successor = successor.unwrap_or_else(|| panic!("{}: no such kind as {}", entry.kind, ending.successor));
        assert!(successor.deprecation.is_none(), "{}: its successor ends as well", entry.kind);
    }
    assert!(ends > 0, "one event of the catalogue has two versions");
}
