//! The contracts as a whole: goldens, samples, names, ends, and how tolerant the readers are.

#![allow(clippy::unwrap_used, missing_docs)]

mod catalogue;
mod goldens;
mod readers;

use contracts::{Class, Entry};
use serde_json::Value;

/// A name that tells an entry from all others: replies share their request's kind.
fn name(entry: &Entry) -> String {
    if entry.class == Class::Reply { format!("{}.reply", entry.kind) } else { entry.kind.to_owned() }
}

fn schema(entry: &Entry) -> Value {
    (entry.schema)().to_value()
}
