//! What a run came to, for people, programs and build servers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::Target;
use super::book::{Check, Promise, Sort, Verdict};
use crate::junit;

/// One contract and what it came to.
#[derive(Clone, Debug, Serialize)]
pub struct Contract {
    /// What sort of promise.
    pub sort: Sort,
    /// Its kind, route or frame.
    pub name: String,
    /// The service that keeps it.
    pub owner: String,
    /// All its checks together.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// One by one.
    pub checks: Vec<Check>,
}

/// The whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether the run went through, something held, and nothing was broken.
    pub ok: bool,
    /// Contracts held.
    pub held: usize,
    /// Contracts broken.
    pub broken: usize,
    /// Contracts that could not be looked at.
    pub not_testable: usize,
    /// Single checks that were made.
    pub checks: usize,
    /// The tenant it happened in.
    pub tenant: String,
    /// How long it took, milliseconds.
    pub ms: u64,
    /// Services that stopped answering.
    pub not_answering: Vec<String>,
    /// Why it ended early, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_short: Option<String>,
    /// Every contract.
    pub contracts: Vec<Contract>,
}

impl Report {
    pub(super) fn new(
        pages: Vec<(Promise, Vec<Check>)>,
        target: &Target,
        tenant: &str,
        took: Duration,
        gone: &[String],
        cut: Option<&str>,
    ) -> Self {
        let wanted = |owner: &str| target.services.is_empty() || target.services.iter().any(|name| name == owner);
        let contracts: Vec<Contract> =
            pages.into_iter().filter(|(promise, _)| wanted(promise.owner())).map(|page| sum(page, gone, cut)).collect();
        let count = |wanted: fn(&Verdict) -> bool| contracts.iter().filter(|one| wanted(&one.verdict)).count();
        let broken = count(|verdict| matches!(verdict, Verdict::Broken(_)));
        let held = count(|verdict| matches!(verdict, Verdict::Held));
        Self {
            ok: broken == 0 && held > 0 && cut.is_none(),
            held,
            broken,
            not_testable: count(|verdict| matches!(verdict, Verdict::NotTestable { .. })),
            checks: contracts.iter().map(|one| one.checks.len()).sum(),
            tenant: tenant.to_owned(),
            ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            not_answering: gone.to_vec(),
            cut_short: cut.map(str::to_owned),
            contracts,
        }
    }

    /// What a program that asked should end with: 0 all well, 1 something is broken, 2 it could not be found out, because
    /// the run ended early or nothing could be looked at.
    pub fn exit_code(&self) -> u8 {
        match (self.ok, self.broken) {
            (true, _) => 0,
            (false, 0) => 2,
            (false, _) => 1,
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = format!("\n  Contracts of a running system   tenant: {}\n", self.tenant);
        let mut by_owner: BTreeMap<&str, Vec<&Contract>> = BTreeMap::new();
        for contract in &self.contracts {
            by_owner.entry(&contract.owner).or_default().push(contract);
        }
        for (owner, contracts) in by_owner {
            let _ = writeln!(out, "\n  {owner}");
            for contract in contracts {
                line(&mut out, contract);
            }
        }
        let seconds = self.ms as f64 / 1_000.0;
        let _ = writeln!(
            out,
            "\n  {} held, {} broken, {} not testable; {} checks in {seconds:.1} s",
            self.held, self.broken, self.not_testable, self.checks
        );
        if !self.not_answering.is_empty() {
            let _ = writeln!(out, "  not answering: {}. Is it running?", self.not_answering.join(", "));
        }
        if let Some(why) = &self.cut_short {
            let _ = writeln!(out, "  cut short: {why}");
        }
        out.push('\n');
        out
    }

    /// For programs: one JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain data")
    }

    /// For build servers: JUnit's XML, a suite per service, a test case per check.
    pub fn junit(&self) -> String {
        let mut suites: BTreeMap<&str, Vec<junit::Case<'_>>> = BTreeMap::new();
        for contract in &self.contracts {
            let class = format!("{} {}", contract.sort.word(), contract.name);
            let cases = contract.checks.iter().map(|check| junit::Case {
                class: class.clone(),
                name: &check.name,
                took_ms: None,
                outcome: match &check.verdict {
                    Verdict::Held => junit::Outcome::Passed,
                    Verdict::NotTestable { why } => junit::Outcome::Skipped(why),
                    Verdict::Broken(offence) => {
                        let message = offence.message.as_deref().unwrap_or_default();
                        let details = format!("expected {}\ngot {}\n{message}", offence.expected, offence.got);
                        junit::Outcome::Failed { message: &offence.got, details }
                    }
                },
            });
            suites.entry(&contract.owner).or_default().extend(cases);
        }
        let suites: Vec<_> = suites.into_iter().map(|(name, cases)| junit::Suite { name, cases }).collect();
        junit::document("synapse contract verify", &suites)
    }
}

/// The worst of a contract's checks is its verdict; without any check it was not reached.
fn sum((promise, mut checks): (Promise, Vec<Check>), gone: &[String], cut: Option<&str>) -> Contract {
    let owner = promise.owner().to_owned();
    if checks.is_empty() {
        let why = match cut {
            Some(why) => format!("not reached: {why}"),
            None if gone.is_empty() => "not reached: a step before it failed, or nothing here causes it".to_owned(),
            None => format!("not reached: {} does not answer", gone.join(", ")),
        };
        checks.push(Check { name: "it is looked at".to_owned(), verdict: Verdict::NotTestable { why } });
    }
    let broken = checks.iter().find(|check| matches!(check.verdict, Verdict::Broken(_)));
    let held = checks.iter().find(|check| check.verdict == Verdict::Held);
    let verdict = broken.or(held).unwrap_or(&checks[0]).verdict.clone();
    Contract { sort: promise.sort, name: promise.name, owner, verdict, checks }
}

fn line(out: &mut String, contract: &Contract) {
    let (mark, word) = match &contract.verdict {
        Verdict::Held => ("✓", "held"),
        Verdict::Broken(_) => ("✗", "BROKEN"),
        Verdict::NotTestable { .. } => ("–", "not testable"),
    };
    let held = contract.checks.iter().filter(|check| check.verdict == Verdict::Held).count();
    let _ = write!(out, "    {mark} {:<8} {:<44} {word}", contract.sort.word(), contract.name);
    match &contract.verdict {
        Verdict::Held => {
            let _ = writeln!(out, " ({held} checks)");
        }
        Verdict::NotTestable { why } => {
            let _ = writeln!(out, ": {why}");
        }
        Verdict::Broken(_) => out.push('\n'),
    }
    for check in &contract.checks {
        match &check.verdict {
            Verdict::Held => {}
            Verdict::NotTestable { why } if contract.checks.len() > 1 => {
                let _ = writeln!(out, "        not seen: {}: {why}", check.name);
            }
            Verdict::NotTestable { .. } => {}
            Verdict::Broken(offence) => {
                let _ = writeln!(out, "        ✗ {}", check.name);
                let _ = writeln!(out, "            expected  {}", offence.expected);
                let _ = writeln!(out, "            got       {}", offence.got);
                if let Some(message) = &offence.message {
                    let _ = writeln!(out, "            message   {message}");
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
