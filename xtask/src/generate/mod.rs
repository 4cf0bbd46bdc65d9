//! What is generated from the contracts: goldens, the AsyncAPI document, the catalogue page, TypeScript types, topology.
//!
//! Each generator is a pure function from the catalogue (and, for goldens, the committed history) to texts; the
//! functions here read what it needs from the tree and are what `bless` registers.

mod asyncapi;
mod browser;
mod facts;
mod golden;
mod history;
mod page;
mod prose;
mod readers;
mod topology;
mod typescript;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use contracts::{Class, Entry};

pub(crate) use self::readers::{Readers, reads_files};
use crate::bless::Generated;
use crate::contract::releases;

/// Where goldens live, relative to the workspace root.
const GOLDEN: &str = "tests/contract/golden";

/// Golden schemas and samples; refuses a change that the compatibility gate refuses.
pub(crate) fn goldens(root: &Path) -> Result<Vec<Generated>> {
    let history = history::read(&root.join(GOLDEN))?;
    golden::goldens(&contracts::catalogue(), &history, &Readers::of(root)?, today())
}

/// The newest revision of every message that is not retired.
///
/// # Errors
/// A golden file can't be read.
pub(crate) fn revisions(root: &Path) -> Result<BTreeMap<String, u32>> {
    let history = history::read(&root.join(GOLDEN))?;
    let living = history.into_iter().filter(|(_, record)| record.retired.is_none());
    living.map(|(name, record)| Ok((name, u32::try_from(record.schemas.len())?))).collect()
}

/// The AsyncAPI 3 document.
pub(crate) fn asyncapi(_: &Path) -> Result<Vec<Generated>> {
    Ok(vec![file("docs/asyncapi.json", pretty(&asyncapi::document(&contracts::catalogue())?))])
}

/// TypeScript types of every message, frame and HTTP body, and the browser SDK compiled with them.
pub(crate) fn typescript(root: &Path) -> Result<Vec<Generated>> {
    browser::all(root)
}

/// Who reads what, from the services' own SUBSCRIPTIONS: the relay's routes, the broker's streams, consumers and queues,
/// and the page that lists the readers.
pub(crate) fn topology(root: &Path) -> Result<Vec<Generated>> {
    let listed = synapsed(root, "topology")?;
    let entries = contracts::catalogue();
    let topology = topology::topology(&listed, &entries)?;
    let (readers, releases) = (Readers::of(root)?, releases(root)?);
    let told = page::Told { topology: &topology, readers: &readers, releases: &releases };
    let page = page::page(&entries, &told)?;
    Ok(vec![
        file("libs/contracts/topology.json", pretty(&serde_json::json!(topology.routes))),
        file("deploy/topology.json", pretty(&topology.deployment)),
        file("docs/events.md", page),
    ])
}

/// The page of all problem codes.
pub(crate) fn errors_page(root: &Path) -> Result<Vec<Generated>> {
    Ok(vec![file("docs/errors.md", synapsed(root, "errors-page")?)])
}

/// The OpenAPI 3.1 document of the gateway's HTTP API.
pub(crate) fn openapi(root: &Path) -> Result<Vec<Generated>> {
    Ok(vec![file("docs/openapi.json", synapsed(root, "open-api")?)])
}

// What the program that links every service prints about itself.
fn synapsed(root: &Path, subcommand: &str) -> Result<String> {
    let mut command = std::process::Command::new("cargo");
    command.args(["run", "--quiet", "--package", "synapsed", "--", subcommand]).current_dir(root);
    crate::process::output(&mut command)
}

// Today in UTC, by the machine's clock. A clock outside jiff's range (years -9999 to 9999) reads as 1970.
pub(crate) fn today() -> jiff::civil::Date {
    let now_ms = i64::try_from(clock::Clock::system().now_ms()).unwrap_or_default();
    let now = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
    now.to_zoned(jiff::tz::TimeZone::UTC).date()
}

fn file(path: impl Into<PathBuf>, text: String) -> Generated {
    Generated { path: path.into(), text }
}

// Indented JSON, keys sorted so that equal values are equal texts, with a line break at its end.
fn pretty(value: &serde_json::Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    format!("{sorted:#}\n")
}

// A name that tells an entry from all others: replies share their request's kind.
fn name(entry: &Entry) -> String {
    match entry.class {
        Class::Reply => format!("{}.reply", entry.kind),
        _ => entry.kind.to_owned(),
    }
}
