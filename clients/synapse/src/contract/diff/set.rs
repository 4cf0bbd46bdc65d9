//! A set of contracts: the newest schema of every message, and who reads which part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use contracts::{Class, catalogue, topology};
use serde_json::Value;

/// The folder of goldens inside a checkout.
const GOLDEN: &str = "tests/contract/golden";
/// What may be given.
const KNOWN: &str =
    "a checkout, its tests/contract/golden, a baseline in it (tests/contract/released/<version>), or `built-in`";
/// The name of the set that this program was built with.
pub(super) const BUILT_IN: &str = "built-in";

/// One message.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    /// Its newest schema.
    pub(super) schema: Value,
    /// When it ends, if that was announced (RFC 3339 date).
    pub(super) sunset: Option<String>,
    /// Set once it was removed for good.
    pub(super) is_retired: bool,
}

/// Who reads a message: the paths, or everything where they are not recorded.
pub(super) type Readers = BTreeMap<String, Option<BTreeSet<String>>>;

/// A set.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    /// By name; replies have `.reply` appended.
    pub(super) messages: BTreeMap<String, Message>,
    /// By name of the message.
    pub(super) readers: BTreeMap<String, Readers>,
    /// Whether it is a release, whose processes still run while the next ones roll out.
    pub(super) is_release: bool,
}

impl Set {
    /// The built-in set, a folder of goldens, or a checkout that has one.
    ///
    /// # Errors
    /// Nothing of that kind is there, or a file can't be read.
    pub(super) fn load(name: &str) -> anyhow::Result<Self> {
        if name == BUILT_IN {
            return Ok(Self::built_in());
        }
        let path = Path::new(name);
        let inside = path.join(GOLDEN);
        if inside.is_dir() {
            return Ok(Self { messages: goldens(&inside)?, readers: readers(path)?, is_release: false });
        }
        if path.join("release.json").is_file() {
            return Self::released(path).with_context(|| format!("{name}: not a baseline in its checkout"));
        }
        if !path.is_dir() {
            bail!("{name}: there is no such folder; give {KNOWN}");
        }
        let set = Self { messages: goldens(path)?, readers: of_topology(), is_release: false };
        if set.messages.is_empty() {
            bail!("{name}: no <kind>/schema.N.json in it; give {KNOWN}");
        }
        Ok(set)
    }

    /// A baseline: it names revisions of the goldens beside it, and what its own services read.
    fn released(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.canonicalize()?;
        let version = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let golden = folder.ancestors().nth(2).context("it lies in no checkout")?.join("golden");
        let told = json(&folder.join("release.json"))?;
        let date = told["date"].as_str().context("release.json: no `date`")?;
        let mut set = Self { is_release: true, ..Self::default() };
        for (name, revision) in told["revisions"].as_object().context("release.json: no `revisions`")? {
            let of_it = golden.join(name);
            let schema = json(&of_it.join(format!("schema.{revision}.json")))?;
            // What was announced later was not known then.
            let ending = json(&of_it.join("deprecation.json")).unwrap_or_default();
            let known = ending["since"].as_str().is_some_and(|since| since <= date);
            let sunset = ending["sunset"].as_str().filter(|_| known).map(str::to_owned);
            set.messages.insert(name.clone(), Message { schema, sunset, is_retired: false });
        }
        for file in fs::read_dir(folder.join("reads"))? {
            recorded(&mut set.readers, &file?.path(), &format!(" {version}"))?;
        }
        Ok(set)
    }

    fn built_in() -> Self {
        let messages = catalogue().into_iter().map(|entry| {
            let name = match entry.class {
                Class::Reply => format!("{}.reply", entry.kind),
                _ => entry.kind.to_owned(),
            };
            let sunset = entry.deprecation.map(|ending| ending.sunset.to_owned());
            (name, Message { schema: (entry.schema)().to_value(), sunset, is_retired: false })
        });
        Self { messages: messages.collect(), readers: of_topology(), is_release: false }
    }
}

fn goldens(folder: &Path) -> anyhow::Result<BTreeMap<String, Message>> {
    let mut messages = BTreeMap::new();
    for kind in fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))? {
        let kind = kind?.path();
        if !kind.is_dir() {
            continue;
        }
        let name = kind.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut newest: Option<(u32, Value)> = None;
        let mut message = Message::default();
        for file in fs::read_dir(&kind)? {
            let path = file?.path();
            let leaf = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match leaf.split('.').collect::<Vec<_>>()[..] {
                ["schema", revision, "json"] => {
                    let revision = revision.parse().with_context(|| format!("{}: not a revision", path.display()))?;
                    if newest.as_ref().is_none_or(|(known, _)| revision > *known) {
                        newest = Some((revision, json(&path)?));
                    }
                }
                ["deprecation", "json"] => message.sunset = json(&path)?["sunset"].as_str().map(str::to_owned),
                ["retired", "json"] => message.is_retired = true,
                _ => {}
            }
        }
        if let Some((_, schema)) = newest {
            messages.insert(name, Message { schema, ..message });
        }
    }
    Ok(messages)
}

fn json(path: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

/// The recorded reads of a checkout's services; where a service has none, what it subscribes to.
fn readers(root: &Path) -> anyhow::Result<BTreeMap<String, Readers>> {
    let mut readers: BTreeMap<String, Readers> = BTreeMap::new();
    let topology = root.join("libs/contracts/topology.json");
    if topology.is_file() {
        for (kind, services) in json(&topology)?.as_object().into_iter().flatten() {
            let names = services.as_array().into_iter().flatten().filter_map(Value::as_str);
            readers.entry(kind.clone()).or_default().extend(names.map(|name| (name.to_owned(), None)));
        }
    }
    let services = root.join("services");
    let Ok(folders) = fs::read_dir(&services) else { return Ok(readers) };
    for folder in folders {
        let path = folder?.path().join("contract/reads.json");
        if path.is_file() {
            recorded(&mut readers, &path, "")?;
        }
    }
    Ok(readers)
}

/// Adds what one service's file says; `suffix` tells apart whose file it is.
fn recorded(readers: &mut BTreeMap<String, Readers>, path: &Path, suffix: &str) -> anyhow::Result<()> {
    let recorded = json(path)?;
    let service = recorded["service"].as_str().with_context(|| format!("{}: no `service`", path.display()))?;
    for (message, fields) in recorded["reads"].as_object().into_iter().flatten() {
        let paths = fields.as_object().map(|fields| fields.keys().cloned().collect());
        readers.entry(message.clone()).or_default().insert(format!("{service}{suffix}"), paths);
    }
    Ok(())
}

/// Who subscribes, as this program knows it.
fn of_topology() -> BTreeMap<String, Readers> {
    let kinds = catalogue().into_iter().filter(|entry| entry.class == Class::Event).map(|entry| entry.kind);
    kinds
        .map(|kind| {
            let readers = topology::subscribers(kind).iter().map(|service| (service.clone(), None)).collect();
            (kind.to_owned(), readers)
        })
        .collect()
}
