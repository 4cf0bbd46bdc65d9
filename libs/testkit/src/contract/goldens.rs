//! The committed goldens, as suites use them.

use std::fs;
use std::path::{Path, PathBuf};

use contracts::reads::message_name;
use contracts::{Class, Entry, Fact, catalogue};
use serde_json::Value;

fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("testkit lies two folders deep");
    root.join("tests/contract/golden").join(name)
}

/// The catalogue's entry of a message.
///
/// # Panics
/// When there is none.
pub(super) fn entry(class: Class, kind: &str) -> Entry {
    let found = catalogue().into_iter().find(|entry| entry.class == class && entry.kind == kind);
    found.unwrap_or_else(|| panic!("{kind} is no {class:?} of the catalogue"))
}

/// The kinds of a class that a service owns.
pub(super) fn owned(class: Class, owner: &str) -> Vec<&'static str> {
    let owned = |entry: &Entry| entry.class == class && entry.kind.split('.').next() == Some(owner);
    catalogue().into_iter().filter(owned).map(|entry| entry.kind).collect()
}

/// Every sample of a message: those ever committed, and today's.
///
/// # Panics
/// When there is no such message, or a golden file can't be read.
pub fn golden_samples(class: Class, kind: &str) -> Vec<Value> {
    let mut samples = (entry(class, kind).samples)();
    let Ok(files) = fs::read_dir(folder(&message_name(class, kind))) else { return samples };
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("the goldens are readable").path()).collect();
    paths.sort();
    for path in paths {
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sample.")) {
            let sample = json(&path);
            if !samples.contains(&sample) {
                samples.push(sample);
            }
        }
    }
    samples
}

/// The newest golden schema of a message; the type's own where none is committed yet.
pub(super) fn schema(class: Class, kind: &str) -> Value {
    let folder = folder(&message_name(class, kind));
    let newest =
        (1..).map(|number| folder.join(format!("schema.{number}.json"))).take_while(|path| path.exists()).last();
    newest.map_or_else(|| (entry(class, kind).schema)().to_value(), |path| json(&path))
}

fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("the goldens are readable");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Panics when a payload does not fit the newest golden schema of its message.
pub(super) fn fits(class: Class, kind: &str, payload: &Value) {
    let schema = schema(class, kind);
    let validator = jsonschema::validator_for(&schema).expect("golden schemas are valid");
    if let Err(error) = validator.validate(payload) {
        panic!("{}: {payload} breaks its golden schema: {error}", message_name(class, kind));
    }
}

/// A golden sample of an event, to be published through an outbox as its owner would.
#[derive(Clone, Debug, PartialEq)]
pub struct GoldenFact {
    kind: &'static str,
    aggregate: String,
    /// The payload.
    pub payload: Value,
}

impl Fact for GoldenFact {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn aggregate(&self) -> String {
        self.aggregate.clone()
    }

    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&self.payload)
    }
}

/// Every sample of an event, ready to be published. Where today's type can't tell a sample's key, it gets one of its own.
///
/// # Panics
/// When there is no such event.
pub fn golden_facts(kind: &str) -> Vec<GoldenFact> {
    let entry = entry(Class::Event, kind);
    let samples = golden_samples(Class::Event, kind).into_iter();
    let fact = |payload: Value| {
        let aggregate = entry.aggregate.and_then(|aggregate| aggregate(&payload).ok());
        GoldenFact { kind: entry.kind, aggregate: aggregate.unwrap_or_else(|| "sample/old".into()), payload }
    };
    samples.map(fact).collect()
}
