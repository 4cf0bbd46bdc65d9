//! Recordings: which golden samples a reader has parsed, and what it read of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::probe::probe;
use super::{Fields, Reads, message_name};
use crate::{Class, catalogue};

static RUNNING: AtomicUsize = AtomicUsize::new(0);
static RECORDINGS: Mutex<Vec<Arc<State>>> = Mutex::new(Vec::new());
/// What services that are held to their committed reads may read, by service.
static HELD: Mutex<BTreeMap<String, BTreeSet<String>>> = Mutex::new(BTreeMap::new());

/// Notes what a service reads of golden samples while it lives. Other payloads, and other readers in the same process,
/// are left alone, so that tests beside it change nothing. Not in release builds.
pub struct Recording(Arc<State>);

struct State {
    reader: String,
    /// Texts that the schema of a message lists as values, by message.
    constants: BTreeMap<String, BTreeSet<String>>,
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    value: Value,
    outcome: Mutex<Outcome>,
}

enum Outcome {
    Waiting,
    Refused(String),
    Read(Fields),
}

impl Recording {
    /// Begins to note what `reader` reads of these samples (message name and payload).
    pub fn start(reader: &str, samples: impl IntoIterator<Item = (String, Value)>) -> Self {
        let samples: Vec<Sample> = samples
            .into_iter()
            .map(|(name, value)| Sample { name, value, outcome: Mutex::new(Outcome::Waiting) })
            .collect();
        let mut constants = BTreeMap::new();
        for entry in catalogue() {
            let name = message_name(entry.class, entry.kind);
            let mut texts = BTreeSet::new();
            listed(&(entry.schema)().to_value(), &mut texts);
            constants.insert(name, texts);
        }
        let state = Arc::new(State { reader: reader.to_owned(), constants, samples });
        lock(&RECORDINGS).push(Arc::clone(&state));
        RUNNING.fetch_add(1, Ordering::Release);
        Self(state)
    }

    /// The samples that the reader has not parsed until now.
    pub fn waiting(&self) -> Vec<String> {
        let waits = |sample: &&Sample| matches!(*lock(&sample.outcome), Outcome::Waiting);
        self.0.samples.iter().filter(waits).map(|sample| format!("{} {}", sample.name, sample.value)).collect()
    }

    /// The samples that the reader's type refuses, with the reason.
    pub fn refused(&self) -> Vec<String> {
        let why = |sample: &Sample| match &*lock(&sample.outcome) {
            Outcome::Refused(error) => Some(format!("{} {}: {error}", sample.name, sample.value)),
            _ => None,
        };
        self.0.samples.iter().filter_map(why).collect()
    }

    /// What was read of all samples together.
    pub fn reads(&self) -> Reads {
        let mut reads: BTreeMap<String, Fields> = BTreeMap::new();
        for sample in &self.0.samples {
            if let Outcome::Read(fields) = &*lock(&sample.outcome) {
                let all = reads.entry(sample.name.clone()).or_default();
                for (path, field) in fields {
                    all.entry(path.clone()).or_default().merge(field.clone());
                }
            }
        }
        Reads { service: self.0.reader.clone(), reads }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Release);
        lock(&RECORDINGS).retain(|other| !Arc::ptr_eq(other, &self.0));
    }
}

/// From now on `reads.service` panics in this process when it reads a message that is neither committed nor being
/// recorded: a test that meets it shows that the service's suite forgot it. Not in release builds.
pub fn hold(reads: &Reads) {
    let known = reads.reads.keys().cloned().collect();
    if lock(&HELD).insert(reads.service.clone(), known).is_none() {
        RUNNING.fetch_add(1, Ordering::Release);
    }
}

fn check_held(reader: &str, name: &str, recorded: bool) {
    let forgotten = lock(&HELD).get(reader).is_some_and(|known| !known.contains(name)) && !recorded;
    assert!(
        !forgotten,
        "{reader} reads `{name}`, which its contract/reads.json does not name: list it in its tests/contract/reads.rs \
         and run `cargo xtask bless`"
    );
}

/// Called before every parse.
pub(super) fn note<T: DeserializeOwned + Debug>(reader: &str, class: Class, kind: &str, data: &[u8]) {
    if RUNNING.load(Ordering::Acquire) == 0 {
        return;
    }
    let running: Vec<Arc<State>> = lock(&RECORDINGS).iter().filter(|state| state.reader == reader).cloned().collect();
    let name = message_name(class, kind);
    let recorded = running.iter().any(|state| state.samples.iter().any(|sample| sample.name == name));
    check_held(reader, &name, recorded);
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let view = |value: &Value| serde_json::from_value::<T>(value.clone()).ok().map(|seen| format!("{seen:?}"));
    let none = BTreeSet::new();
    for state in running {
        for sample in state.samples.iter().filter(|sample| sample.name == name && sample.value == value) {
            let constants = state.constants.get(&name).unwrap_or(&none);
            let outcome = match (probe(&value, constants, &view), serde_json::from_value::<T>(value.clone())) {
                (Some(fields), _) => Outcome::Read(fields),
                (None, Err(error)) => Outcome::Refused(error.to_string()),
                (None, Ok(_)) => Outcome::Refused("its parser does not repeat itself".into()),
            };
            *lock(&sample.outcome) = outcome;
        }
    }
}

fn listed(schema: &Value, texts: &mut BTreeSet<String>) {
    match schema {
        Value::Object(keywords) => {
            for (keyword, value) in keywords {
                match (keyword.as_str(), value) {
                    ("const", Value::String(text)) => {
                        texts.insert(text.clone());
                    }
                    ("enum", Value::Array(values)) => {
                        texts.extend(values.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    (_, value) => listed(value, texts),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| listed(value, texts)),
        _ => {}
    }
}

// A test that failed while it held the lock must not hide why.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
