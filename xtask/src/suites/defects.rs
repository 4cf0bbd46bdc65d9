//! Tests of the tests: defects that the contract suites must catch. Those between services and the verifier are in
//! `services/synapsed/tests/it/defects`; here a few are made in the sources, in a copy of the tree.

mod mutations;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::cargo_test::Ran;
use super::{Tally, contract};
use crate::contract::target_folder;
use crate::process::output;
use mutations::{MUTATIONS, Mutation};

pub(super) fn run(root: &Path, ran: &mut Ran) -> Result<Tally> {
    let mut tally = contract::services(root, &["defects::", "--nocapture", "--test-threads", "1"], ran)?;
    let copy = Copy::make(root)?;
    for suite in suites() {
        tally.record(&format!("without a defect: {}", suite.join(" ")), copy.passes(suite));
    }
    for mutation in MUTATIONS {
        tally.record(mutation.name, copy.catches(mutation));
    }
    Ok(tally)
}

/// Each suite once, in the order of the mutations.
fn suites() -> Vec<&'static [&'static str]> {
    let mut suites: Vec<&[&str]> = MUTATIONS.iter().map(|mutation| mutation.caught_by).collect();
    suites.dedup();
    suites
}

/// A copy of the tree with a target folder of its own, which begins with what is built already.
struct Copy {
    folder: PathBuf,
}

impl Copy {
    fn make(root: &Path) -> Result<Self> {
        let target = target_folder(root)?;
        let copy = Self { folder: target.join("defects") };
        copy.remove()?;
        fs::create_dir_all(copy.tree())?;
        let built = target.join("debug");
        let seeded = copy.target().join("debug");
        fs::create_dir_all(&seeded)?;
        // Cargo writes its own records in place: they are copied. Compilers and linkers make new files: those are linked.
        for (part, flag) in [(".fingerprint", "-a"), ("build", "-a"), ("deps", "-al")] {
            if built.join(part).exists() {
                output(Command::new("cp").arg(flag).arg(built.join(part)).arg(&seeded))?;
            }
        }
        // With the times of the originals, so that what is built counts as built.
        let script = "git ls-files -z -co --exclude-standard | xargs -0 cp -p --parents -t \"$0\"";
        output(Command::new("sh").args(["-c", script]).arg(copy.tree()).current_dir(root))?;
        Ok(copy)
    }

    fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    fn target(&self) -> PathBuf {
        self.folder.join("target")
    }

    fn remove(&self) -> Result<()> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).with_context(|| format!("can't remove {}", self.folder.display()))?;
        }
        Ok(())
    }

    /// Runs a suite here; what it printed, and whether it passed.
    fn test(&self, suite: &[&str]) -> Result<(bool, String)> {
        let mut command = Command::new("cargo");
        command.arg("test").args(suite).current_dir(self.tree()).stdin(Stdio::null());
        // Each mutant is built once: what helps to build it again would only fill the disk.
        command.env("CARGO_TARGET_DIR", self.target()).env("CARGO_INCREMENTAL", "0");
        let output = command.output().context("can't start cargo")?;
        let printed = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&printed).into_owned()))
    }

    fn passes(&self, suite: &[&str]) -> Result<()> {
        let (passed, printed) = self.test(suite)?;
        let ran = printed.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
        let ran = ran.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum::<u64>();
        ensure!(passed && ran > 0, "the pristine tree must pass, and something must run:\n{}", last(&printed));
        Ok(())
    }

    /// Plants a defect, sees that a test fails because of it, and puts the source back.
    fn catches(&self, mutation: &Mutation) -> Result<()> {
        let path = self.tree().join(mutation.file);
        let pristine = fs::read_to_string(&path).with_context(|| format!("can't read {}", mutation.file))?;
        let places = pristine.matches(mutation.from).count();
        ensure!(places == 1, "{}: the text to change is there {places} times; mend the mutation", mutation.file);
        fs::write(&path, pristine.replacen(mutation.from, mutation.to, 1))?;
        let tested = self.test(mutation.caught_by);
        // Written anew rather than with its old time: what was built from the mutant is stale now.
        fs::write(&path, &pristine)?;
        let (passed, printed) = tested?;
        if passed {
            bail!("nobody noticed: `cargo test {}` passed", mutation.caught_by.join(" "));
        }
        let failed: Vec<&str> =
            printed.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED")).collect();
        ensure!(!failed.is_empty(), "it failed for another reason than a test:\n{}", last(&printed));
        ensure!(printed.contains(mutation.says), "it failed without {:?}:\n{}", mutation.says, last(&printed));
        println!("caught  {}  by {}", mutation.name, failed.join(", "));
        Ok(())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

fn last(printed: &str) -> String {
    let lines: Vec<&str> = printed.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
