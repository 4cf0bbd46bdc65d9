use std::fmt;
use std::ops::RangeInclusive;

/// One thing that is wrong with a configuration. Never shows a secret's value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigProblem {
    /// Which key (`http.drain_ms`), or which source.
    pub key: String,
    /// Which rule it breaks.
    pub rule: String,
    /// What to do about it.
    pub fix: String,
}

impl ConfigProblem {
    /// A problem with `key`.
    pub fn new(key: impl Into<String>, rule: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { key: key.into(), rule: rule.into(), fix: fix.into() }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.key, self.rule, self.fix)
    }
}

/// Everything that is wrong with a configuration, sorted by key; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    pub(super) service: String,
    pub(super) problems: Vec<ConfigProblem>,
}

impl ConfigErrors {
    /// The problems.
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "the configuration of {} has {count} problem{}:", self.service, if count == 1 { "" } else { "s" })?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// A configuration's own rules, beyond its types.
pub trait Validate {
    /// Every rule that is broken.
    fn problems(&self) -> Vec<ConfigProblem>;

    /// Tables whose keys are the operator's choice (`plans`), as paths. Elsewhere unknown keys are refused.
    fn open_tables() -> &'static [&'static str] {
        &[]
    }
}

/// Collects [`ConfigProblem`]s.
#[derive(Debug, Default)]
pub struct Checks {
    problems: Vec<ConfigProblem>,
}

impl Checks {
    /// `key` must fulfil `rule`, which `holds` says it does.
    pub fn require(&mut self, holds: bool, key: &str, rule: &str, fix: &str) {
        if !holds {
            self.problems.push(ConfigProblem::new(key, rule, fix));
        }
    }

    /// `key` must lie in `range`.
    pub fn range<T: PartialOrd + fmt::Display>(&mut self, key: &str, value: T, range: RangeInclusive<T>) {
        if !range.contains(&value) {
            let (low, high) = (range.start(), range.end());
            let rule = format!("{value} is not from {low} to {high}");
            self.problems.push(ConfigProblem::new(key, rule, "set it to a number in that range"));
        }
    }

    /// Adds the problems of a part.
    pub fn extend(&mut self, problems: Vec<ConfigProblem>) {
        self.problems.extend(problems);
    }

    /// All of them.
    pub fn finish(self) -> Vec<ConfigProblem> {
        self.problems
    }
}
