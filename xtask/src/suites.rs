//! The test suites: `cargo xtask test` runs every one, `cargo xtask test NAME` one of them.
//!
//! Each fetches the tools it needs first, so a clean clone needs no set-up. A suite that ran nothing has failed. What an
//! earlier suite of the same run ran is not run again, and the counts must prove it.

mod browser;
mod cargo_test;
mod contract;
mod defects;
mod deploy;
mod manifests;
mod openapi;
mod stripe_sdks;

use std::path::Path;

use anyhow::{Result, bail, ensure};

use self::cargo_test::Ran;
use crate::fleet::{self, Carrier};
use crate::stopwatch::Stopwatch;
use crate::tools;

/// A part of the tests with a name of its own.
struct Suite {
    name: &'static str,
    /// What it shows, in a few words.
    about: &'static str,
    /// The suite that runs it too: then it is not run once more when all are.
    part_of: Option<&'static str>,
    /// Which of [`tools::TOOLS`] it needs.
    needs: &'static [&'static str],
    run: fn(&Path, &mut Ran) -> Result<Tally>,
}

/// Every suite, in the order they run: the quick and telling ones first.
const SUITES: &[Suite] = &[
    Suite {
        name: "deploy",
        about: "compose files, Kubernetes manifests and Dockerfiles are valid, their settings exist",
        part_of: None,
        needs: &["validators"],
        run: |root, _| deploy::run(root),
    },
    Suite {
        name: "contract",
        about: "goldens, the gate, what services promise and read on every bus, earlier releases, generated files",
        part_of: None,
        needs: &["npm", "nats-2.15.1"],
        run: contract::run,
    },
    Suite {
        name: "defects",
        about: "planted defects: every one must be caught by the contract verification or a service's suite",
        part_of: Some("contract"),
        needs: &[],
        run: defects::run,
    },
    Suite {
        name: "stripe-sdks",
        about: "Stripe's official Python and Node SDKs against the emulator, its objects against their types",
        part_of: None,
        needs: stripe_sdks::NEEDS,
        run: |root, _| stripe_sdks::run(root),
    },
    Suite {
        name: "openapi",
        about: "the OpenAPI document is valid, and a running system answers as it says, whatever is asked",
        part_of: None,
        needs: &["openapi"],
        run: |root, _| openapi::run(root),
    },
    Suite {
        name: "browser",
        about: "the browser SDK in Node and Chromium against a gateway, its example page, other WebRTC stacks",
        part_of: None,
        needs: browser::NEEDS,
        run: |root, _| browser::run(root),
    },
    Suite {
        name: "fleet",
        about: "six processes, events on NATS and on SQS: the demo, every contract, a clean stop",
        part_of: None,
        needs: fleet::NEEDS,
        run: |root, _| {
            let mut tally = Tally::default();
            for (carrier, name) in [(Carrier::Nats, "NATS"), (Carrier::Sqs, "SQS")] {
                let what = format!("demo and contracts of six separate processes, events on {name}");
                tally.record(&what, fleet::run(root, carrier, false));
            }
            tally.record("contracts of one process that serves, by its public API alone", fleet::served(root));
            Ok(tally)
        },
    },
    Suite {
        name: "unit",
        about: "every crate's tests, with real NATS (both versions), SQS and DynamoDB servers",
        part_of: None,
        needs: &["nats-2.9.10", "nats-2.15.1", "moto", "stripe-python", "dynoxide", "validators"],
        run: |root, ran| cargo_test::rest(root, ran),
    },
];

/// What a suite counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Counts one check and prints its line, with the reason when it failed.
    fn record(&mut self, what: &str, result: Result<()>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("ok      {what}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED  {what}\n{error:#}");
            }
        }
    }
}

/// Runs the suites of these names (all when empty), then prints a table and the sum.
///
/// # Errors
/// An unknown name, or a suite that failed; the others still run.
pub(crate) fn run(root: &Path, names: &[String]) -> Result<()> {
    let mut ran = Ran::default();
    let reports: Vec<Report> = select(SUITES, names)?.into_iter().map(|suite| suite.report(root, &mut ran)).collect();
    print!("{}", table(&reports));
    let failed: Vec<&str> = reports.iter().filter(|report| !report.ok()).map(|report| report.name).collect();
    ensure!(failed.is_empty(), "these suites failed: {}", failed.join(", "));
    Ok(())
}

fn select<'a>(suites: &'a [Suite], names: &[String]) -> Result<Vec<&'a Suite>> {
    if let Some(unknown) = names.iter().find(|name| suites.iter().all(|suite| suite.name != **name)) {
        let known: String = suites.iter().map(|suite| format!("\n  {:<11} {}", suite.name, suite.about)).collect();
        bail!("there is no suite `{unknown}`; there are:{known}");
    }
    let wanted = |suite: &&Suite| {
        if names.is_empty() { suite.part_of.is_none() } else { names.iter().any(|name| name == suite.name) }
    };
    Ok(suites.iter().filter(wanted).collect())
}

struct Report {
    name: &'static str,
    tally: Tally,
    seconds: f64,
}

impl Report {
    fn ok(&self) -> bool {
        self.tally.failed == 0
    }
}

impl Suite {
    fn report(&self, root: &Path, ran: &mut Ran) -> Report {
        println!("\n== {}: {} ==", self.name, self.about);
        let watch = Stopwatch::start();
        let outcome = tools::fetch(root, self.needs).and_then(|()| (self.run)(root, ran));
        let mut tally = outcome.unwrap_or_else(|error| {
            println!("FAILED  {}: {error:#}", self.name);
            Tally { passed: 0, failed: 1 }
        });
        if tally == Tally::default() {
            println!("FAILED  {} ran nothing", self.name);
            tally.failed = 1;
        }
        Report { name: self.name, tally, seconds: watch.elapsed().as_secs_f64() }
    }
}

fn table(reports: &[Report]) -> String {
    let mut text = format!("\n{:<11} {:<6} {:>7} {:>7} {:>8}\n", "suite", "result", "passed", "failed", "seconds");
    let mut sum = Tally::default();
    for report in reports {
        let (result, tally) = (if report.ok() { "ok" } else { "FAILED" }, report.tally);
        let name = report.name;
        text += &format!("{name:<11} {result:<6} {:>7} {:>7} {:>8.1}\n", tally.passed, tally.failed, report.seconds);
        sum.add(tally);
    }
    text + &format!("\n{} passed, {} failed\n", sum.passed, sum.failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(run: fn(&Path, &mut Ran) -> Result<Tally>) -> Suite {
        Suite { name: "planted", about: "a test", part_of: None, needs: &[], run }
    }

    fn report(run: fn(&Path, &mut Ran) -> Result<Tally>) -> Report {
        suite(run).report(tempfile::tempdir().unwrap().path(), &mut Ran::default())
    }

    #[test]
    fn a_suite_passes_only_if_something_ran_and_nothing_failed() {
        assert!(report(|_, _| Ok(Tally { passed: 3, failed: 0 })).ok());
        assert!(!report(|_, _| Ok(Tally { passed: 3, failed: 1 })).ok());
        assert!(!report(|_, _| Ok(Tally::default())).ok());
        assert!(!report(|_, _| bail!("it did not even start")).ok());
    }

    #[test]
    fn the_table_ends_with_the_sum() {
        let report = |name, passed, failed| Report { name, tally: Tally { passed, failed }, seconds: 1.25 };
        let text = table(&[report("unit", 40, 0), report("deploy", 2, 1)]);
        assert!(text.contains("unit        ok          40       0      1.2\n"), "{text}");
        assert!(text.contains("deploy      FAILED       2       1"), "{text}");
        assert!(text.ends_with("\n42 passed, 1 failed\n"), "{text}");
    }

    #[test]
    fn suites_are_chosen_by_name_and_an_unknown_one_lists_them() {
        let suites = [suite(|_, _| Ok(Tally::default()))];
        assert_eq!(select(&suites, &[]).unwrap().len(), 1);
        assert_eq!(select(&suites, &["planted".to_owned()]).unwrap().len(), 1);
        let error = select(&suites, &["plantd".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("no suite `plantd`") && error.contains("planted     a test"), "{error}");
    }

    #[test]
    fn every_need_is_a_tool() {
        for suite in SUITES {
            for need in suite.needs {
                assert!(tools::TOOLS.iter().any(|tool| tool.name == *need), "{}: {need}", suite.name);
            }
        }
    }
}
