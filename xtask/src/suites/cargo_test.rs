//! `cargo test`, its output passed through line by line and its summaries counted.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::Tally;
use crate::process::shown;

/// Runs `cargo test` with these arguments and counts what the test binaries report.
///
/// # Errors
/// Cargo could not be started.
pub(super) fn run(root: &Path, arguments: &[&str]) -> Result<Tally> {
    let mut command = Command::new("cargo");
    command.args(["test", "--no-fail-fast"]).args(arguments).current_dir(root);
    counted(&mut command, summary)
}

/// Runs `command`, passes its lines through and adds up what `count` finds in them. A command that fails without a
/// failed test (a build error, a crash) counts as one failure.
///
/// # Errors
/// The command could not be started.
pub(super) fn counted(command: &mut Command, count: fn(&str) -> Option<Tally>) -> Result<Tally> {
    let shown = shown(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't start `{shown}`"))?;
    let mut tally = Tally::default();
    for line in BufReader::new(child.stdout.take().context("the output is piped")?).lines() {
        let line = line.context("cargo's output is text")?;
        println!("{line}");
        tally.add(count(&line).unwrap_or_default());
    }
    let status = child.wait()?;
    if !status.success() && tally.failed == 0 {
        println!("FAILED  `{shown}` ended with {status}, no test reported a failure");
        tally.failed = 1;
    }
    Ok(tally)
}

// `test result: ok. 12 passed; 0 failed; …`
fn summary(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let count = |word: &str| {
        let part = counts.split("; ").find_map(|part| part.strip_suffix(word))?;
        part.trim().parse().ok()
    };
    Some(Tally { passed: count(" passed")?, failed: count(" failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted_sh(script: &str) -> Tally {
        counted(Command::new("sh").args(["-c", script]), summary).unwrap()
    }

    #[test]
    fn summaries_are_counted() {
        let line = "test result: FAILED. 11 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.90s";
        assert_eq!(summary(line), Some(Tally { passed: 11, failed: 1 }));
        assert_eq!(summary("test wait::returns ... ok"), None);
    }

    #[test]
    fn the_lines_of_all_binaries_add_up() {
        let line = |passed| format!("echo 'test result: ok. {passed} passed; 0 failed; 0 ignored'");
        assert_eq!(counted_sh(&format!("{}; {}", line(3), line(4))), Tally { passed: 7, failed: 0 });
    }

    #[test]
    fn a_build_error_is_a_failure() {
        assert_eq!(counted_sh("exit 101"), Tally { passed: 0, failed: 1 });
    }
}
