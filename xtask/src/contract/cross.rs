//! Today's messages, read by a release's own types: its archive is unpacked, built beside ours and fed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::reads::target_folder;
use crate::process::{output, shown};

/// What a release's type made of a message.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Verdict {
    /// Whether the release has such a message at all.
    pub(crate) known: bool,
    /// Why its type refuses it.
    #[serde(default)]
    pub(crate) error: Option<String>,
    /// The schema of that type, where it refuses.
    #[serde(default)]
    pub(crate) schema: Value,
}

/// Reads messages (name and payload) with the types in `archive`, which is unpacked to `<target>/released/<name>`.
/// `doctor` may change the unpacked sources first (only tests do).
///
/// # Errors
/// The archive can't be unpacked or built, or its reader fails.
pub(crate) fn read_by(
    root: &Path,
    archive: &Path,
    name: &str,
    messages: &[(String, Value)],
    doctor: impl FnOnce(&Path) -> Result<()>,
) -> Result<Vec<Verdict>> {
    let target = target_folder(root)?;
    let source = unpack(root, archive, &target.join("released").join(name))?;
    doctor(&source)?;
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--offline", "--bin", "contracts-read", "--manifest-path"]);
    cargo.arg(source.join("Cargo.toml")).arg("--target-dir").arg(&target).current_dir(root);
    let mut child = cargo
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't start `{}`", shown(&cargo)))?;
    let lines: String =
        messages.iter().map(|(name, payload)| format!("{}\n", json!({"message": name, "payload": payload}))).collect();
    let mut input = child.stdin.take().context("its input is piped")?;
    // Written beside reading: both pipes are finite. A reader that ends early says so by its status.
    let writing = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let answered = child.wait_with_output()?;
    let _ = writing.join();
    ensure!(answered.status.success(), "the reader of {name} failed: `{}`", shown(&cargo));
    let verdicts = String::from_utf8_lossy(&answered.stdout);
    let verdicts: Vec<Verdict> = verdicts.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(verdicts.len() == messages.len(), "{name}: {} verdicts on {} messages", verdicts.len(), messages.len());
    Ok(verdicts)
}

fn unpack(root: &Path, archive: &Path, into: &Path) -> Result<PathBuf> {
    let _ = fs::remove_dir_all(into);
    fs::create_dir_all(into)?;
    output(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(into)).context("can't unpack the archive")?;
    let source = fs::read_dir(into)?.next().context("the archive is empty")??.path();
    // A workspace of its own, with our versions and profiles so that what both need is built once.
    let ours = fs::read_to_string(root.join("Cargo.toml"))?;
    let profiles: String = ours
        .split("\n[")
        .filter(|section| section.starts_with("profile.dev"))
        .map(|section| format!("\n[{section}\n"))
        .collect();
    let manifest = fs::read_to_string(source.join("Cargo.toml"))?;
    fs::write(source.join("Cargo.toml"), format!("{manifest}\n[workspace]\n{profiles}"))?;
    fs::copy(root.join("Cargo.lock"), source.join("Cargo.lock"))?;
    Ok(source)
}
