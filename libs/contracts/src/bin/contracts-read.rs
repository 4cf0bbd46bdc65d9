//! Reads messages with the types of this version of the contracts: what a release's readers make of what is said today.
//!
//! It travels with every released archive of this crate (`tests/contract/released`). One JSON object per line comes in,
//! `{"message": "presence.connect.v1.reply", "payload": …}`, and one goes out: `{"known": true}` when it was read,
//! `{"known": false}` when this version has no such message, `{"known": true, "error": "…", "schema": …}` when its type
//! refuses the payload.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use contracts::reads::message_name;
use contracts::{Entry, catalogue};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Line {
    message: String,
    payload: Value,
}

fn main() -> io::Result<()> {
    let entries: BTreeMap<String, Entry> =
        catalogue().into_iter().map(|entry| (message_name(entry.class, entry.kind), entry)).collect();
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line: Line = serde_json::from_str(&line?).map_err(io::Error::other)?;
        let verdict = match entries.get(&line.message) {
            None => json!({"known": false}),
            Some(entry) => match (entry.reparse)(&line.payload) {
                Ok(_) => json!({"known": true}),
                Err(error) => json!({"known": true, "error": error, "schema": (entry.schema)().to_value()}),
            },
        };
        writeln!(out, "{verdict}")?;
    }
    Ok(())
}
