//! `cargo xtask bench`: builds the `benches` crate in release and runs it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::shown;
use crate::tools;

/// Runs the benches of these names (all when empty). They print their table themselves; `json` is a file, or `-` for
/// standard output.
///
/// # Errors
/// A server can't be fetched, the build failed, or a bench could not run. A missed goal is no error.
pub(crate) fn run(root: &Path, names: &[String], json: Option<&Path>) -> Result<()> {
    tools::fetch(root, &["nats-2.15.1", "stripe-node"])?;
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--release", "--package", "benches"]);
    command.arg("--manifest-path").arg(root.join("Cargo.toml"));
    command.arg("--").args(names);
    if let Some(file) = json {
        command.arg("--json").arg(file);
    }
    let status = command.status().with_context(|| format!("can't start `{}`", shown(&command)))?;
    ensure!(status.success(), "`{}` failed ({status})", shown(&command));
    Ok(())
}
