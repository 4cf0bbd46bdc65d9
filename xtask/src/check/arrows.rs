//! Who may depend on whom: contracts ← {bus, store, auth} ← outbox ← service ← services ← {synapsed, benches}.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};

use super::Finding;

/// Which of our crates each one may depend on, in builds and in its tests. Every member of the workspace has a row.
const MAY_DEPEND: &[(&str, &[&[&str]])] = &[
    ("clock", &[]),
    ("contracts", &[]),
    ("carrier", &[&["clock"]]),
    // Only its tests, which generate instances of every contract.
    ("contract-gate", &[&["contracts"]]),
    ("bus", &[BASE]),
    ("store", &[BASE]),
    ("auth", &[BASE]),
    ("outbox", &[BASE, BACKENDS]),
    ("service", &[BASE, BACKENDS, &["outbox"]]),
    ("gateway", &[BASE, BACKENDS, KIT]),
    ("presence", &[BASE, BACKENDS, KIT]),
    ("signaling", &[BASE, BACKENDS, KIT]),
    ("subscription", &[BASE, BACKENDS, KIT]),
    // Its tests run the real agent against it.
    ("tunnel", &[BASE, BACKENDS, KIT, &["carrier", "agent"]]),
    ("webhook", &[BASE, BACKENDS, KIT]),
    ("synapsed", &[BASE, BACKENDS, KIT, SERVICES, CLIENTS, &["stripe-emulator"]]),
    ("peer", &[BASE]),
    ("agent", &[BASE, &["carrier"]]),
    // `synapse contract` listens to the bus itself and compares contract sets (ADR 0030).
    ("synapse", &[BASE, &["agent", "bus", "contract-gate", "peer"]]),
    ("stripe-emulator", &[&["clock"]]),
    // Behind its feature `contract`, for suites that drive a service over its bus.
    ("testkit", &[BASE, &["bus"]]),
    ("xtask", &[BASE, &["contract-gate", "testkit"]]),
    ("benches", &[BASE, BACKENDS, KIT, SERVICES, &["testkit", "stripe-emulator", "synapse", "synapsed"]]),
];

const BASE: &[&str] = &["clock", "contracts"];
const BACKENDS: &[&str] = &["bus", "store", "auth"];
const KIT: &[&str] = &["outbox", "service"];
const SERVICES: &[&str] = &["gateway", "presence", "signaling", "subscription", "tunnel", "webhook"];
const CLIENTS: &[&str] = &["agent", "peer", "synapse"];
/// Free to everybody's tests, closed to everybody's builds.
const TESTS_ONLY: &[&str] = &["testkit", "stripe-emulator"];

/// A crate of the workspace, as far as the arrows go.
pub(super) struct Member {
    name: String,
    folder: String,
    manifest: PathBuf,
    manifest_text: String,
    /// Its dependencies on other members; `true` for those of its tests only.
    arrows: Vec<(String, bool)>,
}

/// The workspace's crates as cargo sees them.
pub(super) fn members(root: &Path) -> Result<Vec<Member>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata failed; is a manifest broken?")?;
    let ours: Vec<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let member = |package: &cargo_metadata::Package| -> Result<Member> {
        let manifest = package.manifest_path.as_std_path();
        let arrows = package.dependencies.iter().filter(|dependency| ours.contains(&dependency.name));
        Ok(Member {
            name: package.name.to_string(),
            folder: manifest.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned(),
            manifest: manifest.strip_prefix(root).unwrap_or(manifest).to_owned(),
            manifest_text: fs::read_to_string(manifest)?,
            arrows: arrows.map(|arrow| (arrow.name.clone(), arrow.kind == DependencyKind::Development)).collect(),
        })
    };
    metadata.packages.iter().map(member).collect()
}

/// Arrows that point the wrong way, crates without a row, folders with another name than their crate.
pub(super) fn check(members: &[Member]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in members {
        if member.folder != member.name {
            let rule = format!("the crate `{}` lies in the folder `{}`", member.name, member.folder);
            findings.push(member.finding("name", rule, "A folder's name is the crate's name: rename one of them."));
        }
        let Some((_, may)) = MAY_DEPEND.iter().find(|(name, _)| *name == member.name) else {
            let rule = format!("the crate `{}` is not in the table of arrows", member.name);
            let advice = "Decide what it may depend on and add its row to xtask/src/check/arrows.rs.";
            findings.push(member.finding("name", rule, advice));
            continue;
        };
        for (target, tests_only) in &member.arrows {
            let target = target.as_str();
            let allowed = may.iter().any(|group| group.contains(&target));
            let free = *tests_only && TESTS_ONLY.contains(&target);
            if !allowed && !free {
                let kind = if *tests_only { "tests depend" } else { "depends" };
                let rule = format!("`{}` {kind} on `{target}`", member.name);
                findings.push(member.finding(target, rule, advice(&member.name, target)));
            }
        }
    }
    findings
}

fn advice(from: &str, target: &str) -> &'static str {
    let both = |group: &[&str]| group.contains(&from) && group.contains(&target);
    if both(SERVICES) {
        "Services never depend on services: send an event or a request that libs/contracts defines."
    } else if CLIENTS.contains(&from) {
        "Clients depend on contracts only: they speak the public interfaces."
    } else if TESTS_ONLY.contains(&target) {
        "It exists for tests: move it to [dev-dependencies]."
    } else {
        "The arrow points the wrong way: contracts ← {bus, store, auth} ← outbox ← service ← services ← synapsed."
    }
}

impl Member {
    fn finding(&self, key: &str, rule: String, advice: &'static str) -> Finding {
        let starts = |line: &str| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(['.', ' ', '=']));
        let line = self.manifest_text.lines().position(starts).map_or(1, |index| index + 1);
        Finding { path: self.manifest.clone(), line, rule, advice }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, arrows: &[(&str, bool)]) -> Member {
        let dependencies: String = arrows.iter().map(|(target, _)| format!("{target}.workspace = true\n")).collect();
        Member {
            name: name.into(),
            folder: name.into(),
            manifest: format!("x/{name}/Cargo.toml").into(),
            manifest_text: format!("[package]\nname = \"{name}\"\n{dependencies}"),
            arrows: arrows.iter().map(|(target, tests_only)| ((*target).to_owned(), *tests_only)).collect(),
        }
    }

    #[test]
    fn arrows_of_the_plan_pass() {
        let members = [
            member("contracts", &[]),
            member("bus", &[("contracts", false), ("clock", false), ("testkit", true)]),
            member("outbox", &[("bus", false), ("store", false), ("auth", false), ("contracts", false)]),
            member("presence", &[("service", false), ("outbox", false), ("stripe-emulator", true)]),
            member("synapsed", &[("presence", false), ("stripe-emulator", false), ("synapse", false)]),
            member("synapse", &[("contracts", false), ("peer", false)]),
            member("xtask", &[("contracts", false), ("testkit", true)]),
        ];
        assert_eq!(check(&members), []);
    }

    #[test]
    fn planted_arrows_are_found_at_their_line() {
        for (from, target, tests_only, advice) in [
            ("contracts", "bus", false, "wrong way"),
            ("contracts", "clock", false, "wrong way"),
            ("bus", "store", false, "wrong way"),
            ("store", "outbox", true, "wrong way"),
            ("outbox", "service", false, "wrong way"),
            ("presence", "signaling", false, "Services never"),
            ("presence", "signaling", true, "Services never"),
            ("peer", "auth", false, "Clients depend"),
            ("peer", "synapse", false, "Clients depend"),
            ("service", "synapsed", false, "wrong way"),
            ("bus", "testkit", false, "[dev-dependencies]"),
            ("subscription", "stripe-emulator", false, "[dev-dependencies]"),
            ("synapsed", "testkit", false, "[dev-dependencies]"),
            ("testkit", "store", false, "wrong way"),
            ("stripe-emulator", "contracts", false, "wrong way"),
        ] {
            let findings = check(&[member(from, &[(target, tests_only)])]);
            assert_eq!(findings.len(), 1, "{from} → {target}");
            assert_eq!(findings[0].line, 3);
            assert!(findings[0].advice.contains(advice), "{from} → {target}: {}", findings[0].advice);
        }
    }

    #[test]
    fn a_crate_without_a_row_and_a_misnamed_folder_are_found() {
        let findings = check(&[member("newcomer", &[("bus", false)])]);
        assert!(findings[0].rule.contains("`newcomer` is not in the table"));
        let mut moved = member("bus", &[]);
        moved.folder = "message-bus".into();
        assert_eq!(check(&[moved])[0].rule, "the crate `bus` lies in the folder `message-bus`");
    }

    #[test]
    fn cargo_metadata_is_read() {
        let members = members(&crate::workspace_root()).unwrap();
        let xtask = members.iter().find(|member| member.name == "xtask").unwrap();
        assert_eq!(xtask.manifest, Path::new("xtask/Cargo.toml"));
        assert!(xtask.arrows.contains(&("contracts".to_owned(), false)));
    }
}
