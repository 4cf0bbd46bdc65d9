//! Virtual environments with pinned packages.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::output;

/// Makes a virtual environment at `home` with what the requirements list. Hashes in the list are enforced by pip.
pub(super) fn install(home: &Path, name: &str, requirements: &str) -> Result<()> {
    output(Command::new("python3").args(["-m", "venv"]).arg(home))
        .context("python3 with its venv module is needed (Debian: `apt-get install python3-venv`)")?;
    let list = home.join(name);
    fs::write(&list, requirements)?;
    let mut pip = Command::new(home.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--only-binary=:all:"]);
    pip.arg("--requirement").arg(&list);
    if requirements.contains("--hash=") {
        pip.arg("--require-hashes");
    }
    output(&mut pip).with_context(|| format!("can't install xtask/tools/{name}: is PyPI reachable?"))?;
    Ok(())
}
