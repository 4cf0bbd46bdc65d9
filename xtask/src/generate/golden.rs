//! Golden schemas and samples. History only grows: a compatible change appends a revision, anything else is refused.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use contracts::{Entry, split_kind};
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::history::{History, Record};
use super::readers::Readers;
use super::{GOLDEN, file, name, pretty};
use crate::bless::Generated;
use contract_gate::{Subject, crosscheck, judge};

/// Instances that the cross-check reads in each direction, per revision.
const INSTANCES: u64 = 64;

/// The golden files as they must be, given what the types are now and what was committed before.
///
/// # Errors
/// A breaking change, a kind removed too early, or a verdict that real parsers contradict: all of them at once, each
/// with its kind, JSON path, rule and what to do.
pub(super) fn goldens(entries: &[Entry], history: &History, readers: &Readers, today: Date) -> Result<Vec<Generated>> {
    let mut files = Vec::new();
    let mut refusals = Vec::new();
    let mut names = BTreeSet::new();
    let empty = Record::default();
    for entry in entries {
        let name = name(entry);
        ensure!(names.insert(name.clone()), "{name}: two types have this kind; rename one");
        match kind(entry, &name, history.get(&name).unwrap_or(&empty), readers) {
            Ok(made) => files.extend(made),
            Err(refusal) => refusals.push(format!("{refusal:#}")),
        }
    }
    for (name, record) in history.iter().filter(|(name, _)| !names.contains(*name)) {
        match removed(name, record, readers, today) {
            Ok(made) => files.extend(made),
            Err(refusal) => refusals.push(format!("{refusal:#}")),
        }
    }
    if !refusals.is_empty() {
        bail!("{}", refusals.join("\n"));
    }
    Ok(files)
}

fn kind(entry: &Entry, name: &str, record: &Record, readers: &Readers) -> Result<Vec<Generated>> {
    ensure!(record.retired.is_none(), "{name}: this kind was retired and its name is not used again; {}", beside(name));
    let schema = plain(&(entry.schema)().to_value());
    refuse_breaks(entry, name, &schema, record, readers)?;
    let same = record.schemas.last() == Some(&schema);
    let revision = u32::try_from(record.schemas.len()).context("more revisions than fit u32")? + u32::from(!same);
    let mut files = vec![golden(name, &format!("schema.{revision}.json"), &schema)];
    files.extend(samples(entry, name, record, revision));
    files.extend(deprecation(entry, name, record)?);
    Ok(files)
}

fn refuse_breaks(entry: &Entry, name: &str, schema: &Value, record: &Record, readers: &Readers) -> Result<()> {
    let today = Subject { schema, reparse: Some(&entry.reparse) };
    let own = Subject { schema, reparse: None };
    crosscheck(&own, &today, INSTANCES)
        .map_err(|error| anyhow::anyhow!("{name}: the schema does not describe the type: {error}"))?;
    for (revision, old) in (1..).zip(&record.schemas) {
        let lines: Vec<String> = judge(old, schema)
            .iter()
            .filter_map(|one| match readers.hurt(name, one) {
                None => Some(format!("  {one}")),
                Some(hurt) if hurt.is_empty() => None,
                Some(hurt) => Some(format!("  {one}\n    {}", hurt.join("\n    "))),
            })
            .collect();
        if !lines.is_empty() {
            bail!(
                "{name}: the change breaks revision {revision} ({GOLDEN}/{name}/schema.{revision}.json):\n{}\n  Or {}",
                lines.join("\n"),
                beside(name)
            );
        }
        crosscheck(&Subject { schema: old, reparse: None }, &today, INSTANCES).map_err(|error| {
            anyhow::anyhow!("{name}: against revision {revision} the gate's verdict and the parsers disagree: {error}")
        })?;
    }
    Ok(())
}

fn beside(name: &str) -> String {
    let kind = name.strip_suffix(".reply").unwrap_or(name);
    match split_kind(kind) {
        Ok((owner, word, major)) => format!(
            "make `{owner}.{word}.v{}` beside it and announce the end of `{kind}` (docs/contracts/change.md)",
            major + 1
        ),
        Err(error) => error.to_string(),
    }
}

// Samples are history too: new ones are appended, those that no longer come from the code stay.
fn samples(entry: &Entry, name: &str, record: &Record, revision: u32) -> Vec<Generated> {
    let committed: Vec<(u32, &Value)> = record
        .samples
        .iter()
        .filter(|((of, _), _)| *of == revision)
        .map(|((_, number), value)| (*number, value))
        .collect();
    let mut last = committed.last().map_or(0, |(number, _)| *number);
    let mut all: Vec<(u32, Value)> = committed.iter().map(|(number, value)| (*number, (*value).clone())).collect();
    for sample in (entry.samples)() {
        if !all.iter().any(|(_, value)| *value == sample) {
            last += 1;
            all.push((last, sample));
        }
    }
    all.iter().map(|(number, value)| golden(name, &format!("sample.{revision}.{number}.json"), value)).collect()
}

fn deprecation(entry: &Entry, name: &str, record: &Record) -> Result<Option<Generated>> {
    let announced = record.deprecation.as_ref();
    let Some(now) = entry.deprecation else {
        ensure!(
            announced.is_none(),
            "{name}: its end was announced; to withdraw that, delete {GOLDEN}/{name}/deprecation.json as well"
        );
        return Ok(None);
    };
    if let Some(before) = announced.and_then(|value| value["sunset"].as_str()) {
        ensure!(
            date(now.sunset)? >= date(before)?,
            "{name}: its end was announced for {before} and can't come earlier ({})",
            now.sunset
        );
    }
    let value = json!({"since": now.since, "sunset": now.sunset, "successor": now.successor});
    Ok(Some(golden(name, "deprecation.json", &value)))
}

// The kind is no longer in the catalogue. Its goldens stay, with a marker that takes its name out of use.
fn removed(name: &str, record: &Record, readers: &Readers, today: Date) -> Result<Vec<Generated>> {
    if let Some(retired) = &record.retired {
        return Ok(vec![golden(name, "retired.json", retired)]);
    }
    let Some(announced) = &record.deprecation else {
        bail!(
            "{name}: the kind was removed and its end was never announced: restore it and set DEPRECATION with a \
             sunset at least 90 days ahead (docs/contracts/retire.md)"
        );
    };
    let sunset = announced["sunset"].as_str().unwrap_or_default();
    ensure!(
        today > date(sunset)?,
        "{name}: the kind was removed before its announced end: restore it until {sunset} (today is {today})"
    );
    let reading: Vec<&str> = readers.of_message(name).into_keys().collect();
    ensure!(
        reading.is_empty(),
        "{name}: the kind was removed and is still read by {}: restore it until they have moved on and a release \
         without them is out",
        reading.join(", ")
    );
    ensure!(
        readers.unknown().is_empty(),
        "{name}: the kind was removed and nobody knows what {} reads; `cargo xtask bless` records it",
        readers.unknown().join(", ")
    );
    let retired = json!({"sunset": sunset, "successor": announced["successor"]});
    Ok(vec![golden(name, "retired.json", &retired)])
}

fn date(text: &str) -> Result<Date> {
    text.parse().with_context(|| format!("{text:?} is not a date like 2027-02-18"))
}

fn golden(name: &str, leaf: &str, value: &Value) -> Generated {
    file(format!("{GOLDEN}/{name}/{leaf}"), pretty(value))
}

/// A schema without prose: a comment's wording is not a revision.
fn plain(schema: &Value) -> Value {
    let Value::Object(keywords) = schema else { return schema.clone() };
    let mut plain = Map::new();
    for (keyword, value) in keywords {
        let value = match (keyword.as_str(), value) {
            ("title" | "description", _) => continue,
            ("properties" | "$defs" | "patternProperties", Value::Object(named)) => {
                Value::Object(named.iter().map(|(name, schema)| (name.clone(), self::plain(schema))).collect())
            }
            ("oneOf" | "anyOf" | "allOf" | "prefixItems", Value::Array(list)) => list.iter().map(self::plain).collect(),
            ("items" | "additionalProperties" | "unevaluatedProperties" | "not", schema) => self::plain(schema),
            _ => value.clone(),
        };
        plain.insert(keyword.clone(), value);
    }
    Value::Object(plain)
}

#[cfg(test)]
#[path = "golden_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "golden_real_tests.rs"]
mod real_tests;
