//! Baselines of releases: `tests/contract/released/<version>/`.
//!
//! | file | what |
//! |---|---|
//! | `contracts.crate` | `libs/contracts` as `cargo package` packs it: the release's real types |
//! | `reads/<service>.json` | what each service of the release reads |
//! | `release.json` | its date, and the newest revision of every message |

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use contracts::reads::Reads;
use serde::{Deserialize, Serialize};

use super::reads::target_folder;
use crate::generate;
use crate::process::output;

/// Where baselines live, relative to the workspace root.
const RELEASED: &str = "tests/contract/released";

/// A release as its baseline tells it.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    /// `0.1.0`.
    pub(crate) version: String,
    /// The packed types.
    pub(crate) archive: PathBuf,
    /// What its services read, sorted.
    pub(crate) reads: Vec<Reads>,
    /// When, and what there was.
    pub(crate) told: Told,
}

/// `release.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// The day it was tagged.
    pub(crate) date: String,
    /// Message → newest revision of its golden schema.
    pub(crate) revisions: BTreeMap<String, u32>,
}

/// Every release with a baseline, the oldest first.
///
/// # Errors
/// A baseline can't be read, or its folder is not named after a version.
pub(crate) fn releases(root: &Path) -> Result<Vec<Release>> {
    let folder = root.join(RELEASED);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut releases = Vec::new();
    for release in fs::read_dir(&folder).with_context(|| format!("can't read {RELEASED}"))? {
        let path = release?.path();
        let version = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let read = read(&path, &version).with_context(|| format!("the baseline {RELEASED}/{version}"))?;
        releases.push((numbers(&version)?, read));
    }
    releases.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(releases.into_iter().map(|(_, release)| release).collect())
}

fn read(folder: &Path, version: &str) -> Result<Release> {
    let mut reads = Vec::new();
    for file in fs::read_dir(folder.join("reads")).context("reads/")? {
        let path = file?.path();
        reads.push(Reads::from_text(&fs::read_to_string(&path)?).with_context(|| path.display().to_string())?);
    }
    reads.sort_by(|a, b| a.service.cmp(&b.service));
    let told = serde_json::from_str(&fs::read_to_string(folder.join("release.json")).context("release.json")?)?;
    Ok(Release { version: version.to_owned(), archive: folder.join("contracts.crate"), reads, told })
}

fn numbers(version: &str) -> Result<Vec<u64>> {
    let numbers: Option<Vec<u64>> = version.split('.').map(|number| number.parse().ok()).collect();
    match numbers {
        Some(numbers) if numbers.len() == 3 => Ok(numbers),
        _ => bail!("{version:?} is not a version like 0.1.0"),
    }
}

/// Adds a baseline of what is committed and blessed now.
///
/// # Errors
/// The version has a baseline already, a service has no reads, or cargo can't pack the crate.
pub(super) fn add(root: &Path, version: Option<&str>) -> Result<()> {
    let version = version.unwrap_or(env!("CARGO_PKG_VERSION"));
    numbers(version)?;
    let folder = root.join(RELEASED).join(version);
    ensure!(!folder.exists(), "{RELEASED}/{version} is there already; a release is told once");
    let reads = generate::reads_files(root)?;
    let archive = pack(root)?;
    fs::create_dir_all(folder.join("reads"))?;
    fs::copy(archive, folder.join("contracts.crate"))?;
    for (service, path) in reads {
        fs::copy(&path, folder.join(format!("reads/{service}.json")))?;
    }
    let told = Told { date: generate::today().to_string(), revisions: generate::revisions(root)? };
    fs::write(folder.join("release.json"), format!("{:#}\n", serde_json::to_value(told)?))?;
    println!("wrote {RELEASED}/{version}: commit it with the release, then run `cargo xtask bless`");
    Ok(())
}

// What `cargo package` makes is the same, byte for byte, on every machine.
fn pack(root: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["package", "--package", "contracts", "--no-verify", "--allow-dirty", "--offline", "--quiet"]);
    output(cargo.current_dir(root)).context("cargo can't pack libs/contracts")?;
    let packed = target_folder(root)?.join(format!("package/contracts-{}.crate", env!("CARGO_PKG_VERSION")));
    ensure!(packed.exists(), "cargo package made no {}", packed.display());
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_three_numbers_and_sort_as_numbers() {
        assert!(numbers("0.10.0").unwrap() > numbers("0.9.9").unwrap());
        for bad in ["1", "1.2", "v1.2.3", "1.2.x", ""] {
            assert!(numbers(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_version_is_released_once_and_a_folder_that_is_none_is_named() {
        let root = tempfile::tempdir().unwrap();
        assert!(releases(root.path()).unwrap().is_empty());
        fs::create_dir_all(root.path().join(RELEASED).join("1.0.0")).unwrap();
        let again = add(root.path(), Some("1.0.0")).unwrap_err().to_string();
        assert!(again.contains("is there already"), "{again}");
        let empty = format!("{:#}", releases(root.path()).unwrap_err());
        assert!(empty.contains("tests/contract/released/1.0.0"), "{empty}");
    }

    #[test]
    fn every_committed_baseline_is_whole() {
        let root = crate::workspace_root();
        let releases = releases(&root).unwrap();
        assert!(!releases.is_empty(), "`cargo xtask contract release` makes the first");
        for release in releases {
            assert!(release.archive.exists() && !release.reads.is_empty(), "{}", release.version);
            assert!(release.told.revisions.len() >= 30, "{}", release.version);
        }
    }
}
