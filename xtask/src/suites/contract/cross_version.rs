//! Today's samples, and the events that the services' suites just captured from real code, read by a release's types.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use contracts::reads::message_name;
use contracts::{Entry, catalogue};
use serde_json::Value;

use crate::contract::{Captured, Release, Verdict, captured, read_by};
use crate::generate::Readers;
use contract_gate::judge;

pub(super) fn run(root: &Path, release: &Release) -> Result<()> {
    let messages = messages(root)?;
    let verdicts = read_by(root, &release.archive, &release.version, &messages, |_| Ok(()))?;
    let broken = broken(release, &messages, &verdicts);
    ensure!(broken.is_empty(), "{} can't read:\n{}", release.version, broken.join("\n"));
    let known = verdicts.iter().filter(|verdict| verdict.known).count();
    ensure!(known > 0, "{} knows none of today's messages", release.version);
    println!("        {} messages, {known} of them known to {}", messages.len(), release.version);
    Ok(())
}

/// What today's code says: the samples of every type, and what services really published.
fn messages(root: &Path) -> Result<Vec<(String, Value)>> {
    let mut messages = samples();
    messages.extend(captured(root)?.into_iter().map(|Captured { message, payload }| (message, payload)));
    Ok(messages)
}

fn samples() -> Vec<(String, Value)> {
    let of = |entry: &Entry| {
        let name = message_name(entry.class, entry.kind);
        (entry.samples)().into_iter().map(move |sample| (name.clone(), sample))
    };
    catalogue().iter().flat_map(of).collect()
}

/// What the release's readers lose. Its types may refuse more: a field that none of its services read may have gone.
fn broken(release: &Release, messages: &[(String, Value)], verdicts: &[Verdict]) -> Vec<String> {
    let readers =
        Readers::from_list(release.reads.iter().map(|reads| (reads.service.clone(), reads.clone())).collect());
    let today: BTreeMap<String, Value> =
        catalogue().iter().map(|entry| (message_name(entry.class, entry.kind), (entry.schema)().to_value())).collect();
    let mut broken = Vec::new();
    for ((message, payload), verdict) in messages.iter().zip(verdicts) {
        let Some(error) = &verdict.error else { continue };
        let changes = today.get(message).map(|schema| judge(&verdict.schema, schema)).unwrap_or_default();
        let unread = |hurt: Option<Vec<String>>| hurt.is_none_or(|hurt| hurt.is_empty());
        let excused = !changes.is_empty() && changes.iter().all(|change| unread(readers.hurt(message, change)));
        if !excused {
            broken.push(format!("  {message} {payload}: {error}"));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use std::fs;

    use anyhow::Context;
    use contracts::Contract;
    use contracts::events::presence::PeerWentOfflineV1;
    use contracts::reads::{Field, Reads};

    use super::*;
    use crate::contract::releases;

    #[test]
    fn a_release_reads_its_own_samples_and_one_that_today_breaks_is_caught() {
        let root = crate::workspace_root();
        let release = releases(&root).unwrap().pop().expect("there is a baseline");
        let lost = PeerWentOfflineV1::KIND;
        // A release whose type wants a field of the event under another name, as if today had renamed it.
        let doctor = |source: &Path| {
            let file = source.join("src/events/presence.rs");
            let text = fs::read_to_string(&file)?;
            let (head, tail) = text.split_once("pub struct PeerWentOfflineV1 {").context("it has the event")?;
            let tail = tail.replacen("pub peer_id", "#[serde(rename = \"who\")] pub peer_id", 1);
            Ok(fs::write(file, format!("{head}pub struct PeerWentOfflineV1 {{{tail}"))?)
        };
        let messages = samples();
        let verdicts = read_by(&root, &release.archive, "doctored", &messages, doctor).unwrap();
        let reads = Reads {
            service: "signaling".into(),
            reads: BTreeMap::from([(lost.to_owned(), BTreeMap::from([("who".to_owned(), Field::default())]))]),
        };
        let release = Release { reads: vec![reads], ..release };
        let caught = broken(&release, &messages, &verdicts);
        assert!(
            !caught.is_empty() && caught.iter().all(|line| line.contains(lost) && line.contains("who")),
            "{caught:?}"
        );
        let unread = Release { reads: Vec::new(), ..release };
        assert!(broken(&unread, &messages, &verdicts).is_empty(), "nobody read it");
    }
}
