use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::rounds::Rounds;

/// One measured figure beside its reference.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    ours: f64,
    /// Measured in the same run; the limit itself where the goal is an absolute figure.
    reference: f64,
    /// `ours` ÷ `reference`.
    ratio: f64,
    /// What `ratio` should reach.
    goal: f64,
    better: Better,
    unit: &'static str,
}

/// Which way a ratio should go.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// What a row is about.
pub(crate) struct Title {
    pub(crate) name: &'static str,
    pub(crate) goal: f64,
    pub(crate) better: Better,
    pub(crate) unit: &'static str,
}

#[derive(Serialize)]
struct Document<'a> {
    benches: &'a [Row],
}

/// Prints rows as they come and writes them as JSON at the end.
pub(crate) struct Report {
    rows: Vec<Row>,
    json: Option<PathBuf>,
}

impl Report {
    pub(crate) fn new(json: Option<PathBuf>) -> Self {
        let report = Self { rows: Vec::new(), json };
        report.print(&format!(
            "{:<26} {:>12} {:>12} {:>7} {:>7}  {:<9} {:<7} {}",
            "bench", "ours", "reference", "ratio", "goal", "unit", "result", "ratio of each round"
        ));
        report
    }

    /// Adds the medians of these rounds.
    pub(crate) fn add(&mut self, title: &Title, rounds: &Rounds) {
        let (ours, reference) = rounds.medians();
        let ratio = ours / reference;
        let (met, sign) = match title.better {
            Better::Higher => (ratio >= title.goal, '≥'),
            Better::Lower => (ratio <= title.goal, '≤'),
        };
        let (low, high) = rounds.spread();
        self.print(&format!(
            "{:<26} {:>12} {:>12} {ratio:>7.2} {:>7}  {:<9} {:<7} {low:.2} to {high:.2}",
            title.name,
            figure(ours),
            figure(reference),
            format!("{sign} {}", title.goal),
            title.unit,
            if met { "ok" } else { "MISSED" },
        ));
        let Title { name, goal, better, unit } = *title;
        self.rows.push(Row { name, ours, reference, ratio, goal, better, unit });
    }

    /// Writes the JSON where it was asked for. A missed goal is no error: it is what a bench is there to say.
    pub(crate) fn finish(self) -> Result<()> {
        let Some(file) = &self.json else { return Ok(()) };
        let mut text = serde_json::to_string_pretty(&Document { benches: &self.rows })?;
        text.push('\n');
        if is_standard_output(file) {
            print!("{text}");
            return Ok(());
        }
        std::fs::write(file, text).with_context(|| format!("can't write {}", file.display()))
    }

    // Standard output belongs to the JSON when it goes there.
    fn print(&self, line: &str) {
        if self.json.as_deref().is_some_and(is_standard_output) {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
    }
}

fn is_standard_output(file: &Path) -> bool {
    file == Path::new("-")
}

fn figure(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}
