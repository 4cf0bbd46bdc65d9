//! What the catalogue page says of each kind beside its shape: owner, delivery, key, versions, dates, readers.

use std::fmt::Write;

use anyhow::{Context, Result, anyhow};
use contracts::reads::{Fields, message_name};
use contracts::{Class, Entry, split_kind};
use serde_json::Value;

use super::page::{Told, anchor};
use super::topology::Subscription;
use crate::contract::UNTOLD;

/// The list for one kind.
///
/// # Errors
/// An event's own sample has no aggregate: its type and its samples disagree.
pub(super) fn facts(
    text: &mut String,
    entry: &Entry,
    entries: &[Entry],
    sample: &Value,
    told: &Told<'_>,
) -> Result<()> {
    let (owner, word, major) = split_kind(entry.kind)?;
    writeln!(text, "- Owner: `{owner}`")?;
    writeln!(text, "- Delivery: {}", delivery(entry.class))?;
    if let Some(aggregate) = entry.aggregate {
        let key = aggregate(sample).map_err(|error| anyhow!(error))?;
        writeln!(text, "- Key: `<tenant>/{key}`")?;
    }
    writeln!(text, "- Since: {}", since(entry, told))?;
    let sibling = |other: &&Entry| {
        let same = split_kind(other.kind).is_ok_and(|(o, w, m)| (o, w) == (owner, word) && m != major);
        other.class == entry.class && same
    };
    let others: Vec<String> = entries
        .iter()
        .filter(sibling)
        .map(|other| format!("[`{kind}`](#{})", anchor(other.kind), kind = other.kind))
        .collect();
    if !others.is_empty() {
        writeln!(text, "- Other versions: {}", others.join(", "))?;
    }
    if let Some(ending) = entry.deprecation {
        let (successor, link) = (ending.successor, anchor(ending.successor));
        writeln!(text, "- **Ends {}**, announced {}; use [`{successor}`](#{link})", ending.sunset, ending.since)?;
    }
    if let Some((_, why)) = UNTOLD.iter().find(|(kind, _)| entry.class == Class::Event && *kind == entry.kind) {
        writeln!(text, "- **Not told yet**: {why}")?;
    }
    readers(text, entry.class, entry.kind, told).context("its readers")
}

fn delivery(class: Class) -> &'static str {
    match class {
        Class::Event => "durable, at least once, in order per key, effects once",
        Class::Request | Class::Reply => "at most once per try, under the asker's deadline",
        Class::Signal => "best effort, to whoever listens at the address",
    }
}

fn since(entry: &Entry, told: &Told<'_>) -> String {
    let name = message_name(entry.class, entry.kind);
    let first = told.releases.iter().find(|release| release.told.revisions.contains_key(&name));
    first.map_or("not released yet".to_owned(), |release| format!("{} ({})", release.version, release.told.date))
}

/// Who reads a message, which of its fields, and how an event's reader deals with trouble.
///
/// # Errors
/// None; formatting has a signature.
pub(super) fn readers(text: &mut String, class: Class, kind: &str, told: &Told<'_>) -> Result<()> {
    let name = message_name(class, kind);
    let today = told.readers.of_message(&name).into_iter().filter(|(who, _)| !who.contains(' '));
    let mut lines = Vec::new();
    for (who, fields) in today {
        let policy =
            told.topology.rows.iter().find(|row| class == Class::Event && row.service == who && row.kind == kind);
        lines.push(format!("  - `{who}`: {}{}", names(fields), policy.map(words).unwrap_or_default()));
    }
    if lines.is_empty() {
        writeln!(text, "- Read by: nobody yet")?;
    } else {
        writeln!(text, "- Read by:\n{}", lines.join("\n"))?;
    }
    Ok(())
}

// Wholes are left out where their parts are listed.
fn names(fields: &Fields) -> String {
    let whole = |path: &str| {
        fields.keys().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '['])))
    };
    let names: Vec<String> = fields.keys().filter(|path| !whole(path)).map(|path| format!("`{path}`")).collect();
    if names.is_empty() { "that it came".to_owned() } else { names.join(", ") }
}

fn words(row: &Subscription) -> String {
    let seconds = |ms: u64| {
        if ms.is_multiple_of(1_000) { format!("{} s", ms / 1_000) } else { format!("{ms} ms") }
    };
    let order = if row.order == "LatestWins" { "the latest wins" } else { "every fact counts" };
    format!(
        "; {} tries of up to {}, waiting {} to {}; {order}",
        row.attempts,
        seconds(row.attempt_timeout_ms),
        seconds(row.initial_ms),
        seconds(row.max_ms)
    )
}
