//! The OpenAPI document: a validator reads it, and a fuzzer holds a running system against it.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::Tally;
use crate::{fleet, process, tools};

/// The document, relative to the workspace root.
const DOCUMENT: &str = "docs/openapi.json";
/// What no answer may do, of schemathesis's checks.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
/// Calls per operation. The run is repeatable: its seed is fixed.
const EXAMPLES: &str = "25";

pub(super) fn run(root: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    tally.record("docs/openapi.json is OpenAPI 3.1", validate(root));
    tally.record("no undocumented answer, no 5xx, whatever is asked", fuzz(root));
    Ok(tally)
}

fn validate(root: &Path) -> Result<()> {
    let validator = tools::home(root, "openapi").join("bin/openapi-spec-validator");
    process::output(Command::new(validator).args(["--schema", "3.1", DOCUMENT]).current_dir(root)).map(drop)
}

fn fuzz(root: &Path) -> Result<()> {
    fleet::with_served(root, |served| {
        let mut command = Command::new(tools::home(root, "openapi").join("bin/schemathesis"));
        command.arg("run").args(["--url", &served.told("API")?, "--checks", CHECKS, "--max-examples", EXAMPLES]);
        command.args(["--header", &format!("Authorization: Bearer {}", served.told("export TOKEN=")?)]);
        // One is no HTTP, the other never ends.
        command.args(["--exclude-path", "/v1/ws", "--exclude-path", "/v1/stream"]);
        command.args(["--phases", "examples,coverage,fuzzing", "--seed", "1", "--request-timeout", "30"]);
        command.args(["--suppress-health-check", "all", "--warnings", "off", "--no-color"]);
        // It keeps what it found there.
        let folder = tempfile::tempdir()?;
        command.arg(root.join(DOCUMENT)).current_dir(folder.path());
        let output = command.output()?;
        let report = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "schemathesis found something:\n{report}");
        let summary = report.lines().rev().find(|line| line.contains("passed")).unwrap_or_default();
        println!("{}", summary.trim());
        Ok(())
    })
}
