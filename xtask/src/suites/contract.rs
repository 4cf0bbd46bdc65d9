//! The contracts: their own tests, every service's contract suites on every bus, the generated files and those files as
//! their official readers see them, and today's messages as the types of earlier releases read them.

mod cross_version;

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::{Tally, cargo_test};
use crate::process::output;
use crate::{bless, contract, generate, tools};

const ASYNCAPI: &str = "docs/asyncapi.json";

pub(super) fn run(root: &Path) -> Result<Tally> {
    let mut tally = cargo_test::run(root, &["--package", "contracts"])?;
    tally.add(cargo_test::run(root, &["--package", "contract-gate"])?);
    tally.add(cargo_test::run(root, &["--package", "xtask", "--", "generate::", "contract::"])?);
    if let Err(error) = generate::reads_files(root) {
        println!("note    {error}; until then every field binds its provider");
    }
    let services = contract::services(root)?;
    let mut arguments = vec!["--test", "it"];
    arguments.extend(services.iter().flat_map(|service| ["--package", service]));
    arguments.extend(["--", "contract::"]);
    tally.add(cargo_test::run(root, &arguments)?);
    for release in contract::releases(root)? {
        let what = format!("today's messages are read by the types of {}", release.version);
        tally.record(&what, cross_version::run(root, &release));
    }
    tally.record("the generated files are up to date", bless::run(root, true));
    tally.add(super::defects::run(root)?);
    tally.record("docs/asyncapi.json passes @asyncapi/parser", asyncapi(root));
    Ok(tally)
}

fn asyncapi(root: &Path) -> Result<()> {
    ensure!(root.join(ASYNCAPI).exists(), "{ASYNCAPI} is not there: `cargo xtask bless` generates it");
    let mut node = Command::new("node");
    node.arg(root.join("xtask/tools/npm/asyncapi.cjs")).arg(tools::home(root, "npm")).arg(root.join(ASYNCAPI));
    output(&mut node).map(|_| ())
}
