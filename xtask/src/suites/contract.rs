//! The contracts: their own tests, every service's contract suites on every bus, the generated files and those files as
//! their official readers see them, and today's messages as the types of earlier releases read them.

mod cross_version;

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::cargo_test::{self, Ran};
use super::{Tally, defects};
use crate::process::output;
use crate::{bless, contract, generate, tools};

const ASYNCAPI: &str = "docs/asyncapi.json";

pub(super) fn run(root: &Path, ran: &mut Ran) -> Result<Tally> {
    let mut tally = cargo_test::run(root, &["--package", "contracts"], ran)?;
    tally.add(cargo_test::run(root, &["--package", "contract-gate"], ran)?);
    tally.add(cargo_test::run(root, &["--package", "xtask", "--", "generate::", "contract::"], ran)?);
    if let Err(error) = generate::reads_files(root) {
        println!("note    {error}; until then every field binds its provider");
    }
    contract::forget(root)?;
    tally.add(services(root, &["contract::"], ran)?);
    tally.record("every event is told by its owner's real code", contract::all_told(root));
    for release in contract::releases(root)? {
        let what = format!("today's messages are read by the types of {}", release.version);
        tally.record(&what, cross_version::run(root, &release));
    }
    tally.record("the generated files are up to date", bless::run(root, true));
    tally.add(defects::run(root, ran)?);
    tally.record("docs/asyncapi.json passes @asyncapi/parser", asyncapi(root));
    Ok(tally)
}

/// Runs these of the services' own tests. All services and the process of all, whatever is to be run of them: so one
/// build serves every call, and the suite of everything, which has the same features, takes it over.
pub(super) fn services(root: &Path, tests: &[&str], ran: &mut Ran) -> Result<Tally> {
    let services = contract::services(root)?;
    let mut arguments = vec!["--test", "it", "--package", "synapsed"];
    arguments.extend(services.iter().flat_map(|service| ["--package", service]));
    arguments.push("--");
    arguments.extend(tests);
    cargo_test::run(root, &arguments, ran)
}

fn asyncapi(root: &Path) -> Result<()> {
    ensure!(root.join(ASYNCAPI).exists(), "{ASYNCAPI} is not there: `cargo xtask bless` generates it");
    let mut node = Command::new("node");
    node.arg(root.join("xtask/tools/npm/asyncapi.cjs")).arg(tools::home(root, "npm")).arg(root.join(ASYNCAPI));
    output(&mut node).map(|_| ())
}
