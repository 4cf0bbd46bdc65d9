//! Records what services read: their contract suites find it out, this takes it over.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::shown;

/// The services that have a suite for what they read, sorted.
///
/// # Errors
/// `services/` can't be read.
pub(crate) fn services(root: &Path) -> Result<Vec<String>> {
    let mut services = Vec::new();
    for service in fs::read_dir(root.join("services")).context("can't read services/")? {
        let path = service?.path();
        if path.join("tests/contract/reads.rs").exists() {
            services.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    services.sort();
    Ok(services)
}

/// Runs the suites and writes each service's `contract/reads.json` where it changed.
///
/// # Errors
/// A suite did not get as far as knowing what its service reads; its output says why.
pub(crate) fn record(root: &Path) -> Result<()> {
    let (services, found) = (services(root)?, target_folder(root)?.join("tmp/reads"));
    for service in &services {
        let _ = fs::remove_file(found.join(format!("{service}.json")));
    }
    let mut command = Command::new("cargo");
    command.args(["test", "--quiet", "--no-fail-fast", "--test", "it"]).current_dir(root);
    for service in &services {
        command.args(["--package", service]);
    }
    command.args(["--", "contract::reads::embedded"]);
    // It fails where the committed file is behind, which is why we are here.
    let output = command.output().with_context(|| format!("can't start `{}`", shown(&command)))?;
    for service in &services {
        let text = fs::read_to_string(found.join(format!("{service}.json")));
        let said = || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(text.is_ok(), "what {service} reads could not be recorded:\n{}", said());
        write(&root.join(format!("services/{service}/contract/reads.json")), &text?)?;
    }
    println!("reads: recorded for {}", services.join(", "));
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|committed| committed == text) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().unwrap_or(path)).with_context(|| format!("can't write {}", path.display()))?;
    fs::write(path, text).with_context(|| format!("can't write {}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}

/// Where cargo builds.
pub(crate) fn target_folder(root: &Path) -> Result<PathBuf> {
    let metadata = cargo_metadata::MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    Ok(metadata.target_directory.into_std_path_buf())
}
