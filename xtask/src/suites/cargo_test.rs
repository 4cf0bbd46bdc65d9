//! `cargo test`, its output passed through line by line and its summaries counted.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Tally;
use crate::process::shown;

/// The tests that passed in this run already, so that a later suite need not run them again.
#[derive(Debug, Default)]
pub(super) struct Ran {
    names: BTreeSet<String>,
    /// How many they are: the same name may stand in several binaries.
    count: u64,
}

/// Runs `cargo test` with these arguments, counts what the test binaries report and notes in `ran` what passed.
///
/// # Errors
/// Cargo could not be started.
pub(super) fn run(root: &Path, arguments: &[&str], ran: &mut Ran) -> Result<Tally> {
    let mut binary = Binary::default();
    counted(cargo_test(root, arguments), |line| binary.read(line, ran).map(|summary| summary.tally))
}

/// Runs every test of the workspace that is not in `ran`. That as many were left out as are in `ran` is a check of its
/// own: else a test of the same name would never be run, and nobody would see it.
///
/// # Errors
/// Cargo could not be started.
pub(super) fn rest(root: &Path, ran: &Ran) -> Result<Tally> {
    let mut arguments = vec!["--workspace"];
    if ran.count > 0 {
        arguments.extend(["--", "--exact"]);
        arguments.extend(ran.names.iter().flat_map(|name| ["--skip", name]));
    }
    let mut left_out = 0;
    let mut tally = counted(cargo_test(root, &arguments), |line| {
        let summary = summary(line)?;
        left_out += summary.left_out;
        Some(summary.tally)
    })?;
    if ran.count > 0 {
        tally.record(&format!("{left_out} tests that passed before were not run again"), same(left_out, ran.count));
    }
    Ok(tally)
}

fn same(left_out: u64, ran: u64) -> Result<()> {
    ensure!(left_out == ran, "{left_out} tests were left out and {ran} had passed: a test was not run, or is not here");
    Ok(())
}

fn cargo_test(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(["test", "--no-fail-fast"]).args(arguments).current_dir(root);
    command
}

/// Runs `command`, passes its lines through and adds up what `count` finds in them. A command that fails without a
/// failed test (a build error, a crash) counts as one failure.
///
/// # Errors
/// The command could not be started.
pub(super) fn counted(mut command: Command, mut count: impl FnMut(&str) -> Option<Tally>) -> Result<Tally> {
    let shown = shown(&command);
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

/// What one test binary has printed so far.
#[derive(Default)]
struct Binary {
    begun: Vec<String>,
}

impl Binary {
    /// Reads a line. At the end of a binary in which everything passed, its tests are noted.
    fn read(&mut self, line: &str, ran: &mut Ran) -> Option<Summary> {
        if let Some((name, _)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            self.begun.push(name.to_owned());
        }
        let summary = summary(line)?;
        let begun = std::mem::take(&mut self.begun);
        let all_passed = summary.tally == Tally { passed: begun.len() as u64, failed: 0 } && summary.ignored == 0;
        // Names of documentation's tests have spaces, and more words than can be asked for; they just run again.
        if all_passed && begun.iter().all(|name| !name.contains(' ')) {
            ran.count += summary.tally.passed;
            ran.names.extend(begun);
        }
        Some(summary)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Summary {
    tally: Tally,
    ignored: u64,
    left_out: u64,
}

// `test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; …`
fn summary(line: &str) -> Option<Summary> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let count = |word: &str| {
        let part = counts.split("; ").find_map(|part| part.strip_suffix(word))?;
        part.trim().parse().ok()
    };
    Some(Summary {
        tally: Tally { passed: count(" passed")?, failed: count(" failed")? },
        ignored: count(" ignored")?,
        left_out: count(" filtered out")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted_sh(script: &str) -> Tally {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        counted(command, |line| summary(line).map(|summary| summary.tally)).unwrap()
    }

    fn ran(lines: &[&str]) -> Ran {
        let (mut binary, mut ran) = (Binary::default(), Ran::default());
        for line in lines {
            binary.read(line, &mut ran);
        }
        ran
    }

    const END: &str = "0 ignored; 0 measured; 5 filtered out; finished in 0.90s";

    #[test]
    fn summaries_are_counted() {
        let line = "test result: FAILED. 11 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.90s";
        let expected = Summary { tally: Tally { passed: 11, failed: 1 }, ignored: 2, left_out: 3 };
        assert_eq!(summary(line), Some(expected));
        assert_eq!(summary("test wait::returns ... ok"), None);
    }

    #[test]
    fn the_lines_of_all_binaries_add_up() {
        let line = |passed| format!("echo 'test result: ok. {passed} passed; 0 failed; {END}'");
        assert_eq!(counted_sh(&format!("{}; {}", line(3), line(4))), Tally { passed: 7, failed: 0 });
    }

    #[test]
    fn a_build_error_is_a_failure() {
        assert_eq!(counted_sh("exit 101"), Tally { passed: 0, failed: 1 });
    }

    #[test]
    fn what_passed_is_noted_with_or_without_captured_output() {
        let end = format!("test result: ok. 2 passed; 0 failed; {END}");
        let quiet = ["running 2 tests", "test a::one ... ok", "test a::two ... ok", &end];
        let loud = ["test a::one ... it prints", "more", "ok", "test b::two ... ", "ok", &end];
        let both = ran(&[&quiet[..], &loud[..]].concat());
        assert_eq!((both.count, both.names), (4, ["a::one", "a::two", "b::two"].map(str::to_owned).into()));
    }

    #[test]
    fn what_can_not_be_told_apart_is_run_again() {
        let ok = |passed| format!("test result: ok. {passed} passed; 0 failed; {END}");
        for lines in [
            ["test a ... FAILED", "test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; x"],
            ["test a ... ignored", "test result: ok. 0 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; x"],
            ["test src/a.rs - a (line 3) ... ok", &ok(1)],
            ["test a ... ok", &ok(2)],
        ] {
            let ran = ran(&lines);
            assert_eq!((ran.count, ran.names.len()), (0, 0), "{lines:?}");
        }
    }

    #[test]
    fn a_test_that_nobody_ran_is_noticed() {
        assert!(same(4, 4).is_ok());
        let error = same(5, 4).unwrap_err().to_string();
        assert!(error.contains("5 tests were left out and 4 had passed"), "{error}");
        assert!(same(3, 4).is_err());
    }
}
