//! Which events come from real code: those that the services' suites caught. An event without one is a promise that
//! nobody keeps yet, and says so wherever it is shown.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use contracts::{Class, Entry, catalogue};
use serde::Deserialize;
use serde_json::Value;

use super::reads::target_folder;

/// Events that have a contract, and readers, before their owner tells them; and why.
pub(crate) const UNTOLD: &[(&str, &str)] = &[(
    "gateway.usage_recorded.v1",
    "the gateway passes signals on and carries no data of peers, so it has nothing to report",
)];

/// A message that a service's suite captured.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Captured {
    /// Its kind.
    pub(crate) message: String,
    /// What it said.
    pub(crate) payload: Value,
}

/// Forgets what earlier runs of the suites captured.
///
/// # Errors
/// The folder can't be removed.
pub(crate) fn forget(root: &Path) -> Result<()> {
    let folder = target_folder(root)?.join("tmp/captured");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("can't remove {}", folder.display()))?;
    }
    Ok(())
}

/// Every event that the services' suites captured.
///
/// # Errors
/// No suite has run, or what one wrote can't be read.
pub(crate) fn captured(root: &Path) -> Result<Vec<Captured>> {
    let folder = target_folder(root)?.join("tmp/captured");
    let files =
        fs::read_dir(&folder).context("no service's suite captured an event: run `cargo xtask test contract`")?;
    let mut captured: Vec<Captured> = Vec::new();
    for file in files {
        let path = file?.path();
        if path.extension().is_some_and(|found| found == "json") {
            captured.extend(serde_json::from_str::<Vec<Captured>>(&fs::read_to_string(&path)?)?);
        }
    }
    Ok(captured)
}

/// Whether every event of the catalogue was captured, but for those that say they are not.
///
/// # Errors
/// The kinds for which that is not so, and what to do.
pub(crate) fn all_told(root: &Path) -> Result<()> {
    let told: BTreeSet<String> = captured(root)?.into_iter().map(|one| one.message).collect();
    let wrong = wrong(&catalogue(), &told, UNTOLD);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (kind, why) in UNTOLD {
        println!("        not told yet: {kind}: {why}");
    }
    Ok(())
}

fn wrong(entries: &[Entry], told: &BTreeSet<String>, untold: &[(&str, &str)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for kind in entries.iter().filter(|entry| entry.class == Class::Event).map(|entry| entry.kind) {
        let owner = kind.split('.').next().unwrap_or_default();
        let is_listed = untold.iter().any(|(other, _)| *other == kind);
        match (told.contains(kind), is_listed) {
            (false, false) => wrong.push(format!(
                "{kind}: no suite shows the code that tells it: show it in services/{owner}/tests/contract/events.rs"
            )),
            (true, true) => {
                wrong.push(format!("{kind}: it is told now: take it off the list in xtask/src/contract/untold.rs"));
            }
            _ => {}
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_nobody_tells_is_named_and_so_is_an_excuse_that_is_over() {
        let entries = catalogue();
        let all: BTreeSet<String> = entries.iter().map(|entry| entry.kind.to_owned()).collect();
        assert!(wrong(&entries, &all, &[]).is_empty());
        let (lost, excuse) = ("presence.peer_went_online.v1", [("presence.peer_went_online.v1", "a test")]);
        let mut some = all.clone();
        some.remove(lost);
        assert!(wrong(&entries, &some, &excuse).is_empty());
        let [line] = &wrong(&entries, &some, &[])[..] else { panic!("one is lost") };
        assert!(line.contains(lost) && line.contains("services/presence/tests/contract/events.rs"), "{line}");
        let [line] = &wrong(&entries, &all, &excuse)[..] else { panic!("one excuse is over") };
        assert!(line.contains("take it off the list"), "{line}");
    }

    #[test]
    fn every_excuse_is_about_an_event_of_the_catalogue() {
        for (kind, why) in UNTOLD {
            let known = catalogue().iter().any(|entry| entry.class == Class::Event && entry.kind == *kind);
            assert!(known && !why.is_empty(), "{kind}");
        }
    }
}
