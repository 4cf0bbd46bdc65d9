//! The contracts as this program knows them: schemas that values are held against.

use std::collections::BTreeMap;

use contracts::{Aggregate, Class, catalogue};
use jsonschema::Validator;
use serde_json::Value;

/// Most violations that one message is told to have.
const MAX_TOLD: usize = 3;

/// One contract with its compiled schema.
pub(crate) struct Known {
    /// Its kind.
    pub(crate) kind: &'static str,
    /// Event, request, reply or signal.
    pub(crate) class: Class,
    /// The ordering key of a payload, for events.
    pub(crate) aggregate: Option<Aggregate>,
    validator: Validator,
}

/// Every contract of the catalogue, compiled.
pub(crate) struct Schemas {
    known: Vec<Known>,
    by_name: BTreeMap<(&'static str, u8), usize>,
}

fn rank(class: Class) -> u8 {
    match class {
        Class::Event => 0,
        Class::Request => 1,
        Class::Reply => 2,
        Class::Signal => 3,
    }
}

impl Schemas {
    /// Compiles the built-in catalogue.
    ///
    /// # Errors
    /// A schema that can't be compiled: a fault of this program.
    pub(crate) fn built_in() -> anyhow::Result<Self> {
        let mut known = Vec::new();
        for entry in catalogue() {
            let validator = jsonschema::validator_for(&(entry.schema)().to_value())
                .map_err(|error| anyhow::anyhow!("{}: its schema can't be used: {error}", entry.kind))?;
            known.push(Known { kind: entry.kind, class: entry.class, aggregate: entry.aggregate, validator });
        }
        let by_name = known.iter().enumerate().map(|(at, one)| ((one.kind, rank(one.class)), at)).collect();
        Ok(Self { known, by_name })
    }

    /// Every contract.
    pub(crate) fn all(&self) -> &[Known] {
        &self.known
    }

    /// The contract of this name, if there is one.
    pub(crate) fn find(&self, class: Class, kind: &str) -> Option<&Known> {
        self.by_name.get(&(kind, rank(class))).map(|at| &self.known[*at])
    }

    /// What a message breaks, in words.
    ///
    /// # Errors
    /// Not JSON, an unknown kind, or every rule that is broken (the first few).
    pub(crate) fn check(&self, class: Class, kind: &str, data: &[u8]) -> Result<Value, String> {
        let value: Value = serde_json::from_slice(data).map_err(|error| format!("is not JSON: {error}"))?;
        let Some(known) = self.find(class, kind) else { return Err(format!("no contract is named {kind}")) };
        known.check(&value).map(|()| value)
    }
}

impl Known {
    /// Which rules of the schema a value breaks.
    ///
    /// # Errors
    /// The first few, in words.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        check(&self.validator, value)
    }
}

/// Which rules of a compiled schema a value breaks.
///
/// # Errors
/// The first few, in words.
pub(crate) fn check(validator: &Validator, value: &Value) -> Result<(), String> {
    let mut told = Vec::new();
    for error in validator.iter_errors(value).take(MAX_TOLD) {
        let path = error.instance_path().to_string();
        let place = if path.is_empty() { "$".to_owned() } else { path };
        told.push(format!("{place}: {error}"));
    }
    if told.is_empty() { Ok(()) } else { Err(told.join("; ")) }
}
