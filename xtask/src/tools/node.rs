//! npm packages, exactly as locked.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::output;

/// Installs the locked packages into `home/node_modules`. Install scripts don't run: no package here needs one.
pub(super) fn install(home: &Path, package: &str, lock: &str) -> Result<()> {
    fs::create_dir_all(home)?;
    fs::write(home.join("package.json"), package)?;
    fs::write(home.join("package-lock.json"), lock)?;
    output(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(home))
        .context("node ≥ 20 with npm is needed, and the npm registry must be reachable")?;
    Ok(())
}
