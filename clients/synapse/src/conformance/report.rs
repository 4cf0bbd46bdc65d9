use std::fmt::Write;

use serde::Serialize;

use crate::junit;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One object.
    Json,
    /// For CI systems.
    Junit,
}

/// What came of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// One for each case, by rule.
    pub verdicts: Vec<Verdict>,
    /// How long it took, milliseconds.
    pub took_ms: u64,
}

/// What came of a case.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The rule in `docs/protocol.md`.
    pub rule: String,
    /// What was tried.
    pub name: String,
    /// Whether the rule held.
    #[serde(flatten)]
    pub word: Word,
    /// How long it took, milliseconds.
    pub took_ms: u64,
}

/// Whether a rule held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "why")]
pub enum Word {
    /// It did.
    Held,
    /// It did not, and how.
    Broke(String),
    /// The case needs what this run was not given.
    NotRun(String),
}

impl Verdict {
    pub(super) fn section(&self) -> &str {
        self.rule.split('-').next().unwrap_or("")
    }

    pub(super) fn number(&self) -> u32 {
        self.rule.split('-').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

impl Report {
    /// Whether nothing broke and something was run.
    pub fn ok(&self) -> bool {
        self.broke().next().is_none() && self.count(|word| *word == Word::Held) > 0
    }

    /// The cases whose rule did not hold.
    pub fn broke(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(|verdict| matches!(verdict.word, Word::Broke(_)))
    }

    fn count(&self, which: impl Fn(&Word) -> bool) -> usize {
        self.verdicts.iter().filter(|verdict| which(&verdict.word)).count()
    }

    /// The report in a form.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Json => {
                let object = serde_json::json!({"ok": self.ok(), "took_ms": self.took_ms, "cases": self.verdicts});
                format!("{object:#}\n")
            }
            Format::Junit => self.junit(),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for verdict in &self.verdicts {
            let (mark, why) = match &verdict.word {
                Word::Held => ("✓", String::new()),
                Word::Broke(why) => ("✗", format!("\n         {why}")),
                Word::NotRun(why) => ("–", format!(" (not run: {why})")),
            };
            let rule = format!("[{}]", verdict.rule);
            let _ = writeln!(text, "{mark} {rule:<7} {}{why}", verdict.name);
        }
        let held = self.count(|word| *word == Word::Held);
        let not_run = self.count(|word| matches!(word, Word::NotRun(_)));
        let broke = self.verdicts.len() - held - not_run;
        let took = self.took_ms / 1_000;
        let _ = writeln!(text, "\n{held} held, {broke} broke, {not_run} not run; {took} s");
        text
    }

    fn junit(&self) -> String {
        let cases = self.verdicts.iter().map(|verdict| junit::Case {
            class: verdict.rule.clone(),
            name: &verdict.name,
            took_ms: Some(verdict.took_ms),
            outcome: match &verdict.word {
                Word::Held => junit::Outcome::Passed,
                Word::Broke(why) => junit::Outcome::Failed { message: why, details: String::new() },
                Word::NotRun(why) => junit::Outcome::Skipped(why),
            },
        });
        junit::document("synapse conformance", &[junit::Suite { name: "synapse.v1", cases: cases.collect() }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let verdict = |name: &str, word| Verdict { rule: "F-1".into(), name: name.into(), word, took_ms: 1_234 };
        let verdicts = vec![
            verdict("one", Word::Held),
            verdict("two", Word::Broke("1 < 2 & \"so\"".into())),
            verdict("three", Word::NotRun("no lever".into())),
        ];
        Report { verdicts, took_ms: 2_000 }
    }

    #[test]
    fn each_form_tells_what_held_and_what_broke() {
        let text = report().render(Format::Text);
        assert!(text.contains("✓ [F-1]   one") && text.contains("1 held, 1 broke, 1 not run"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&report().render(Format::Json)).unwrap();
        assert_eq!((&json["ok"], &json["cases"][1]["verdict"]), (&false.into(), &"broke".into()));
        let xml = report().render(Format::Junit);
        assert!(
            xml.contains("failures=\"1\" errors=\"0\" skipped=\"1\"") && xml.contains("1 &lt; 2 &amp; &quot;so&quot;"),
            "{xml}"
        );
    }

    #[test]
    fn a_run_in_which_nothing_ran_is_no_success() {
        let mut report = report();
        report.verdicts.truncate(1);
        assert!(report.ok());
        report.verdicts[0].word = Word::NotRun("no lever".into());
        assert!(!report.ok());
    }
}
