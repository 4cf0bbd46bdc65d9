//! Every golden sample and schema ever committed, against today's types.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use contracts::{Entry, catalogue};
use serde_json::{Value, json};

use crate::name;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/contract/golden")
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

// Golden files of every kind that is not retired, by kind and file name.
fn goldens() -> BTreeMap<String, BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for kind in fs::read_dir(folder()).expect("the goldens are committed: run `cargo xtask bless`") {
        let kind = kind.unwrap();
        let files = fs::read_dir(kind.path()).unwrap().map(|file| {
            let file = file.unwrap();
            (file.file_name().into_string().unwrap(), json(&file.path()))
        });
        let files: BTreeMap<String, Value> = files.collect();
        if !files.contains_key("retired.json") {
            all.insert(kind.file_name().into_string().unwrap(), files);
        }
    }
    all
}

fn entries() -> BTreeMap<String, Entry> {
    catalogue().into_iter().map(|entry| (name(&entry), entry)).collect()
}

// The numbers in `sample.REVISION.NUMBER.json`.
fn revision(file: &str) -> Option<u32> {
    file.strip_prefix("sample.")?.split('.').next()?.parse().ok()
}

#[test]
fn every_kind_has_a_golden_schema_and_a_golden_sample() {
    let goldens = goldens();
    let kinds: BTreeSet<String> = entries().into_keys().collect();
    assert_eq!(goldens.keys().cloned().collect::<BTreeSet<_>>(), kinds, "run `cargo xtask bless`");
    for (kind, files) in goldens {
        assert!(files.contains_key("schema.1.json"), "{kind} has no golden schema");
        assert!(files.contains_key("sample.1.1.json"), "{kind} has no golden sample");
    }
}

#[test]
fn every_sample_ever_committed_is_read_by_todays_type_without_loss() {
    let entries = entries();
    let mut read = 0;
    for (kind, files) in goldens() {
        for (file, sample) in files.iter().filter(|(file, _)| revision(file).is_some()) {
            let seen = (entries[&kind].reparse)(sample).unwrap_or_else(|error| panic!("{kind}/{file}: {error}"));
            let known = (entries[&kind].schema)().to_value().to_string();
            if let Some(place) = lost(sample, &seen, &known, "$") {
                panic!("{kind}/{file} reads as something else at {place}: {seen}");
            }
            read += 1;
        }
    }
    assert!(read >= entries.len(), "only {read} samples");
}

// The first place where a sample reads as something else. A field may be gone once nobody reads it (the gate's matter):
// then today's schema does not know it.
fn lost(sample: &Value, seen: &Value, known: &str, path: &str) -> Option<String> {
    match (sample, seen) {
        (Value::Object(sample), Value::Object(seen)) => {
            let added = seen.keys().find(|name| !sample.contains_key(*name)).map(|name| format!("{path}.{name}"));
            let changed = sample.iter().find_map(|(name, value)| {
                let at = format!("{path}.{name}");
                match seen.get(name) {
                    Some(seen) => lost(value, seen, known, &at),
                    None => known.contains(&format!("{name:?}:")).then_some(at),
                }
            });
            added.or(changed)
        }
        (Value::Array(sample), Value::Array(seen)) if sample.len() == seen.len() => sample
            .iter()
            .zip(seen)
            .enumerate()
            .find_map(|(place, (sample, seen))| lost(sample, seen, known, &format!("{path}[{place}]"))),
        (sample, seen) => (sample != seen).then(|| path.to_owned()),
    }
}

#[test]
fn every_sample_fits_its_own_revisions_schema_and_the_newest() {
    for (kind, files) in goldens() {
        let schemas: BTreeMap<u32, &Value> =
            (1..).map_while(|number| Some((number, files.get(&format!("schema.{number}.json"))?))).collect();
        for (file, sample) in &files {
            let Some(revision) = revision(file) else { continue };
            for (number, schema) in schemas.range(revision..) {
                let validator = jsonschema::validator_for(schema).unwrap();
                if let Err(error) = validator.validate(sample) {
                    panic!("{kind}/{file} against schema.{number}.json: {error}");
                }
            }
        }
    }
}

#[test]
fn the_announced_ends_are_committed() {
    let goldens = goldens();
    for (kind, entry) in entries() {
        let announced = entry
            .deprecation
            .map(|ending| json!({"since": ending.since, "sunset": ending.sunset, "successor": ending.successor}));
        assert_eq!(goldens[&kind].get("deprecation.json"), announced.as_ref(), "{kind}: run `cargo xtask bless`");
    }
}
