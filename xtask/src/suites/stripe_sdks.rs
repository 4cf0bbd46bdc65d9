//! Stripe's official Python and Node SDKs against the emulator, and the emulator's objects against the types that
//! Stripe publishes with its SDKs, one new and one old API version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Tally, cargo_test};
use crate::{fleet, process, tools};

/// The tools it needs, of [`tools::TOOLS`].
pub(super) const NEEDS: &[&str] = &["stripe-python", "stripe-node", "npm"];
/// The older version whose types are checked; `xtask/tools/stripe-node/package.json` has the SDK of it.
const OLD_VERSION: &str = "2024-06-20";

pub(super) fn run(root: &Path) -> Result<Tally> {
    let programs = build(root)?;
    let scripts = root.join("xtask/tools/stripe-sdks");
    let node_sdks = tools::home(root, "stripe-node");
    let mut tally = Tally::default();

    let mut python = Command::new(tools::home(root, "stripe-python").join("bin/python"));
    // No compiled files beside the sources.
    python.arg("-B").arg(scripts.join("sdk.py"));
    tally.add(against_the_emulator(&programs, python, &[])?);

    let mut node = Command::new("node");
    node.arg(scripts.join("sdk.cjs")).arg(&node_sdks);
    tally.add(against_the_emulator(&programs, node, &[])?);

    let mut shapes = Command::new("node");
    shapes.arg(scripts.join("shapes.cjs")).arg(&node_sdks);
    let typescript = tools::home(root, "npm").display().to_string();
    tally.add(against_the_emulator(&programs, shapes, &[&typescript, OLD_VERSION])?);
    Ok(tally)
}

fn build(root: &Path) -> Result<PathBuf> {
    let mut command = Command::new("cargo");
    process::output(command.args(["build", "--quiet", "--package", "stripe-emulator"]).current_dir(root))?;
    // This program was built into the same folder by the same cargo.
    let own = std::env::current_exe()?;
    Ok(own.parent().context("a program lies in a folder")?.to_owned())
}

/// Runs a script with the address of an emulator of its own, then `more`, as its last arguments.
fn against_the_emulator(programs: &Path, mut script: Command, more: &[&str]) -> Result<Tally> {
    let folder = tempfile::tempdir()?;
    let (emulator, url) = fleet::start_emulator(programs, folder.path(), &[])?;
    let counted = {
        script.arg(url).args(more);
        cargo_test::counted(script, line)
    };
    drop(emulator);
    counted
}

// `ok      what` or `FAILED  what`, as the scripts print for each check.
fn line(line: &str) -> Option<Tally> {
    if line.starts_with("ok      ") {
        Some(Tally { passed: 1, failed: 0 })
    } else if line.starts_with("FAILED  ") {
        Some(Tally { passed: 0, failed: 1 })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_lines_are_counted() {
        assert_eq!(line("ok      python 16.1.0: a trial"), Some(Tally { passed: 1, failed: 0 }));
        assert_eq!(line("FAILED  node 23.1.0: a trial"), Some(Tally { passed: 0, failed: 1 }));
        assert_eq!(line("Error: ok      not at the start"), None);
    }
}
