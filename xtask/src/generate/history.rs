//! The committed goldens: every schema and sample of every kind, and the announced ends.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Everything committed about one kind (`presence.connect.v1`, `presence.connect.v1.reply`).
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record {
    /// Every schema ever committed, revision 1 first.
    pub(super) schemas: Vec<Value>,
    /// By revision, then by number.
    pub(super) samples: BTreeMap<(u32, u32), Value>,
    /// The announced end.
    pub(super) deprecation: Option<Value>,
    /// Set once the kind was removed after its sunset.
    pub(super) retired: Option<Value>,
}

/// By kind, replies with `.reply` appended.
pub(super) type History = BTreeMap<String, Record>;

/// Reads the golden folder; a folder that does not exist is an empty history.
///
/// # Errors
/// A file can't be read, is not JSON or has a name that means nothing here; a revision is missing.
pub(super) fn read(folder: &Path) -> Result<History> {
    let mut history = History::new();
    if !folder.exists() {
        return Ok(history);
    }
    for kind in fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))? {
        let kind = kind?;
        let name = kind.file_name().to_string_lossy().into_owned();
        let record = record(&kind.path()).with_context(|| format!("golden files of `{name}`"))?;
        history.insert(name, record);
    }
    Ok(history)
}

fn record(folder: &Path) -> Result<Record> {
    let mut record = Record::default();
    let mut schemas = BTreeMap::new();
    for file in fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))? {
        let path = file?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
        let value: Value = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
        match name.split('.').collect::<Vec<_>>()[..] {
            ["deprecation", "json"] => record.deprecation = Some(value),
            ["retired", "json"] => record.retired = Some(value),
            ["schema", revision, "json"] => {
                schemas.insert(number(revision, &name)?, value);
            }
            ["sample", revision, sample, "json"] => {
                record.samples.insert((number(revision, &name)?, number(sample, &name)?), value);
            }
            _ => bail!("{}: unknown golden file; expected schema.N.json or sample.N.M.json", path.display()),
        }
    }
    for (expected, revision) in (1..).zip(schemas.keys()) {
        ensure!(expected == *revision, "schema.{expected}.json is missing: restore it, history only grows");
    }
    record.schemas = schemas.into_values().collect();
    Ok(record)
}

fn number(text: &str, name: &str) -> Result<u32> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .with_context(|| format!("{name}: {text:?} is not a number from 1 on"))
}
