//! `docs/events.md`: every kind for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use contracts::{Class, Entry};
use serde_json::Value;

use super::facts::{facts, readers};
use super::prose::{description, fields, summary, type_name};
use super::readers::Readers;
use super::topology::Topology;
use crate::contract::Release;

const HEAD: &str = "# Events, requests and signals

Generated from `libs/contracts` by `cargo xtask bless`; don't edit. How to add, change or retire one:
[contracts](contracts/README.md). For programs: [asyncapi.json](asyncapi.json).

An **event** is a durable fact: at least once, in order per key, effects once. A **request** asks one owner and gets a
reply: at most once per try, under a deadline. A **signal** is ephemeral and addressed: best effort on the fastest path.
Every message belongs to a tenant and carries CloudEvents 1.0 attributes; `type` is `synapse.` and the kind.
";

/// What the page tells beside the catalogue.
pub(super) struct Told<'a> {
    /// Who subscribes, and how it deals with trouble.
    pub(super) topology: &'a Topology,
    /// Who reads which fields.
    pub(super) readers: &'a Readers,
    /// Since when there is what.
    pub(super) releases: &'a [Release],
}

/// The whole page.
///
/// # Errors
/// An event's own sample has no aggregate: its type and its samples disagree.
pub(super) fn page(entries: &[Entry], told: &Told<'_>) -> Result<String> {
    let mut text = HEAD.to_owned();
    let mut parts: BTreeMap<String, Value> = BTreeMap::new();
    for (class, title, readers) in
        [(Class::Event, "Events", "read by"), (Class::Request, "Requests", ""), (Class::Signal, "Signals", "")]
    {
        let mut listed: Vec<&Entry> = entries.iter().filter(|entry| entry.class == class).collect();
        listed.sort_by_key(|entry| entry.kind);
        write!(text, "\n## {title}\n\n| kind | what | {readers} |\n|---|---|---|\n")?;
        for entry in &listed {
            let readers = told.topology.routes.get(entry.kind).map(|list| list.join(", ")).unwrap_or_default();
            let ending = if entry.deprecation.is_some() { " *(ending)*" } else { "" };
            let summary = summary(&(entry.schema)().to_value());
            writeln!(
                text,
                "| [`{kind}`](#{anchor}){ending} | {summary} | {readers} |",
                kind = entry.kind,
                anchor = anchor(entry.kind)
            )?;
        }
        for entry in listed {
            kind(&mut text, entry, entries, told, &mut parts).with_context(|| entry.kind)?;
        }
    }
    shared_types(&mut text, &parts)?;
    Ok(text)
}

// As mdBook and GitHub make it: dots go away.
pub(super) fn anchor(kind: &str) -> String {
    kind.replace('.', "")
}

fn kind(
    text: &mut String,
    entry: &Entry,
    entries: &[Entry],
    told: &Told<'_>,
    parts: &mut BTreeMap<String, Value>,
) -> Result<()> {
    let schema = (entry.schema)().to_value();
    let samples = (entry.samples)();
    let sample = samples.first().context("has no sample")?;
    write!(text, "\n### {}\n\n{}\n\n", entry.kind, description(&schema))?;
    facts(text, entry, entries, sample, told)?;
    table(text, &schema)?;
    example(text, sample)?;
    collect(parts, &schema);
    if let Some(reply) = entries.iter().find(|other| other.class == Class::Reply && other.kind == entry.kind) {
        replies(text, reply, told, parts)?;
    }
    Ok(())
}

fn replies(text: &mut String, reply: &Entry, told: &Told<'_>, parts: &mut BTreeMap<String, Value>) -> Result<()> {
    let schema = (reply.schema)().to_value();
    let variant = |name: &str| {
        let members = schema["oneOf"].as_array().into_iter().flatten();
        members.filter_map(|member| member["properties"].get(name)).map(type_name).next().unwrap_or_default()
    };
    writeln!(
        text,
        "\nAnswer: `{{\"ok\": {}}}`, `{{\"refused\": {}}}` or `{{\"failed\": Failure}}`.",
        variant("ok"),
        variant("refused")
    )?;
    text.push('\n');
    readers(text, Class::Reply, reply.kind, told)?;
    for sample in (reply.samples)().iter().take(1) {
        example(text, sample)?;
    }
    collect(parts, &schema);
    Ok(())
}

fn table(text: &mut String, schema: &Value) -> Result<()> {
    let rows = fields(schema);
    if rows.is_empty() {
        return Ok(());
    }
    text.push_str("\n| field | type | required | meaning |\n|---|---|---|---|\n");
    for [name, kind, required, meaning] in rows {
        writeln!(text, "| {name} | {kind} | {required} | {meaning} |")?;
    }
    Ok(())
}

fn example(text: &mut String, sample: &Value) -> Result<()> {
    write!(text, "\n```json\n{sample:#}\n```\n")?;
    Ok(())
}

fn collect(parts: &mut BTreeMap<String, Value>, schema: &Value) {
    for (name, part) in schema["$defs"].as_object().into_iter().flatten() {
        parts.insert(name.clone(), part.clone());
    }
}

fn shared_types(text: &mut String, parts: &BTreeMap<String, Value>) -> Result<()> {
    text.push_str("\n## Types they share\n");
    for (name, part) in parts {
        write!(text, "\n### {name}\n\n{}\n", description(part))?;
        table(text, part)?;
        let variants: Vec<&Value> = part["oneOf"].as_array().into_iter().flatten().collect();
        if variants.is_empty() {
            continue;
        }
        text.push_str("\n| value | fields | meaning |\n|---|---|---|\n");
        for variant in variants {
            let own = fields(variant);
            let value = match variant.get("const") {
                Some(value) => format!("`{value}`"),
                None => variant["properties"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .find_map(|(name, schema)| schema.get("const").map(|value| format!("`{name}: {value}`")))
                    .unwrap_or_default(),
            };
            let names = own.iter().filter(|row| !value.starts_with(row[0].trim_end_matches('`')));
            let names: Vec<String> = names.map(|[name, kind, ..]| format!("{name} ({kind})")).collect();
            writeln!(text, "| {value} | {} | {} |", names.join(", "), description(variant))?;
        }
        if let Some(unknown) = part["x-unknown"].as_str() {
            writeln!(text, "\nMay grow: a reader takes a value it does not know as `{unknown}`.")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use contracts::{catalogue, split_kind};

    use super::*;

    #[test]
    fn every_kind_tells_owner_delivery_key_versions_dates_readers_policies_and_an_example() {
        let root = crate::workspace_root();
        let page = fs::read_to_string(root.join("docs/events.md")).unwrap();
        let routes = fs::read_to_string(root.join("libs/contracts/topology.json")).unwrap();
        let routes: BTreeMap<String, Vec<String>> = serde_json::from_str(&routes).unwrap();
        let entries = catalogue();
        for entry in entries.iter().filter(|entry| entry.class != Class::Reply) {
            let kind = entry.kind;
            let (owner, ..) = split_kind(kind).unwrap();
            let (_, rest) = page.split_once(&format!("\n### {kind}\n")).unwrap_or_else(|| panic!("{kind} is missing"));
            let section = rest.split("\n##").next().unwrap();
            let has = |part: &str| assert!(section.contains(part), "{kind} lacks {part:?}:\n{section}");
            has(&format!("\n- Owner: `{owner}`\n"));
            has("\n- Delivery: ");
            has("\n- Since: ");
            has("\n- Read by:");
            has("\n```json\n");
            if entry.class == Class::Event {
                has("\n- Key: `<tenant>/");
            }
            if let Some(ending) = entry.deprecation {
                has(&format!("\n- **Ends {}**, announced {}; use", ending.sunset, ending.since));
            }
            for reader in routes.get(kind).into_iter().flatten() {
                let line = section.lines().find(|line| line.starts_with(&format!("  - `{reader}`: ")));
                let line = line.unwrap_or_else(|| panic!("{kind} lacks its reader {reader}:\n{section}"));
                assert!(line.contains(" tries of up to ") && line.contains(", waiting "), "{kind}: {line}");
            }
            if entry.class == Class::Request {
                has("\nAnswer: `{\"ok\": ");
                assert_eq!(
                    section.matches("```json").count(),
                    2,
                    "{kind}: an example of the request and of its answer"
                );
            }
        }
    }
}
