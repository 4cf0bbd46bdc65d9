//! Programs built from the crate registry.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::process::output;

/// Builds `krate` at `version` with its own lock file into `home/bin`. Takes minutes on two cores.
pub(super) fn install(folder: &Path, home: &Path, krate: &str, version: &str, arguments: &[&str]) -> Result<()> {
    println!("tool {krate} {version}: building, a few minutes");
    let build = folder.join("build").join(krate);
    let mut cargo = Command::new("cargo");
    cargo.args(["install", krate, "--version", version, "--locked", "--jobs", "2"]).args(arguments);
    cargo.arg("--root").arg(home);
    cargo.env("CARGO_TARGET_DIR", &build).current_dir(folder);
    output(&mut cargo).with_context(|| format!("can't build {krate} {version}: is the crate registry reachable?"))?;
    fs::remove_dir_all(&build).with_context(|| format!("can't remove {}", build.display()))
}

/// Whether a program of this name answers `--version`.
pub(super) fn on_path(program: &str) -> bool {
    let mut command = Command::new(program);
    let asked = command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}
